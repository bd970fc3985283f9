"""Run notebooks in place and store their outputs

    python nbs/_tools/refresh.py nbs/320_hooks.ipynb nbs/350_tokens.ipynb
    python nbs/_tools/refresh.py nbs/320_hooks.ipynb --flags "slow cuda"

Runs the cells that `nbdev_test` would run with the same `--flags`, each notebook in its own process. Other cells keep
their outputs. Progress bars, stderr, execution counts and random ids are not stored. A notebook that fails is not
changed.
"""
from __future__ import annotations

import json
import os
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from execnb.nbio import nb2str, read_nb
from execnb.shell import CaptureShell
from fastcore.script import Param, call_parse
from fastcore.xtras import working_directory
from nbdev.clean import clean_nb
from nbdev.frontmatter import FrontmatterProc
from nbdev.process import NBProcessor

from addresses import readdress
from project import ROOT, settings

KERNEL = {"display_name": "python3", "language": "python", "name": "python3"}
WIDGETS = "application/vnd.jupyter.widget-state+json"
SAME_EVERY_TIME = {  # Environment that makes outputs reproducible
    "IN_TEST": "1",
    "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),  # Benchmarks use more
    "PYTHONHASHSEED": "0",
    "TOKENIZERS_PARALLELISM": "false",
    "WANDB_MODE": "offline",
}
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


def is_skipped(cell, flags: set[str]) -> bool:
    "Tell whether `nbdev_test` would skip a cell"
    if cell.cell_type != "code" or "nbdev_export(" in cell.source:
        return True
    never = cell.directives_.get("eval:", [""])[0].lower() == "false"
    return never or bool((set(settings.tst_flags.split()) - flags) & set(cell.directives_))


def without_noise(outputs: list) -> list:
    "Remove stderr, and lines of stdout that a progress bar has overwritten"
    kept = [output for output in outputs if output.get("name") != "stderr"]
    for output in kept:
        if "text" in output:
            output["text"] = re.sub(r"[^\n]*\r(?!\n)", "", "".join(output["text"])).splitlines(keepends=True)
    return [output for output in kept if output.get("text") != []]


def widget_state() -> dict:
    "Return the state of all widgets, in the form that notebooks store"
    if "ipywidgets" not in sys.modules:
        return {}
    from ipywidgets import Widget

    state = Widget.get_manager_state(drop_defaults=True)
    return {WIDGETS: state} if state["state"] else {}


def as_text(nb) -> str:
    "Return the JSON of a clean notebook, with numbers in place of the random names of widgets"
    clean_nb(nb)
    nb.metadata = {"kernelspec": KERNEL} | {key: nb.metadata[key] for key in ("widgets",) if key in nb.metadata}
    text = nb2str(nb)
    for i, name in enumerate(nb.metadata.get("widgets", {}).get(WIDGETS, {}).get("state", {})):
        text = text.replace(name, f"{i:032x}")
    return nb2str(json.loads(text))  # Sorted by the new names


def run(path: Path, flags: set[str]) -> str:
    "Run the notebook at `path` and store its outputs; return the traceback if it fails"
    sys.path.insert(0, str(ROOT))
    shell, ran = CaptureShell(path), {}

    def skip(cell) -> bool:
        if is_skipped(cell, flags):
            return True
        ran[cell.id], cell.outputs = cell, []
        return False

    try:
        with working_directory(path.parent):
            shell.run_all(NBProcessor(path, procs=FrontmatterProc, process=True).nb, exc_stop=True, preproc=skip)
    except Exception:
        return shell.prettytb(fname=path)
    nb = read_nb(path)
    for cell in nb.cells:
        cell.source = readdress(cell.source, path)
        if cell.id in ran:
            cell.outputs = without_noise(ran[cell.id].outputs)
    if ran:
        nb.metadata.pop("widgets", None)
        if state := widget_state():
            nb.metadata["widgets"] = state
    path.write_text(as_text(nb), encoding="utf-8")
    return ""


def refresh(paths: list[Path], flags: str) -> int:
    "Run notebooks, print the time or the traceback of each, and return how many failed"
    os.environ.update(SAME_EVERY_TIME, **({} if "hub" in flags.split() else OFFLINE))
    failed = 0
    for path in paths:
        start = time.monotonic()
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            traceback = process.submit(run, path.resolve(), set(flags.split())).result()
        print(traceback or f"{os.path.relpath(path)}: {time.monotonic() - start:.1f} s")
        failed += bool(traceback)
    return failed


@call_parse
def main(
    paths: Param("Notebooks", str, nargs="+"),
    flags: str = "",  # Also run cells with these flags: "slow cuda"
):
    "Run notebooks in place and store their outputs"
    sys.exit(refresh([Path(path) for path in paths], flags) > 0)
