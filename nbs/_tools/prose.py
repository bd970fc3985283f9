"Find docstrings, comments, messages and Markdown that break the project's rules of English"
from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from project import LIBRARY, NOTEBOOKS, ROOT, Function, Module, modules, notebooks


HERE = Path(__file__).parent
PROPERTIES = {"property", "cached_property", "functools.cached_property"}
RIDDLE = re.compile(r"(What|Whether|That|Of|From|As|The same|The k largest)\b")  # First words of no docstring
OPAQUE = re.compile(r"`+[^`]*`+|\]\([^)]*\)|<[^>\n]*>|https?://\S+")  # Code, addresses and HTML tags
FENCE = re.compile(r"^ *(`{3,}|~{3,}).*?^ *\1`*\s*$", re.M | re.S)


@dataclass(frozen=True)
class Rule:
    "A phrase that is rejected"

    pattern: re.Pattern
    instead: str


@dataclass(frozen=True)
class Text:
    "A piece of prose: a docstring, a comment, a message or a Markdown cell"

    file: str  # As findings name it
    text: str

    @cached_property
    def visible(self) -> str:
        "The text with code and addresses blanked out, at the same length"
        return OPAQUE.sub(lambda match: "-" * len(match[0]), self.text)

    def sentence(self, start: int, end: int) -> str:
        "Return the sentence or table cell that contains characters `start` to `end`"
        before = [match.end() for match in re.finditer(r"[.!?;]\s+|\n\n|\s\|\s|\n[-*#|>]", self.text[:start])]
        after = re.search(r"[.!?;](\s|$)|\n\n|\s\|\s|\n[-*#|>]", self.text[end:])
        stop = end + after.end() if after else len(self.text)
        return " ".join(self.text[max(before, default=0) : stop].split()).strip("| ")


@cache
def sections() -> dict[str, list[list[str]]]:
    "Read phrases.txt: section -> pairs of what is left and right of the arrow"
    found: dict[str, list[list[str]]] = {}
    for line in (HERE / "phrases.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            found[line.strip("[]")] = current = []
        elif line and not line.startswith("#"):
            current.append(line.split(" => "))
    return found


@cache
def rules(section: str) -> list[Rule]:
    "Compile the phrases of a section"
    return [Rule(re.compile(rf"\b(?:{left})\b", re.I), right) for left, right in sections()[section]]


@cache
def verbs() -> set[str]:
    "Read the imperative verbs that a docstring may begin with"
    return set((HERE / "verbs.txt").read_text(encoding="utf-8").split())


def label(path: Path) -> str:
    "Return the file to edit: the notebook of a generated module, or the file itself"
    notebook = Module(path).notebook if path.is_relative_to(LIBRARY) and path.suffix == ".py" else None
    return f"nbs/{notebook}" if notebook else path.relative_to(ROOT).as_posix()


def sources() -> list[Path]:
    "List the Python files with prose: the package, the tools, the benchmarks of other libraries, setup.py"
    generated = LIBRARY / "_modidx.py"
    return [path for path in [*sorted(LIBRARY.rglob("*.py*")), *sorted(NOTEBOOKS.rglob("*.py")), ROOT / "setup.py"]
            if path.suffix in (".py", ".pyi") and path != generated]


def docstrings(path: Path) -> Iterator[tuple[ast.AST, str]]:
    "Yield each node that has a docstring, with the docstring"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Module, ast.ClassDef, *Function)):
            text = ast.get_docstring(node)
            if text:
                yield node, text


def is_property(node: ast.AST) -> bool:
    "Tell whether a function is a property"
    return any(ast.unparse(decorator) in PROPERTIES for decorator in getattr(node, "decorator_list", []))


def begins_with_verb(text: str) -> bool:
    "Tell whether a docstring begins with an imperative verb; a verb before `of` is a noun"
    first, second = (re.findall(r"\S+", text) + ["", ""])[:2]
    return first.strip(",;:.").lower() in verbs() and second != "of"


