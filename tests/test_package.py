import importlib
import pkgutil
import subprocess
import sys

import dpe_jax
from dpe_jax import study


def test_every_public_name_is_what_it_says_even_after_all_modules_are_imported() -> None:
    for module in pkgutil.walk_packages(dpe_jax.__path__, "dpe_jax."):
        importlib.import_module(module.name)
    homes = {name: module for module, names in dpe_jax._HOME.items() for name in names}
    assert sorted(homes) == sorted(dpe_jax.__all__)
    for name, module in homes.items():
        assert getattr(dpe_jax, name) is getattr(importlib.import_module(f"dpe_jax.{module}"), name)
    assert dpe_jax.simulate is study.simulate
    assert callable(dpe_jax.simulate)
    assert sorted(dir(dpe_jax)) == sorted(dpe_jax.__all__)


def test_a_simulation_imports_neither_encryption_nor_plotting_nor_stores() -> None:
    program = (
        "import sys, dpe_jax as dpe\n"
        "problem = dpe.Quadratic.random(2, 1, seed=0)\n"
        "method = dpe.ConventionalDSGD(dpe.PowerLaw(0.5, 0.9))\n"
        "dpe.simulate(method, problem, dpe.Network.path(2), runs=1, iterations=2)\n"
        "bad = {'phe', 'gmpy2', 'zarr', 'matplotlib', 'sklearn', 'rich'} & set(sys.modules)\n"
        "sys.exit(repr(sorted(bad)) if bad else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
