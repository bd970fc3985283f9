"""Make the release table of the package from a table of all published SAEs.

    python nbs/_tools/releases.py TABLE.parquet [sae_nb/assets/releases.json.gz]

The table has one row per published SAE: release, sae_id, repo_id, model, format, path, neuronpedia, l0, l0_is_int,
variance_explained, norm_scaling_factor, config_overrides. The output describes the rows by rules: ids as templates whose
numbers run over products of lists, everything else as a template, a number, or a list in the order of the rows. Hook
points and widths, which the table lacks, are derived from the authors' naming schemes, and a missing L0 is taken from the
path. `zcat sae_nb/assets/releases.json.gz` shows the result.
"""
from __future__ import annotations

import gzip
import json
import re
import sys
from collections import defaultdict
from pathlib import Path

import pandas as pd

TOKEN = re.compile(r"(?<!\d)(?:\d+(?:k|m(?!_\d+x))?|small|medium|big)(?!\d)")
SIZES = ("small", "medium", "big")
LAYERS = {"270m": 18, "1b": 26, "4b": 34, "12b": 48, "27b": 62}  # number of layers of each Gemma 3 model
WIDTHS = {"goodfire": 65536, "deepseek_r1": 65536, "gpt2-small-res-jb": 24576}


def natural(token: str) -> tuple:
    "Return a sort key: numbers by value, sizes by size"
    if token in SIZES:
        return (1, SIZES.index(token))
    number = re.match(r"\d+", token)
    return (0, int(number[0]) * {"m": 1000}.get(token[-1], 1)) if number else (2, token)


def pattern(texts: list[str], axes: list[tuple[str, ...]]) -> tuple[str, list[str] | None] | None:
    "Return one template for all texts, with at most one number (n) that is not an axis; None if there is none"
    pieces = [TOKEN.split(text) for text in texts]
    tokens = [TOKEN.findall(text) for text in texts]
    if any(p != pieces[0] for p in pieces):
        return None
    found, extra = pieces[0][0], None
    for j, piece in enumerate(pieces[0][1:]):
        values = [t[j] for t in tokens]
        axis = next((a for a in range(len(axes[0])) if values == [row[a] for row in axes]), None)
        if len(set(values)) == 1:
            found += values[0]
        elif axis is not None:
            found += f"{{{axis}}}"
        elif extra in (None, values):
            found, extra = found + "{n}", values
        else:
            return None
        found += piece
    return found, extra


def products(rows: list[tuple[str, ...]]) -> list[str]:
    "Write the rows, in order, as products of lists, one list per axis"
    blocks = [[[token] for token in row] for row in rows]
    for axis in reversed(range(len(rows[0]))):
        merged = blocks[:1]
        for block in blocks[1:]:
            last = merged[-1]
            if all(a == b for i, (a, b) in enumerate(zip(last, block)) if i != axis):
                last[axis] = last[axis] + block[axis]
            else:
                merged.append(block)
        blocks = merged
    return [" ".join(span(tokens) for tokens in block) for block in blocks]


def span(tokens: list[str]) -> str:
    "Write consecutive integers as `0-33`, other values as `16k|262k`"
    numbers = [int(token) for token in tokens] if all(token.isdigit() for token in tokens) else []
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[0] + len(numbers))):
        return f"{tokens[0]}-{tokens[-1]}"
    return "|".join(tokens)


