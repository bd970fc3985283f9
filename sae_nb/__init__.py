"""Load, train, evaluate and explore sparse autoencoders on language models, from a notebook.

    from sae_nb import SAE, TrainConfig, load_model, train

`import sae_nb` loads nothing: a name is imported from its module when it is first used. `__init__.pyi` lists the names by
module, for type checkers and editors; the code below reads the same file.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import FunctionType, ModuleType

__version__ = "0.1.0"

_stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
_imports = [node for node in _stub.body if isinstance(node, ast.ImportFrom)]
_module_of = {alias.name: str(node.module) for node in _imports for alias in node.names}
__all__ = sorted(_module_of)  # noqa: PLE0605  (a list, computed)


def __getattr__(name: str) -> object:
    "Import a name from its module, or a module; else raise an error with what to use instead, or the nearest names"
    if name in _module_of:
        globals()[name] = value = getattr(importlib.import_module(_module_of[name]), name)
        return value
    if name.startswith("_"):  # Python and its tools ask for these
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if any((Path(__file__).parent / (name + end)).is_file() for end in (".py", "/__init__.py")):
        return importlib.import_module(f"{__name__}.{name}")
    from sae_nb.display import elsewhere, unknown

    advice = elsewhere(name)
    message = f"{__name__} has no {name!r}; {advice}" if advice else f"{__name__}: {unknown('name', name, __all__)}"
    if sys._getframe(1).f_code.co_name == "_handle_fromlist":  # `from sae_nb import name` drops the text of AttributeError
        raise ImportError(message)
    raise AttributeError(message)


def __dir__() -> list[str]:
    "List the names of the package, including those not loaded yet"
    return sorted({*globals(), *__all__})


class _Docstring(str):
    "A docstring that adds what its parameters mean, from the comments in the source, when it is read"

    owner: type | Callable

    def __new__(cls, doc: str, owner: type | Callable) -> _Docstring:
        new = super().__new__(cls, doc)
        new.owner = owner
        return new

    def __str__(self) -> str:
        if not hasattr(self, "_full"):
            from sae_nb.docstrings import full_docstring

            try:
                self._full = full_docstring(self.owner, str.__str__(self))
            except Exception:  # The source is missing, or was edited: help must not fail
                self._full = str.__str__(self)
        return self._full

    def __reduce__(self) -> tuple:
        return str, (str(self),)


def _read_in_full(name: str) -> None:
    "Make a method of `_Docstring` work on the full text"
    setattr(_Docstring, name, lambda self, *args, **options: getattr(str(self), name)(*args, **options))


for _name, _method in vars(str).items():
    if callable(_method) and _name not in {*vars(_Docstring), "__getattribute__", "__getnewargs__", "maketrans"}:
        _read_in_full(_name)


def _explain(value: type | Callable) -> None:
    "Replace the docstring of a function, method or class"
    doc = getattr(value, "__doc__", None)
    if type(doc) is str:
        value.__doc__ = _Docstring(doc, value)


class _Loader(SourceFileLoader):
    "Load a module of this package, and let its docstrings explain parameters"

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        own = [value for value in vars(module).values() if getattr(value, "__module__", "") == module.__name__]
        for value in own:
            if isinstance(value, (FunctionType, type)) or hasattr(value, "__wrapped__"):
                _explain(value)
            for method in vars(value).values() if isinstance(value, type) else ():
                function = getattr(method, "__func__", method)
                if isinstance(function, FunctionType):
                    _explain(function)


class _Finder:
    "Find the modules of this package, for `_Loader`"

    @staticmethod
    def find_spec(
        name: str,  # Full name of the module
        path: Sequence[str] | None = None,  # Folders of its package
        target: ModuleType | None = None,  # The module to reload, if there is one
    ) -> ModuleSpec | None:
        "Return where a module of this package is; None for all others"
        if not name.startswith(f"{__name__}."):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


sys.meta_path.insert(0, _Finder)
