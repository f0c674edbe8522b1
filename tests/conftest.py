"""Every annotation of the package is checked at run time while the tests run."""

from jaxtyping import install_import_hook

install_import_hook("dpe_jax", "beartype.beartype")
