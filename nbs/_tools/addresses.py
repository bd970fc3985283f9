"""Update addresses: the repository's, from settings.ini, in notebooks and GitHub's files; links to renumbered notebooks

Cells and text that install the package install it from the repository: nothing may need a package index that does not
have it. The check `hygiene` reports what differs from what this would write.

    python nbs/_tools/addresses.py
"""
from __future__ import annotations

import re
from pathlib import Path

from execnb.nbio import read_nb, write_nb

from project import NOTEBOOKS, PACKAGE, ROOT, notebooks, settings

COLAB = re.compile(r"https://colab\.research\.google\.com/github/[^\s)\"]*")
GITHUB = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+?(?=$|/discussions)", re.M)
PAGES = re.compile(r"https://[\w.-]+\.github\.io/[\w.-]+")
FILES = ["CITATION.cff", ".github/ISSUE_TEMPLATE/config.yml"]
LINK = re.compile(r"\[(?:(?P<text>\d+_\w+)|(?P<other>[^\]]*))\]\((?P<folder>(?:\.\./|\w+/)*)(?P<number>\d+)_(?P<name>\w+)\.ipynb")
INSTALL = re.compile(rf"(pip install(?: -\w+)*) (?:git\+https://github\.com/[\w.-]+/[\w-]+|{PACKAGE}(?![\w/.]))")
CLONE = re.compile(r"git clone https://github\.com/[\w.-]+/[\w-]+( && cd )[\w-]+")


def colab_address(path: Path) -> str:
    "Return the address at which Colab opens the notebook at `path`"
    place = path.resolve().relative_to(ROOT).as_posix()
    return f"https://colab.research.google.com/github/{settings.user}/{settings.repo}/blob/{settings.branch}/{place}"


def readdress(source: str, path: Path) -> str:
    "Replace addresses in a cell of the notebook at `path`, for Colab and for installing, by those of this repository"
    source = COLAB.sub(colab_address(path), source)
    source = CLONE.sub(rf"git clone {settings.git_url}\g<1>{settings.repo}", source)
    return INSTALL.sub(rf"\g<1> git+{settings.git_url}", source)


def relink(source: str, folder: Path) -> str:
    "Update links from a notebook in `folder` to notebooks that have a new number"

    def renumbered(match: re.Match) -> str:
        target = folder / match["folder"]
        if (target / f"{match['number']}_{match['name']}.ipynb").exists():
            return match[0]
        found = [path.name for path in target.glob("[0-9]*_*.ipynb") if path.name.partition("_")[2] == f"{match['name']}.ipynb"]
        return f"[{found[0].removesuffix('.ipynb') if match['text'] else match['other']}]({match['folder']}{found[0]}" \
            if len(found) == 1 else match[0]

    return LINK.sub(renumbered, source)


def main() -> None:
    "Update all notebooks and files"
    for name in FILES:
        text = (ROOT / name).read_text(encoding="utf-8")
        text = PAGES.sub(settings.doc_host + settings.doc_baseurl, GITHUB.sub(settings.git_url, text))
        (ROOT / name).write_text(text, encoding="utf-8")
    for notebook in notebooks():
        nb = read_nb(notebook.path)
        changed = []
        for cell in nb.cells:
            new = readdress(cell.source, notebook.path)
            if cell.cell_type == "markdown":
                new = relink(new, notebook.path.parent)
            if new != cell.source:
                cell.source = new
                changed.append(cell)
        if changed:
            write_nb(nb, notebook.path)
            print(f"{notebook.path.relative_to(NOTEBOOKS)}: {len(changed)} cells")


if __name__ == "__main__":
    main()
