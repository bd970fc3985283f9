"""Data of the page of published SAEs: all rows of the release table, compressed into one script

`expanded` reads the script back, and node, where it is installed, runs the page's own code, so that a build can check
that the page shows every row.
"""
from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from string import Template
from typing import Any

from project import ROOT

TEMPLATES = Path(__file__).parent / "site"
PLACE = '<div id="saes"></div>'  # In the notebook; the table goes here
PAGE, SCRIPT = "published.html", "saes.js"
LIMIT = 150_000  # Bytes of the page with all that it loads
ARCHITECTURES = {  # By file format, where the format has just one; others say it in the name of the release
    "gemma_2": "jumprelu",
    "gemma_2_transcoder": "jumprelu_transcoder",
    "llama_scope": "jumprelu",
    "qwen_scope": "topk",
    "goodfire": "standard",
    "connor_rob_hook_z": "standard",
    "temporal": "temporal",
}
IN_NAME = {"_topk_": "topk", "_vanilla_": "standard", "_standard_": "standard", "_panneal_": "standard", "_gated_": "gated"}
Row = dict[str, Any]


def published() -> list:
    "Return all rows of the release table of this checkout"
    sys.path.insert(0, str(ROOT))
    try:
        from sae_nb.releases import find_saes
    finally:
        sys.path.remove(str(ROOT))
    return list(find_saes())


def architecture(row) -> str:
    "Return the architecture as SAE.from_pretrained makes it, or \"unknown\" if only the files say it"
    if row.format == "gemma_3":
        skip = "skip_" if row.sae_id.endswith("_affine") or "_affine_" in row.sae_id else ""
        return f"jumprelu_{skip}transcoder" if row.hook_out else "jumprelu"
    if row.format == "dictionary_learning_1":
        return next((name for part, name in IN_NAME.items() if part in row.release), "unknown")
    return ARCHITECTURES.get(row.format, "unknown")


def columns(rows: list) -> dict[str, list]:
    "Arrange the rows, sorted by release, in columns; names of hook points and architectures become numbers"
    releases = [[*key, len(list(group))] for key, group in groupby(
        rows, key=lambda row: (row.release, row.model, row.repo_id, row.format))]
    hooks = ["", *sorted({name for row in rows for name in (row.hook, row.hook_out) if name})]
    kinds = sorted(set(map(architecture, rows)))
    return {
        "releases": releases,
        "hooks": hooks,
        "architectures": kinds,
        "id": [row.sae_id for row in rows],
        "hook": [hooks.index(row.hook or "") for row in rows],
        "hook_out": [hooks.index(row.hook_out or "") for row in rows],
        "layer": [row.layer for row in rows],
        "width": [row.d_sae for row in rows],
        "l0": [row.l0 for row in rows],
        "explained": [row.variance_explained for row in rows],
        "architecture": [kinds.index(architecture(row)) for row in rows],
        "neuronpedia": [row.neuronpedia_id for row in rows],
    }


def packed(data: object) -> str:
    "Return JSON, compressed with gzip, as base64; equal data give equal text"
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def script(rows: list) -> bytes:
    "Return the script of the page: the data, then the code"
    return f'const SAES = "{packed(columns(rows))}";\n'.encode() + (TEMPLATES / SCRIPT).read_bytes()


def with_table(body: str, root: str, count: int) -> str:
    "Put the table into the body of a page that has a place for it"
    shell = Template((TEMPLATES / "saes.html").read_text(encoding="utf-8"))
    return body.replace(PLACE, shell.substitute(root=root, count=f"{count:,}"))


def expanded(text: str) -> list[Row]:
    "Read the rows back from the script, as its function `expand` does"
    packed_rows = re.match(r'const SAES = "([^"]+)"', text)[1]
    data = json.loads(gzip.decompress(base64.b64decode(packed_rows)))
    owners = [release[:4] for release in data["releases"] for _ in range(release[4])]
    names = ("id", "layer", "width", "l0", "explained", "neuronpedia")
    return [
        {
            **dict(zip(("release", "model", "repo", "format"), owner)),
            **{name: data[name][i] for name in names},
            "hook": data["hooks"][data["hook"][i]],
            "hookOut": data["hooks"][data["hook_out"][i]],
            "architecture": data["architectures"][data["architecture"][i]],
        }
        for i, owner in enumerate(owners)
    ]


def expected(rows: list) -> list[Row]:
    "Return what the page must show for the rows of the table"
    return [
        {
            "release": row.release, "model": row.model, "repo": row.repo_id, "format": row.format,
            "id": row.sae_id, "layer": row.layer, "width": row.d_sae, "l0": row.l0,
            "explained": row.variance_explained, "neuronpedia": row.neuronpedia_id,
            "hook": row.hook or "", "hookOut": row.hook_out or "", "architecture": architecture(row),
        }
        for row in rows
    ]


def by_node(path: Path) -> list[Row] | None:
    "Run the code of the page on its data; return its rows, or None without node"
    node = shutil.which("node")
    if not node:
        return None
    program = f"{path.read_text(encoding='utf-8')}\ninflate(SAES).then((data) => console.log(JSON.stringify(expand(data))));"
    done = subprocess.run([node, "-"], input=program, capture_output=True, text=True, check=True, encoding="utf-8")
    rows = json.loads(done.stdout)
    return [{**{name: value for name, value in row.items() if name != "place"}, "neuronpedia": row["neuronpedia"] or None}
            for row in rows]


def problems(folder: Path, rows: list) -> Iterator[str]:
    "Find rows that the page in `folder` lacks or shows differently, and files that are too large for a phone"
    path, wanted = folder / SCRIPT, expected(rows)
    for how, shown in (("the data", expanded(path.read_text(encoding="utf-8"))), ("the code, run by node,", by_node(path))):
        if shown is not None and shown != wanted:
            wrong = next((i for i, (a, b) in enumerate(zip(shown, wanted)) if a != b), min(len(shown), len(wanted)))
            yield f"{SCRIPT}: {how} gives {len(shown):,} rows, the table has {len(wanted):,}; row {wrong} is the first to differ"
    size = sum((folder / name).stat().st_size for name in (PAGE, SCRIPT, "style.css", "search.js"))
    if size > LIMIT:
        yield f"{PAGE}: {size:,} bytes with its scripts, at most {LIMIT:,}"