def hooks(row: pd.Series) -> tuple[str, str | None]:
    "Return the hook point of the inputs, and that of the outputs if it is a different one"
    text = f"{row.path} {row.sae_id}"
    layer = re.search(r"layer_?(\d+)|blocks\.(\d+)\.|_L(\d+)_|/L(\d+)R|-L(\d+)[ARM]-", text)
    layer = next((g for g in layer.groups() if g), "0") if layer else "0"
    if row.format in ("gemma_2", "gemma_3"):
        if row.path.startswith("embedding"):
            return "hook_embed", None
        kind = row.path if row.format == "gemma_3" else row.repo_id.rpartition("-")[2]
        if kind.startswith("transcoder"):
            return f"blocks.{layer}.hook_mlp_in", f"blocks.{layer}.hook_mlp_out"
        hook = {"r": "hook_resid_post", "m": "hook_mlp_out", "a": "attn.hook_z"}[kind[0]]
        return f"blocks.{layer}.{hook}", None
    if row.format == "llama_scope":
        hook = {"r": "hook_resid_post", "m": "hook_mlp_out", "a": "hook_attn_out"}[row.sae_id.split("_")[0][-1]]
        return f"blocks.{layer}.{hook}", None
    ends = {"gemma_2_transcoder": "ln2.hook_normalized", "mwhanna_transcoder": "mlp.hook_in",
            "mntss_clt_layer_transcoder": "hook_resid_mid"}
    if row.format in ends:
        return f"blocks.{layer}.{ends[row.format]}", f"blocks.{layer}.hook_mlp_out"
    if row.format == "connor_rob_hook_z":
        return f"blocks.{layer}.attn.hook_z", None
    named = re.match(r"blocks\.\d+\.(?:attn\.)?hook_(?:resid_pre|resid_mid|resid_post|mlp_out|attn_out|z)", row.sae_id)
    return named[0] if named else f"blocks.{layer}.hook_resid_post", None


def d_sae(row: pd.Series) -> int | None:
    "Return the number of latents, if a name or the format determines it"
    if row.release in WIDTHS or row.format in WIDTHS:
        return WIDTHS.get(row.release, WIDTHS.get(row.format))
    text = f"{row.repo_id} {row.path} {row.sae_id} {row.neuronpedia}"
    if row.format == "llama_scope":
        return int(row.sae_id.split("_")[1][:-1]) * 4096
    if row.format == "qwen_scope":
        return int(re.search(r"-W(\d+)K", row.repo_id)[1]) * 1024
    if power := re.search(r"2pow(\d+)", text):
        return 2 ** int(power[1])
    if exact := re.search(r"hook_\w+?_(\d{3,6})\b|_ds(\d+)_|hook_\w+?_(\d{3,6})_", text):
        return int(next(g for g in exact.groups() if g))
    named = re.search(r"width[_-](\d+[km])(?![0-9a-z])|v5[_-](\d+k)|[-_]res-(\d+k)(?:__|$)|-w-(\d+k)-", text)
    return power_of_two(next(g for g in named.groups() if g)) if named else None


def power_of_two(text: str) -> int:
    "Return the power of two that 16k, 65k or 1m stands for"
    number = float(text[:-1]) * {"k": 1e3, "m": 1e6}[text[-1]]
    return min((2 ** i for i in range(24)), key=lambda power: abs(power - number))


def sparsity(row: pd.Series) -> float | int | None:
    "Return the published L0, from the table or else from the path"
    if pd.isna(row.l0):
        named = re.search(r"average_l0_(\d+)", row.path)
        return int(named[1]) if named else None
    return int(row.l0) if row.l0_is_int else float(row.l0)


def ramp(row: pd.Series) -> str | None:
    "Return the rule by which the L0 of Gemma Scope 2 rises over the first third of the layers"
    if row.format != "gemma_3":
        return None
    top = 120 if "_all/" in row.path else 150
    return f"ramp {LAYERS[row.repo_id.split('-')[3]]} {top}"


def numbers(values: list, axes: list[tuple[str, ...]], extra: list[str] | None, read=float) -> object:
    "Write a column of numbers as None, a number, a template, or a list"
    if all(v is None for v in values):
        return None
    if len(set(values)) == 1:
        return values[0]
    for name, column in [(f"{{{a}}}", [row[a] for row in axes]) for a in range(len(axes[0]))] + [("{n}", extra or [])]:
        try:
            if [read(token) for token in column] == values:
                return name
        except (ValueError, KeyError):
            continue
    return values


