"Render a notebook as Markdown: prose, code, documentation of exported names, and outputs"
from __future__ import annotations

import ast
import base64
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from project import Notebook
from symbols import Symbol, docs

HIDDEN = {"hide", "exporti", "default_exp"}
IMAGES = {"image/svg+xml": "svg", "image/png": "png", "image/jpeg": "jpg"}
COLAB_BADGE = re.compile(r"\[!\[[^\]]*\]\([^)]*\)\]\(https://colab\.[^)]*\)")  # Each page has its own link to Colab
FOR_PAGES = ["text/html", *IMAGES, "text/markdown", "text/latex", "text/plain"]  # In order of preference
FOR_README = [*IMAGES, "text/markdown", "text/plain", "text/html"]  # GitHub removes inline styles from HTML


@dataclass
class Rendering:
    "Options for rendering notebooks, and the images found on the way"

    image_folder: str  # Relative to the page
    preferred: list[str] = field(default_factory=lambda: FOR_PAGES)
    boxed: bool = True  # Put outputs into a `div` of class `output`
    symbols: dict[str, Symbol] = field(default_factory=dict)  # Exported names; empty: show the code
    link: Callable[[str], str] = str  # Adds links to a line of prose
    images: dict[str, bytes] = field(default_factory=dict)  # Name -> content, filled by `markdown`

    def markdown(self, notebook: Notebook) -> str:
        "Render a notebook, without its title and description"
        parts = (part for i, cell in enumerate(notebook.cells) for part in self.cell(notebook, i, cell))
        return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"

    def cell(self, notebook: Notebook, i: int, cell) -> Iterator[str]:
        "Render one cell, as a sequence of Markdown blocks"
        if cell.cell_type == "markdown":
            text = cell.source if i else re.sub(r"^(# |>).*$", "", cell.source, flags=re.M)
            yield linked(COLAB_BADGE.sub("", text), self.link)
        elif cell.cell_type == "code" and is_shown(cell):
            directives = cell.directives_
            if self.symbols and {"export", "exports"} & set(directives):
                yield from self.exported(cell, with_source="exports" in directives)
            elif directives.get("echo:", [""])[0] != "false":
                yield fenced(without_options(cell.source), "python")
            if directives.get("output:", [""])[0] != "false":
                name = "-".join([*notebook.page.with_suffix("").parts, str(i)])
                yield from (self.output(output, f"{name}-{j}") for j, output in enumerate(cell.get("outputs", [])))

    def exported(self, cell, with_source: bool) -> Iterator[str]:
        "Render the documentation of an exported cell, or its source below a heading for each name"
        lines, shown = cell.source.splitlines(), 0
        for node in ast.parse(cell.source).body:
            symbol = self.symbols.get(getattr(node, "name", ""))
            if symbol and with_source:
                yield docs(symbol, in_full=False)
                yield fenced("\n".join(lines[shown : node.end_lineno]), "python")
                shown = node.end_lineno or 0
            elif symbol:
                yield linked(docs(symbol), self.link)
        if with_source and lines[shown:]:
            yield fenced("\n".join(lines[shown:]), "python")

    def output(self, output, name: str) -> str:
        "Render one output of a cell"
        if output.output_type == "stream":
            return self.box(fenced("".join(output.text))) if output.name == "stdout" else ""
        kinds = [kind for kind in self.preferred if kind in output.get("data", {})]
        if not kinds:
            return ""
        kind = kinds[0]
        if kind == "text/plain" and "text/html" in kinds and re.match(r"<.* object.*>$", "".join(output.data[kind])):
            kind = "text/html"  # The text is only a default repr
        data = "".join(output.data[kind])
        if kind in IMAGES:
            return self.box(self.image(f"{name}.{IMAGES[kind]}", kind, data, output.get("metadata", {}).get(kind, {})))
        if kind == "text/html":
            data = re.sub(r"<style scoped>.*?</style>", "", data, flags=re.S)
            return self.box(fenced(data, "{=html}") if self.boxed else data)
        return self.box(data if kind in ("text/markdown", "text/latex") else fenced(data))

    def image(self, name: str, kind: str, data: str, size: dict) -> str:
        "Store an image and return its tag, with the width that Jupyter uses"
        self.images[name] = data.encode() if kind == "image/svg+xml" else base64.b64decode(data)
        width = f' width="{size["width"]}"' if "width" in size else ""
        return f'<img src="{self.image_folder}/{name}" alt=""{width}>'

    def box(self, text: str) -> str:
        "Put an output into a `div`, if pages want that"
        return f'<div class="output">\n\n{text}\n\n</div>' if self.boxed else text


def is_shown(cell) -> bool:
    "Tell whether a cell is for readers"
    include = cell.directives_.get("include:", [""])[0] != "false"
    machinery = "nbdev_export(" in cell.source or re.fullmatch(r"show_doc\([\w.]+\)", cell.source.strip())
    return include and bool(cell.source.strip()) and not machinery and not HIDDEN & set(cell.directives_)


def without_options(source: str) -> str:
    "Remove Quarto's options from code, which nbdev does not remove"
    return re.sub(r"^#\s*\|.*\n", "", source, flags=re.M)


def fenced(text: str, language: str = "") -> str:
    "Return a code block whose fence is longer than any in the text"
    ticks = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
    return f"{ticks}{language}\n{text.strip(chr(10)).rstrip()}\n{ticks}"


def linked(text: str, link: Callable[[str], str], everywhere: bool = False) -> str:
    "Apply `link` to the lines of prose, not to code and, unless asked, not to headings and HTML"
    lines, fence = text.splitlines(), ""
    for i, line in enumerate(lines):
        mark = re.match(r"\s*(`{3,}|~{3,})", line)
        if mark and (not fence or line.strip() == fence):
            fence = "" if fence else mark[1]
        elif not fence and (everywhere or not line.startswith(("#", "<"))) and not line.startswith("    "):
            lines[i] = link(line)
    return "\n".join(lines)
