"Document functions and classes from the source of their modules, without importing them"
from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from project import LIBRARY, PACKAGE, ROOT, Function, Module, settings

sys.path.insert(0, str(ROOT))  # The module below needs nothing but Python
from sae_nb.docstrings import comments as comments_of

WIDTH = 92  # Of a signature, in characters


@dataclass(frozen=True)
class Symbol:
    "A public function, class or method"

    name: str  # `SAE.encode` for a method
    module: Module
    node: ast.FunctionDef | ast.ClassDef

    @property
    def anchor(self) -> str:
        "Anchor on its page"
        return self.name.lower()

    @property
    def address(self) -> str:
        "Address of its source on GitHub"
        path = f"{PACKAGE}/{self.module.path.relative_to(LIBRARY).as_posix()}"
        return f"{settings.git_url}/blob/{settings.branch}/{path}#L{self.node.lineno}"

    @cached_property
    def methods(self) -> list[Symbol]:
        "Public methods and properties of a class, without setters"
        functions = [node for node in self.node.body if isinstance(node, Function)]
        public = {node.name: node for node in reversed(functions) if not node.name.startswith("_")}
        return [Symbol(f"{self.name}.{name}", self.module, node) for name, node in reversed(public.items())]

    @property
    def decorators(self) -> list[str]:
        "Source of its decorators"
        return [ast.unparse(node) for node in self.node.decorator_list]


def comments(module: Module) -> dict[int, str]:
    "Return the comment of each line that has one, by line number"
    return comments_of(module.source)


def public_symbols(module: Module) -> dict[str, Symbol]:
    "Return the public functions and classes of `module` by name, without methods"
    nodes = [node for node in module.tree.body if isinstance(node, (*Function, ast.ClassDef))]
    return {node.name: Symbol(node.name, module, node) for node in nodes if not node.name.startswith("_")}


def parameters(node: ast.FunctionDef) -> Iterator[tuple[ast.arg, ast.expr | None, str]]:
    "Yield each parameter with its default and its stars; a bare `*` or `/` counts as a parameter"
    arguments = node.args
    positional = arguments.posonlyargs + arguments.args
    defaults = [None] * (len(positional) - len(arguments.defaults)) + arguments.defaults
    for i, (argument, default) in enumerate(zip(positional, defaults)):
        yield argument, default, ""
        if i + 1 == len(arguments.posonlyargs):
            yield ast.arg("/"), None, ""
    if arguments.vararg:
        yield arguments.vararg, None, "*"
    elif arguments.kwonlyargs:
        yield ast.arg("*"), None, ""
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults):
        yield argument, default, ""
    if arguments.kwarg:
        yield arguments.kwarg, None, "**"


def source(node: ast.AST | None, module: Module) -> str:
    "Return the source of an expression, on one line"
    return " ".join((ast.get_source_segment(module.source, node) or "").split()) if node else ""


def signature(symbol: Symbol) -> str:
    "Return the signature of a function without comments, on one line if it fits"
    node, module = symbol.node, symbol.module
    words = []
    for argument, default, stars in parameters(node):
        word = stars + argument.arg
        if argument.annotation:
            word += f": {source(argument.annotation, module)}"
        if default:
            word += (" = " if argument.annotation else "=") + source(default, module)
        words.append(word)
    result = f" -> {source(node.returns, module)}" if node.returns else ""
    name = symbol.name.rpartition(".")[2]
    start = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    line = f"{start} {name}({', '.join(words)}){result}"
    if len(line) <= WIDTH:
        return line
    return f"{start} {name}(\n" + "".join(f"    {word},\n" for word in words) + f"){result}"


def table(rows: list[tuple[str, ...]], *head: str) -> str:
    "Return a Markdown table, or nothing if there are no rows"
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def parameter_table(symbol: Symbol) -> str:
    "Return a table of the parameters, and the result, that have a comment"
    comment_at = comments(symbol.module)
    lines = [argument.lineno for argument, *_ in parameters(symbol.node) if argument.annotation]
    rows = []
    for argument, default, stars in parameters(symbol.node):
        last = getattr(default or argument, "end_lineno", 0)
        if last in comment_at and lines.count(getattr(argument, "lineno", 0)) == 1:
            rows.append((f"`{stars}{argument.arg}`", comment_at[last]))
    if symbol.node.returns and symbol.node.returns.end_lineno in comment_at and symbol.node.returns.end_lineno not in lines:
        rows.append(("returns", comment_at[symbol.node.returns.end_lineno]))
    return table(rows, "parameter", "")


def field_table(symbol: Symbol) -> str:
    "Return a table of the fields of a dataclass"
    comment_at, rows = comments(symbol.module), []
    for node in symbol.node.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and not node.target.id.startswith("_"):
            kind, default = source(node.annotation, symbol.module), source(node.value, symbol.module)
            if not kind.startswith("ClassVar"):
                cells = (f"`{node.target.id}`", f"`{kind}`", default and f"`{default}`", comment_at.get(node.end_lineno, ""))
                rows.append(cells)
    return table(rows, "field", "type", "default", "")


def code(text: str) -> str:
    "Return a Python code block"
    return f"```python\n{text}\n```"


def method_docs(symbol: Symbol) -> list[str]:
    "Document a method, below its class"
    kind = "".join(f"@{name}\n" for name in symbol.decorators if name in ("property", "classmethod", "staticmethod"))
    text = [code(kind + signature(symbol)), ast.get_docstring(symbol.node) or "", parameter_table(symbol)]
    return [f'<div class="method" id="{symbol.anchor}">', *text, "</div>"]


def class_docs(symbol: Symbol) -> list[str]:
    "Document a class: bases, docstring, fields or constructor, public methods"
    bases = ", ".join(source(base, symbol.module) for base in symbol.node.bases)
    shown = [name for name in symbol.decorators if name.startswith("dataclass")]
    text = [code("".join(f"@{name}\n" for name in shown) + f"class {symbol.name}" + (f"({bases})" if bases else ""))]
    text += [ast.get_docstring(symbol.node) or "", field_table(symbol) if shown else ""]
    for node in symbol.node.body:
        if isinstance(node, Function) and node.name == "__init__":
            init = Symbol(f"{symbol.name}.__init__", symbol.module, node)
            text += [code(signature(init)), parameter_table(init)]
    return text + [part for method in symbol.methods for part in method_docs(method)]


def heading(symbol: Symbol) -> str:
    "Return the heading of a name, with a link to its source"
    return f"### `{symbol.name}` <a class=\"source\" href=\"{symbol.address}\">source</a> {{#{symbol.anchor} .symbol}}"


def docs(
    symbol: Symbol,
    in_full: bool = True,  # False: only the heading and an anchor for each method
) -> str:
    "Return the documentation of `symbol` as Markdown"
    methods = symbol.methods if isinstance(symbol.node, ast.ClassDef) else []
    if not in_full:
        parts = [f'<span id="{method.anchor}"></span>' for method in methods]
    elif isinstance(symbol.node, ast.ClassDef):
        parts = class_docs(symbol)
    else:
        parts = [code(signature(symbol)), ast.get_docstring(symbol.node) or "", parameter_table(symbol)]
    return "\n\n".join([heading(symbol), *filter(None, parts)])
