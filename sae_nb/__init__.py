"""Load, train, evaluate and explore sparse autoencoders on language models, from a notebook.

    from sae_nb import SAE, TrainConfig, load_model, train

`import sae_nb` loads nothing: a name is imported from its module when it is first used. `__init__.pyi` lists the names by
module, for type checkers and editors; the code below reads the same file.
"""

import ast
import importlib
from pathlib import Path

__version__ = "0.1.0"

_stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
_imports = [node for node in _stub.body if isinstance(node, ast.ImportFrom)]
_module_of = {alias.name: str(node.module) for node in _imports for alias in node.names}
__all__ = sorted(_module_of)  # noqa: PLE0605  (a list, computed)


def __getattr__(name: str) -> object:
    "Import a name from its module; AttributeError with the nearest names if there is none"
    if name not in _module_of:
        from sae_nb.core import unknown

        raise AttributeError(f"module {__name__!r}: {unknown('name', name, __all__)}")
    globals()[name] = value = getattr(importlib.import_module(_module_of[name]), name)
    return value


def __dir__() -> list[str]:
    "List the names of the package, including those not loaded yet"
    return sorted({*globals(), *__all__})