def group(rows: pd.DataFrame) -> dict:
    "Write the rows of a release whose ids differ only in numbers as one group"
    tokens = [tuple(TOKEN.findall(sae_id)) for sae_id in rows.sae_id]
    varying = [j for j in range(len(tokens[0])) if len({t[j] for t in tokens}) > 1]
    axes = [tuple(t[j] for j in varying) for t in tokens]
    order = sorted(range(len(axes)), key=lambda i: [natural(t) for t in axes[i]])
    rows, axes = rows.iloc[order], [axes[i] for i in order]
    made = {"id": pattern(list(rows.sae_id), axes)[0], "over": products(axes) if varying else []}
    path = pattern(list(rows.path), axes)
    extra = path[1] if path else None
    made["path"] = path[0] if path else list(rows.path)
    if extra:
        made["n"] = " ".join(extra)
    if isinstance(made["path"], str) and made["path"].endswith(made["id"]):
        made["path"] = made["path"].removesuffix(made["id"]) + "{id}"
    for name, column in (("hook", 0), ("hook_out", 1)):
        points = [hooks(row)[column] for _, row in rows.iterrows()]
        if points[0]:
            made[name] = pattern(points, axes)[0]
    made["d_sae"] = numbers([d_sae(row) for _, row in rows.iterrows()], axes, extra, power_of_two)
    l0 = [sparsity(row) for _, row in rows.iterrows()]
    made["l0"] = ramp(rows.iloc[0]) or numbers(l0, axes, extra)
    for name, column in (("variance", "variance_explained"), ("scale", "norm_scaling_factor")):
        made[name] = numbers([None if pd.isna(v) else float(v) for v in rows[column]], axes, extra)
    made["neuronpedia"] = dashboards(list(rows.neuronpedia), axes)
    return {name: value for name, value in made.items() if value is not None and value != []}


def own_template(name: str, row: tuple[str, ...]) -> str:
    "Replace each number of a name that the row contains by its position in the row"
    return TOKEN.sub(lambda token: f"{{{row.index(token[0])}}}" if token[0] in row else token[0], name)


def dashboards(names: list, axes: list[tuple[str, ...]]) -> object:
    "Write the Neuronpedia ids as a template, or as several with the rows to which they apply"
    kinds = defaultdict(list)
    for i, name in enumerate(names):
        if isinstance(name, str):
            kinds[tuple(TOKEN.split(name)) + tuple(re.findall(r"-(\d+k)", name))].append(i)
    found = defaultdict(list)
    for where in kinds.values():
        made = pattern([names[i] for i in where], [axes[i] for i in where])
        if made and made[1] is None:
            found[made[0]] += where
            continue
        for i in where:
            found[own_template(names[i], axes[i])].append(i)
    if len(found) == 1 and len(next(iter(found.values()))) == len(names):
        return next(iter(found))
    return {name: products([axes[i] for i in sorted(where)]) for name, where in found.items()} or None


def compact(value: object) -> str:
    "Write JSON without spaces"
    return json.dumps(value, separators=(",", ":"))


def main(table: str, out: str = "sae_nb/assets/releases.json.gz") -> None:
    "Read the table and write the rules"
    frame = pd.read_parquet(table)
    lines = []
    for release, rows in frame.groupby("release", sort=False):
        first, groups = rows.iloc[0], defaultdict(list)
        for i, sae_id in enumerate(rows.sae_id):
            groups[tuple(TOKEN.split(sae_id))].append(i)
        about = {"repo": first.repo_id, "model": first.model, "format": first.format}
        if isinstance(first.config_overrides, str):
            about["overrides"] = json.loads(first.config_overrides)
        made = [group(rows.iloc[where]) for where in groups.values()]
        shared = {name: value for name, value in made[0].items() if name != "over" and all(
            other.get(name) == value for other in made) and not isinstance(value, (list, dict)) and name != "n"}
        rest = [{name: value for name, value in one.items() if name not in shared} for one in made]
        body = ",\n ".join(compact(one) for one in rest)
        lines.append(f'"{release}":{compact({**about, **shared})[:-1]},"groups":[\n {body}]}}')
    text = "{" + ",\n".join(lines) + "}\n"
    Path(out).write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