def first_words() -> Iterator[str]:
    "Find functions whose docstring does not begin with a verb, and riddles elsewhere"
    for path in sources():
        for node, text in docstrings(path):
            line = text.splitlines()[0]
            name = getattr(node, "name", "the title")
            if isinstance(node, Function) and not is_property(node):
                if not begins_with_verb(text):
                    yield f"{label(path)}: {name}: does not begin with a verb: {line}"
            elif RIDDLE.match(text):
                yield f"{label(path)}: {name}: begins with {RIDDLE.match(text)[0]!r}: {line}"
    for notebook in notebooks():
        if not notebook.module and RIDDLE.match(notebook.description):
            yield f"nbs/{notebook.name}: the description begins with {RIDDLE.match(notebook.description)[0]!r}"


def strings(tree: ast.AST) -> Iterator[str]:
    "Yield every string of a module, f-strings with `{}` in place of their values"
    inside = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node) if part != node}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inside:
            yield node.value


def comments(source: str) -> Iterator[str]:
    "Yield the comments of Python code, without directives; consecutive lines of comment are one text"
    block: list[str] = []
    for line in [*source.splitlines(), ""]:
        if line.lstrip().startswith("#"):
            block.append(line.strip().lstrip("# "))
            continue
        yield " ".join(block)
        block = []
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (tokenize.TokenError, SyntaxError):  # A cell with shell commands or magics
        return
    for token in tokens:
        if token.type == tokenize.COMMENT and token.line.strip() != token.string:
            yield token.string.lstrip("# ")


def python_texts(path: Path) -> Iterator[Text]:
    "Yield the strings, docstrings and comments of a Python file"
    source = path.read_text(encoding="utf-8")
    for text in [*strings(ast.parse(source)), *comments(source)]:
        yield Text(label(path), text)


def notebook_texts() -> Iterator[Text]:
    "Yield the Markdown of all notebooks, and comments in cells that are not exported"
    for notebook in notebooks():
        for cell in notebook.cells:
            if cell.cell_type == "markdown" and not cell.source.startswith("<!-- Made by"):
                yield Text(f"nbs/{notebook.name}", FENCE.sub("", cell.source))
            elif cell.cell_type == "code" and not {"export", "exports", "exporti"} & set(cell.directives_):
                yield from (Text(f"nbs/{notebook.name}", text) for text in comments(cell.source))


def other_texts() -> Iterator[Text]:
    "Yield Markdown files, and the comments of scripts and settings"
    for path in [*ROOT.glob("*.md"), *(ROOT / ".github").rglob("*.md")]:
        yield Text(path.relative_to(ROOT).as_posix(), FENCE.sub("", path.read_text(encoding="utf-8")))
    for path in [ROOT / "settings.ini", *sorted((ROOT / ".ci").glob("*.*")), ROOT / ".ci/run", *(ROOT / ".github").rglob("*.yml")]:
        for line in re.findall(r"(?:^|\s)#+ (.*)", path.read_text(encoding="utf-8")):
            yield Text(path.relative_to(ROOT).as_posix(), line)


def phrases() -> Iterator[str]:
    "Find rejected phrases and British spellings in all prose"
    texts = [text for path in sources() for text in python_texts(path)]
    for text in [*texts, *notebook_texts(), *other_texts()]:
        is_key = not re.search(r"\s", text.text.strip())
        for rule in rules("spelling") + ([] if is_key else rules("wording")):
            for match in rule.pattern.finditer(text.visible):
                sentence = text.sentence(*match.span())
                if not is_exception(text.file, sentence):
                    yield f"{text.file}: \"{match[0]}\" ({rule.instead}): {sentence[:200]}"


def is_exception(file: str, sentence: str) -> bool:
    "Tell whether phrases.txt lists this sentence of this file as right"
    return any(file.endswith(left) and right in sentence for left, right in sections()["exceptions"])


def names() -> Iterator[str]:
    "Find British spellings in names of the package"
    for module in modules():
        tokens = tokenize.generate_tokens(io.StringIO(module.source).readline)
        found = {token.string for token in tokens if token.type == tokenize.NAME}
        for name in sorted(found):
            words = re.sub(r"_|(?<=[a-z])(?=[A-Z])", " ", name)
            for rule in rules("spelling"):
                if rule.pattern.search(words) and not is_exception(f"nbs/{module.notebook}", name):
                    yield f"nbs/{module.notebook}: the name {name} ({rule.instead})"
