"""Write the tables of nbs/map.ipynb: every notebook, its description, and the modules that it imports

    python nbs/_tools/map_page.py

`build_docs.py` does this too. The tables are one Markdown cell; the other cells of the page are written by hand.
"""
from __future__ import annotations

import difflib
from collections.abc import Iterator

from execnb.nbio import mk_cell, read_nb, write_nb

from project import DOORS, NOTEBOOKS, Module, Notebook, modules, notebooks, own_imports, parts

PAGE = NOTEBOOKS / "map.ipynb"
MARK = "<!-- Made by nbs/_tools/map_page.py: change nothing here -->"
FLOORS = {  # First and last number -> title and contents
    (0, 199): ("Foundations", "Tensors only, no model, data set or file: architectures, sparse codes, numbers and tables."),
    (200, 299): ("Files", "The folder format, checkpoints of other libraries, the table of releases, the hub."),
    (300, 399): ("Models and data", "Models, hook points, tokens, masks, activations."),
    (400, 499): ("Training", "The loop, then the run around it: settings, checkpoints, logs."),
    (500, 599): ("Evaluation", "Metrics, evaluations inside the model, comparisons of SAEs."),
    (600, 699): ("Looking inside", "Statistics of latents, splicing, steering, lens, attribution."),
    (700, 799): ("Showing", "Figures, pages and widgets."),
    (800, 899): ("Sharing", "Neuronpedia, the Hugging Face hub, other libraries."),
    (900, 999): ("Command line", "`sae-nb`."),
}
FOLDERS = {"tutorials/": "Tutorials", "howto/": "How-to guides", "benchmarks/": "Benchmarks", "": "Other pages"}


def imports() -> dict[str, list[str]]:
    "Return the modules that each notebook imports, in the order of their numbers, without the imports of doors"
    order = [module.name for module in modules()]
    return {str(module.notebook): [name for name in order if name in imported(module) - {module.name}] for module in modules()}


def imported(module: Module) -> set[str]:
    "Return the modules of the package that a module imports outside its doors"
    return {found for name, node in parts(module) if name not in DOORS for found in own_imports(node, module)}


def row(*cells: str) -> str:
    "Return a row of a Markdown table"
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def link(notebook: Notebook) -> str:
    "Return a link to a notebook"
    return f"[{notebook.name.split('/')[-1].removesuffix('.ipynb')}]({notebook.name})"


def tables() -> Iterator[str]:
    "Yield the lines of the generated cell"
    found = imports()
    pages = [notebook for notebook in notebooks() if notebook.path != PAGE]
    yield MARK
    for (first, last), (title, contents) in FLOORS.items():
        yield from ["", f"## {title}: {first:03} to {last}", contents, "", "| notebook | | imports |", "|---|---|---|"]
        for notebook in pages:
            if notebook.name[0].isdigit() and first <= int(notebook.name.split("_")[0]) <= last:
                names = ", ".join(f"`{name}`" for name in found.get(notebook.name, []))
                yield row(link(notebook), notebook.description, names)
    for folder, title in FOLDERS.items():
        yield from ["", f"## {title}", "| notebook | |", "|---|---|"]
        for notebook in pages:
            if notebook.name.startswith(folder) if folder else "/" not in notebook.name and not notebook.name[0].isdigit():
                yield row(link(notebook), notebook.description)


def generated_cell(nb) -> dict | None:
    "Return the generated cell of the notebook, if it has one"
    return next((cell for cell in nb.cells if cell.source.startswith(MARK)), None)


def differences() -> list[str]:
    "Return the lines of the tables that are missing or out of date"
    cell = generated_cell(read_nb(PAGE))
    old = cell.source.splitlines() if cell else []
    return [line for line in difflib.ndiff(old, list(tables())) if line[0] in "+-"]


def update() -> None:
    "Write the tables into the page, if they changed"
    if differences():
        nb = read_nb(PAGE)
        cell = generated_cell(nb)
        if cell is None:
            nb.cells.append(cell := mk_cell("", "markdown"))
        cell.source = "\n".join(tables())
        write_nb(nb, PAGE)


if __name__ == "__main__":
    update()
