"""Imports run one way, in the order of the table in docs/architecture.md."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def order() -> list[str]:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text[text.index("| module | holds |") :].split("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines()[2:]]
    return [name.rstrip("/") for row in rows for name in re.findall(r"`([a-z_/]+)`", row)]


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "dpe_jax":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dpe_jax."):
            names.add((node.module or "").split(".")[1])
    return names


def test_each_module_imports_only_from_those_above_it() -> None:
    places = {name: place for place, name in enumerate(order())}
    package = ROOT / "dpe_jax"
    modules = {path.stem if path.is_file() else path.name: path for path in package.iterdir()}
    modules = {
        name: path
        for name, path in modules.items()
        if name not in ("__init__", "__pycache__", "presets", "py", "dpe")  # py.typed, dpe.mplstyle
    }
    assert set(modules) == set(places)
    for name, path in modules.items():
        files = [path] if path.is_file() else list(path.rglob("*.py"))
        for other in set().union(*map(imported, files)) - {name}:
            assert places[other] < places[name], f"{name} imports {other}"
