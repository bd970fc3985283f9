"""Edit notebooks as text: `py:percent` files in `_text/`, which git ignores

    python nbs/_tools/edit.py pull 320_hooks    # nbs/320_hooks.ipynb -> _text/320_hooks.py, to edit
    python nbs/_tools/edit.py push 320_hooks    # back, or to a new notebook; exports, runs, stores outputs
"""
from __future__ import annotations

import sys
from pathlib import Path

from fastcore.script import Param, call_parse
from jupytext.cli import jupytext
from nbdev.doclinks import nbdev_export

from project import NOTEBOOKS, ROOT
from refresh import refresh


def pull(notebook: Path, text: Path) -> None:
    "Write `notebook` as text"
    text.parent.mkdir(parents=True, exist_ok=True)
    jupytext(["--quiet", "--to", "py:percent", str(notebook), "-o", str(text)])


def push(text: Path, notebook: Path) -> None:
    "Update `notebook` from `text`; cells that did not change keep their ids and outputs"
    notebook.parent.mkdir(parents=True, exist_ok=True)
    update = ["--update"] if notebook.exists() else []
    jupytext(["--quiet", *update, "--to", "ipynb", str(text), "-o", str(notebook)])


@call_parse
def main(
    direction: Param("pull: notebook to text; push: text to notebook", str, choices=["pull", "push"]),
    names: Param("Notebooks, without `nbs/` and `.ipynb`", str, nargs="+"),
    flags: str = "",  # Also run cells with these flags: "slow cuda"
):
    "Edit notebooks as text"
    pairs = [(NOTEBOOKS / f"{name}.ipynb", ROOT / "_text" / f"{name}.py") for name in names]
    for notebook, text in pairs:
        if direction == "pull":
            pull(notebook, text)
        else:
            push(text, notebook)
            nbdev_export(path=str(notebook))
    if direction == "push":
        sys.exit(refresh([notebook for notebook, _ in pairs], flags) > 0)
