"""Load mutated files of every kind that the library reads, and report what happens: nothing but documented errors should

    python nbs/_tools/fuzz.py --count 50000 --first 0    # as many inputs as you have time for; other seeds, other inputs
    python nbs/_tools/fuzz.py --count 1 --first 1234     # one input again; its error is printed

Every input is determined by its seed. An SAE that loads is also used on one row and saved. Each batch runs in a process of
its own, so that a crash costs the batch only and is reported with its seeds.
"""
from __future__ import annotations

import argparse
import bz2
import copy
import functools
import gzip
import io
import json
import lzma
import multiprocessing
import os
import random
import resource
import signal
import struct
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save

import sae_nb.architectures  # noqa: F401  (registers every architecture)
from sae_nb import SAE
from sae_nb.core import architecture, architecture_names
from sae_nb.formats.files import CheckpointError
import contextlib


def save_tensors(tensors: dict[str, torch.Tensor]) -> bytes:
    "Return a safetensors file"
    return save({name: tensor.clone() for name, tensor in tensors.items()})


D, N = 8, 32  # Width of the inputs and number of latents of all samples
SLOW, LARGE = 2.0, 200.0  # Seconds and megabytes that no input may take


class Sample(NamedTuple):
    "A folder of valid files"
    kind: str
    files: dict[str, bytes]
    path: str  # What is loaded, in the folder
    read: Callable[[Path], Any]  # Loads and uses it
    documented: tuple[type[Exception], ...] = ()  # Errors besides `CheckpointError` and FileNotFoundError


class Outcome(NamedTuple):
    "The result of one input"
    seed: int
    kind: str
    what: str  # "loaded", "documented" or a description of anything else
    seconds: float
    megabytes: float


# Samples

def use_sae(path: Path) -> None:
    "Load an SAE, use it on one row and save it"
    sae = SAE.load_from_disk(path)
    with torch.no_grad():
        x = torch.randn(1, sae.cfg.d_in, generator=torch.Generator().manual_seed(0)).to(sae.dtype)
        sae.decode(sae.encode(x))
    with tempfile.TemporaryDirectory() as folder:
        sae.save_model(folder)
        json.loads((Path(folder) / "cfg.json").read_text(encoding="utf-8"), parse_constant=refuse_constant)


def refuse_constant(name: str) -> None:
    "Raise TypeError for NaN and infinity in saved JSON"
    raise TypeError(f"saved JSON has {name}")


def weights(**shapes: tuple[int, ...]) -> dict[str, torch.Tensor]:
    "Return random tensors of given shapes"
    generator = torch.Generator().manual_seed(1)
    return {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}


def as_pt(content: Any, legacy: bool = False) -> bytes:
    "Return a PyTorch file"
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=not legacy)
    return stream.getvalue()


def as_npz(**arrays: np.ndarray) -> bytes:
    "Return an `.npz` file"
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def as_json(content: Any) -> bytes:
    "Return JSON"
    return json.dumps(content).encode()


CANONICAL = weights(W_enc=(D, N), W_dec=(N, D), b_enc=(N,), b_dec=(D,))
LINEAR = {"encoder.weight": CANONICAL["W_dec"], "encoder.bias": CANONICAL["b_enc"],
          "decoder.weight": CANONICAL["W_enc"], "bias": CANONICAL["b_dec"]}
SETTINGS = {"matryoshka_batchtopk": {"matryoshka_widths": [8, N]}, "crosscoder": {"hook_widths": [D, D], "d_in": 2 * D},
            "cross_layer_transcoder": {"n_layers": 2, "d_in": 2 * D, "d_out": 2 * D},
            "temporal": {"n_heads": 2, "bottleneck_factor": 4}}


def native_samples() -> list[Sample]:
    "Return one folder of each architecture, as `save_model` writes it"
    found = []
    for name in architecture_names():
        kind = architecture(name).config_class
        names = kind.__dataclass_fields__
        given: dict[str, Any] = {"d_in": D, "d_sae": N, "metadata": {"model_name": "gpt2", "hook_name": "blocks.1.x"}}
        given |= {"k": 4} if "k" in names else {}
        given |= {"d_out": D} if "d_out" in names else {}
        given |= SETTINGS.get(name, {})
        try:
            sae = SAE.from_config(kind(**given))
            with tempfile.TemporaryDirectory() as folder:
                sae.save_model(folder)
                files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
            found.append(Sample("safetensors + json", {f"sae/{n}": data for n, data in files.items()}, "sae", use_sae))
        except (ValueError, TypeError) as error:
            warnings.warn(f"no sample of {name}: {error}", stacklevel=1)
    return found


def foreign_samples() -> list[Sample]:
    "Return folders in the formats of other libraries"
    jump = {**CANONICAL, "threshold": CANONICAL["b_enc"].abs()}
    dictionary = {"trainer": {"dict_class": "AutoEncoderTopK", "k": 4, "layer": 3, "lm_name": "gpt2",
                              "submodule_name": "resid_post_layer_3"}, "buffer": {"ctx_len": 128}}
    topk = {**{name: LINEAR[name] for name in list(LINEAR)[:3]}, "b_dec": LINEAR["bias"], "k": torch.tensor(4)}
    clt = {f"clt/W_{part}_{i}.safetensors": save_tensors(content) for i in range(2) for part, content in (
        ("enc", {f"W_enc_{i}": torch.rand(N, D), f"b_enc_{i}": torch.rand(N), f"b_dec_{i}": torch.rand(D)}),
        ("dec", {f"W_dec_{i}": torch.rand(N, 2 - i, D)}))}
    yaml = b"model_name: gpt2\nmodel_kind: %s\nfeature_input_hook: hook_resid_mid\nfeature_output_hook: hook_mlp_out\n"
    temporal = {"D": torch.rand(N, D), "b": torch.rand(1, D)}
    for part, width in (("k_ctx", 8), ("q_target", 8), ("v_ctx", N), ("c_proj", N)):
        temporal |= {f"attn_layers.0.{part}.weight": torch.rand(width, N), f"attn_layers.0.{part}.bias": torch.rand(width)}
    old = {"architecture": "standard", "d_in": D, "d_sae": N, "dtype": "float32", "activation_fn_str": "topk",
           "activation_fn_kwargs": {"k": 4}, "hook_name": "blocks.1.hook_resid_pre", "normalize_activations": "none"}
    folders: list[tuple[str, dict[str, bytes], str]] = [
        ("npz", {"g/params.npz": as_npz(**{n: t.numpy() for n, t in jump.items()})}, "g"),
        ("safetensors + json", {"g3/params.safetensors": save_tensors(jump), "g3/config.json":
                                as_json({"architecture": "jump_relu", "hf_hook_point_in": "model.layers.3.output"})}, "g3"),
        ("pt", {"d/ae.pt": as_pt(topk), "d/config.json": as_json(dictionary)}, "d"),
        ("pt", {"d/ae.pt": as_pt({"ae": LINEAR, "norm_factor": 2.0, "step": 3})}, "d"),
        ("pt", {"Llama-3.3-SAE-l50.pt": as_pt({**LINEAR, "encoder_linear.bias": LINEAR["encoder.bias"]})},
         "Llama-3.3-SAE-l50.pt"),
        ("pt", {"a.pt": as_pt(CANONICAL, legacy=True),
                "a_cfg.json": as_json({"act_name": "blocks.1.attn.hook_z", "act_size": D, "dict_size": N})}, "a.pt"),
        ("pt", {"L0_4/layer7.sae.pt": as_pt({"W_enc": CANONICAL["W_dec"], "W_dec": CANONICAL["W_enc"],
                                              "b_enc": CANONICAL["b_enc"], "b_dec": CANONICAL["b_dec"]})},
         "L0_4/layer7.sae.pt"),
        ("safetensors + json", {"o/cfg.json": as_json(old), "o/sae_weights.safetensors": save_tensors(CANONICAL)}, "o"),
        ("safetensors + json", {"s/layers.1/cfg.json": as_json({"d_in": D, "k": 4, "num_latents": N, "expansion_factor": 4}),
                                "s/layers.1/sae.safetensors": save_tensors(
                                    {"encoder.weight": CANONICAL["W_dec"], "encoder.bias": CANONICAL["b_enc"],
                                     "W_dec": CANONICAL["W_dec"].clone(), "b_dec": CANONICAL["b_dec"]})}, "s/layers.1"),
        ("yaml", {"t/config.yaml": yaml % b"transcoder_set" + b"transcoders: [layer_0.safetensors]\n",
                  "t/layer_0.safetensors": save_tensors({**CANONICAL, "W_enc": CANONICAL["W_dec"].clone()})}, "t/layer_0.safetensors"),
        ("yaml", {**clt, "clt/config.yaml": yaml % b"cross_layer_transcoder"}, "clt"),
        ("yaml", {"x/conf.yaml": b"sae: {n_attn_layers: 1, n_heads: 2, bottleneck_factor: 4, tied_weights: true,"
                                 b" sae_diff_type: topk, kval_topk: 4, scaling_factor: 0.5}\nllm: {name: gpt2}\n",
                  "x/latest_ckpt.safetensors": save_tensors(temporal)}, "x")]
    return [Sample(kind, files, path, use_sae) for kind, files, path in folders]


def openmoss_samples() -> list[Sample]:
    "Return folders in the formats of Llama Scope and its successors"
    scale = {"dataset_average_activation_norm": {"in": 3.0, "out": 2.0}, "d_model": D}
    moss = {"sae_type": "sae", "hook_point_in": "blocks.1.x", "act_fn": "relu", "norm_activation": "dataset-wise", **scale}
    openmoss = {"encoder.weight": LINEAR["encoder.weight"], "encoder.bias": LINEAR["encoder.bias"],
                "decoder.weight": LINEAR["decoder.weight"], "decoder.bias": LINEAR["bias"]}
    crossed = {"W_E": torch.rand(2, D, N), "b_E": torch.rand(2, N), "W_D": torch.rand(2, N, D), "b_D": torch.rand(2, D)}
    layers = {"W_E": torch.rand(2, D, N), "b_E": torch.rand(2, N), "W_D.0": torch.rand(1, N, D),
              "W_D.1": torch.rand(2, N, D), "b_D.0": torch.rand(D), "b_D.1": torch.rand(D)}
    hooks = {"hook_points": ["a", "b"], "norm_activation": "none", "d_model": D}
    ends = {"hook_points_in": ["a", "b"], "hook_points_out": ["c", "d"], "norm_activation": "none", "d_model": D}
    folders: list[tuple[str, dict[str, bytes], str]] = [
        ("safetensors + json", {"m/config.json": as_json(moss), "m/sae_weights.safetensors": save_tensors(openmoss)}, "m"),
        ("pt", {"m/config.json": as_json(moss), "m/sae_weights.pt": as_pt({"sae": openmoss})}, "m"),
        ("safetensors + json", {"c/config.json": as_json({**hooks, "sae_type": "crosscoder", "act_fn": "relu"}),
                                "c/sae_weights.safetensors": save_tensors(crossed)}, "c"),
        ("safetensors + json", {"l/config.json": as_json({**ends, "sae_type": "clt", "act_fn": "relu"}),
                                "l/sae_weights.safetensors": save_tensors(layers)}, "l")]
    return [Sample(kind, files, path, use_sae) for kind, files, path in folders]


def set_samples() -> list[Sample]:
    "Return sets of transcoders, which are read as a whole"
    from sae_nb.export import export_sae
    from sae_nb.loading import _load_folder

    def use_set(path: Path) -> None:
        found = _load_folder(path)
        for sae in found.values() if isinstance(found, dict) else [found]:
            sae(torch.zeros(1, sae.cfg.d_in, dtype=sae.dtype))
    yaml = (b"model_name: gpt2\nmodel_kind: transcoder_set\nfeature_input_hook: hook_resid_mid\n"
            b"feature_output_hook: hook_mlp_out\ntranscoders: [layer_0.safetensors, layer_1.safetensors]\n")
    tensors = save_tensors({**CANONICAL, "W_enc": CANONICAL["W_dec"].clone()})
    found = [Sample("sets", {"t/config.yaml": yaml, "t/layer_0.safetensors": tensors, "t/layer_1.safetensors": tensors},
                    "t", use_set)]
    names = [f"blocks.{layer}.hook_mlp" for layer in range(2)]
    hooks = {"model_name": "gpt2", "hook_name": [f"{n}_in" for n in names], "hook_name_out": [f"{n}_out" for n in names]}
    settings = {**SETTINGS["cross_layer_transcoder"], "d_sae": N, "metadata": hooks}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "e"
        export_sae(SAE.from_config(architecture("cross_layer_transcoder").config_class(**settings)), place, "circuit_tracer")
        files = {f"e/{path.relative_to(place).as_posix()}": path.read_bytes()
                 for path in place.rglob("*") if path.suffix in MUTATIONS}
    return [*found, Sample("sets", files, "e", use_set)]


class Part:
    "A part of a checkpoint"

    state = {"weight": torch.rand(4, 4), "step": 7, "rng": [1, 2.5, "x", None]}

    def state_dict(self) -> dict[str, Any]:
        "Return its state"
        return self.state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        "Check that the state is the one that was saved"
        assert torch.equal(state["weight"], self.state["weight"])


def metrics_samples() -> list[Sample]:
    "Return results of evaluations, and rows of metrics"
    from sae_nb.checkpoint import load_checkpoint, save_checkpoint
    from sae_nb.metrics import Metrics, reconstruction_sums
    from sae_nb.publish import Evaluation
    from sae_nb.suite import _ResultsFolder
    from sae_nb.track import JSONLines, read_rows
    values = {"l0": 3.5, "mse": 0.25, "explained_variance": 0.75, "tokens": 24.0}
    sums = reconstruction_sums(torch.rand(3, 4, D), torch.rand(3, 4, D)) | {"l0": torch.rand(3), "l1": torch.rand(3)}
    metrics = Metrics(values, {"l0": (3.0, 4.0)}, torch.rand(N), {"sae": "gpt2", "identity": "a", "source": {"text": "x"}},
                      sums, {"auc": torch.rand(N)})
    about = {"tokens": 24, "seed": 0, "split": "test"}

    def use_metrics(path: Path) -> None:
        found = Metrics.load(path)
        repr(found), found._repr_html_(), found.to_pandas(), found - found
        json.loads(found.save(path).read_text(), parse_constant=refuse_constant)

    def use_suite(path: Path) -> None:
        _ResultsFolder.open(path, about).done("a", "a")

    def use_rows(path: Path) -> None:
        read_rows(path)
        tracker = JSONLines(path, 20, expected=3)
        tracker.log({"step": 30})
        tracker.close()
        assert read_rows(path)[-1] == {"step": 30}

    with tempfile.TemporaryDirectory() as folder:
        metrics.save(Path(folder) / "a.json")
        files = {f"results/{path.name}": path.read_bytes() for path in Path(folder).iterdir()}
        checkpoint = save_checkpoint(Path(folder) / "checkpoint.pt", {"a": Part()}, about).read_bytes()
    rows = "".join(json.dumps({"step": step, "losses/overall_loss": 0.5}) + "\n" for step in (5, 10, 15, 20, 25)).encode()
    return [Sample("metrics", files, "results/a.json", use_metrics), Sample("metrics", files, "results/a.json", Evaluation.of),
            Sample("metrics", {**files, "results/settings.json": as_json(about)}, "results", use_suite, (FileExistsError,)),
            Sample("metrics", {"rows/metrics.jsonl": rows}, "rows/metrics.jsonl", use_rows),
            Sample("checkpoint", {"run/checkpoint.pt": checkpoint}, "run/checkpoint.pt",
                   lambda path: load_checkpoint(path, {"a": Part()}), (ValueError,))]


def other_samples() -> list[Sample]:
    "Return files of the library's other readers"
    from sae_nb.labels import read_labels
    labels = {str(i): f"latent {i}" for i in range(20)}
    rows = "\n".join(json.dumps({"index": i, "description": "x"}) for i in range(20)).encode()
    return [Sample("labels", {"labels.json": as_json(labels)}, "labels.json", read_labels),
            Sample("labels", {"labels.jsonl.gz": gzip.compress(rows)}, "labels.jsonl.gz", read_labels),
            *text_samples(), *metrics_samples(), *set_samples(), *stats_samples(), *run_samples()]


def text_samples() -> list[Sample]:
    "Return files of texts of every kind"
    import pyarrow
    from fsspec.compression import compr, register_compression
    if "zstd" not in compr:  # `datasets` needs the package zstandard, which may not be installed
        register_compression("zstd", lambda file, mode="rb", **_: io.BufferedReader(
            pyarrow.CompressedInputStream(pyarrow.PythonFile(file, "r"), "zstd")), "zst")
    from pyarrow import csv, parquet
    rows = [{"text": f"a short text {i}"} for i in range(30)]
    lines = "\n".join(map(json.dumps, rows)).encode()
    table, tables = pyarrow.Table.from_pylist(rows), {}
    for name, write in (("texts.parquet", parquet.write_table), ("texts.csv", csv.write_csv), ("texts.arrow", write_arrow)):
        sink = pyarrow.BufferOutputStream()
        write(table, sink)
        tables[name] = sink.getvalue().to_pybytes()
    plain = {"texts.jsonl": lines, "texts.txt": b"a text in a file\n" * 20, **tables}
    packed = {f"texts.jsonl{suffix}": pack(lines) for suffix, pack in PACKERS.items()}
    packed |= {"texts.txt.gz": gzip.compress(plain["texts.txt"])}
    found = [Sample("texts", {name: data}, name, read_texts, (ValueError, PermissionError))
             for name, data in (plain | packed).items()]
    shards = {f"data/{part}.jsonl": lines for part in ("train", "test")}
    return [*found, Sample("texts", shards, "data", read_texts, (ValueError, PermissionError))]


def write_arrow(table: Any, sink: Any) -> None:
    "Write an Arrow stream"
    import pyarrow
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def pack_zstd(data: bytes) -> bytes:
    "Compress with zstd"
    import pyarrow
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def unpack_zstd(data: bytes) -> bytes:
    "Unpack zstd"
    import pyarrow
    return pyarrow.CompressedInputStream(pyarrow.BufferReader(data), "zstd").read()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": pack_zstd}
UNPACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress, ".zst": unpack_zstd}


def read_texts(path: Path) -> None:
    "Open a file of texts and look at its rows"
    from sae_nb.texts import load_texts
    for _ in load_texts(str(path)).look():
        pass


def stats_samples() -> list[Sample]:
    "Return statistics of latents, as `FeatureStats.save` writes them"
    from sae_nb.stats import FeatureStats
    def use_statistics(path: Path) -> None:
        stats = FeatureStats.load(path)
        repr(stats), stats.flags, stats.find("sea"), stats.interesting(3), stats.to_pandas()
        for latent in (stats[0], stats[len(stats) - 1]) if len(stats) else ():
            repr(latent), latent._repr_html_(), latent.quantiles()
        stats.page(path.with_suffix(".html"))
        stats.save(path)
    return [Sample("features", {"features.safetensors": sample_statistics()}, "features.safetensors", use_statistics)]


def sample_statistics() -> bytes:
    "Return the bytes of the statistics of two latents on eight tokens"
    from sae_nb.firing import Collector
    from sae_nb.selection import top_k
    from sae_nb.stats import FeatureStats
    from sae_nb.vocabulary import Vocabulary
    text = torch.tensor([[0, 1, 2, 3], [0, 3, 2, 1]])
    z = torch.tensor([[[0, 0], [2.0, 0], [0, 1], [4, 3]], [[0, 0], [1, 2], [0, 0], [0, 0]]])
    found = Collector(2, n_top=2, before=2, after=1, n_sources=1)
    found.add(text, text > 0, top_k(z.flatten(0, 1), 2), torch.zeros_like(text), document=torch.zeros_like(text))
    names = ("count", "outside", "sequences", "sum", "sum_squares", "max", "histogram", "fine_histogram")
    none, top = torch.zeros(2, 0, dtype=torch.int64), found.strongest()
    stats = FeatureStats(
        {"sae": "small"}, Vocabulary((b"<s>", b" sea", b" and", b" land"), frozenset({0})), text, 6, found.scale,
        top=top, repeats=torch.ones_like(top.position), random=found.sample(), silent=found.silent(), before=2,
        logit_tokens=none, logit_effects=none * 1.0, neighbors=none, neighbor_cosines=none * 1.0,
        **{name: getattr(found, name) for name in names})
    with tempfile.TemporaryDirectory() as folder:
        return stats.save(Path(folder) / "features.safetensors").read_bytes()


def run_samples() -> list[Sample]:
    "Return the settings of a run"
    from sae_nb import BatchTopKSAEConfig, TrainConfig
    cfg = TrainConfig(model="demo", hook="blocks.1.hook_resid_post", sae=BatchTopKSAEConfig(d_in=D, d_sae=N, k=4))
    content = json.dumps(cfg.to_dict()).encode()
    return [Sample("train_config", {"run/train_config.json": content}, "run", TrainConfig.from_run)]


# Mutations

NUMBERS = [0, -1, 1, 2, 3, 1000, 2 ** 31 - 1, 2 ** 31, 2 ** 62, 2 ** 63, 2 ** 64, 10 ** 9, 10 ** 30, 10 ** 400, 0.5, 1e308,
           -0.0, float("nan"), float("inf"), True, False, None]
TEXTS = ["", "x", "x" * 5000, "\0", "\ud800", "../../etc/passwd", "nan", "float16", "cuda:99", "topk", "jumprelu", "😀" * 50,
         "<img src=x>", "/", "hf://a/b/c", "standard", "temporal", "crosscoder", "gated"]


def odd_value(rng: random.Random) -> Any:
    "Return a value that a setting should not have"
    def nested(depth: int) -> Any:
        value: Any = 1
        for _ in range(depth):
            value = [value] if rng.random() < 0.5 else {"a": value}
        return value
    return rng.choice([lambda: rng.choice(NUMBERS), lambda: rng.choice(TEXTS), lambda: nested(rng.choice([3, 40, 60, 900])),
                       lambda: [rng.choice(NUMBERS)] * rng.choice([0, 1, 3, 1000]), lambda: rng.randrange(2 ** 40),
                       lambda: {f"{rng.choice(TEXTS)[:50]}{i}": i for i in range(rng.choice([1, 30, 5000]))},
                       lambda: [rng.choice(TEXTS)] * rng.choice([1, 200])])()


def mutate_tree(content: Any, rng: random.Random) -> Any:
    "Change one to three values or names in parsed JSON"
    content = copy.deepcopy(content)
    for _ in range(rng.randint(1, 3)):
        places: list[tuple[Any, Any]] = []
        stack = [content]
        while stack:
            level = stack.pop()
            for key in (level if isinstance(level, dict) else range(len(level)) if isinstance(level, list) else ()):
                places.append((level, key))
                stack.append(level[key])
        if not places:
            return odd_value(rng)
        level, key = rng.choice(places)
        action = rng.random()
        if action < 0.6:
            level[key] = odd_value(rng)
        elif action < 0.75:
            del level[key]
        elif isinstance(level, dict):
            name = rng.choice([str(key).upper(), f"{key}_", str(key)[:-1], rng.choice(TEXTS)])
            level[name] = copy.deepcopy(level[key])
            if action < 0.9:
                level.pop(key, None)
        else:
            level.append(copy.deepcopy(level[key]))
    return content


def dump_json(content: Any) -> bytes:
    "Return JSON of anything, also of what is not valid"
    old = json.dumps(content) if depth_fits(content) else "[" * 3000
    return old.encode("utf-8", "surrogatepass")


def depth_fits(content: Any) -> bool:
    "Return True if Python can write a value as JSON"
    try:
        json.dumps(content)
    except (RecursionError, ValueError):
        return False
    return True


def mutate_json(data: bytes, rng: random.Random) -> bytes:
    "Change JSON, or put something large in its place"
    choice = rng.random()
    if choice < 0.05:
        return b"[" * rng.choice([100, 2000, 500_000])
    if choice < 0.1:
        return b'{"a":[' + b"{}," * rng.choice([100, 30_000, 300_000]) + b"0]}"
    if choice < 0.15:
        return data.replace(b"{", b'{"' + b"n" * rng.choice([100, 10 ** 6]) + b'":1,', 1)
    if choice < 0.2:
        return data.replace(b"{", b'{' + b",".join(b'"d_ig%d":1' % i for i in range(rng.choice([10, 4000]))) + b",", 1)
    return dump_json(mutate_tree(json.loads(data), rng))


def mutate_yaml(data: bytes, rng: random.Random) -> bytes:
    "Change YAML; aliases that multiply, deep nesting, long numbers and tags among the changes"
    import yaml
    names = [line.split(b":")[0].strip().decode() for line in data.splitlines() if b":" in line] or ["k"]
    name = rng.choice([*names, "k", "sae", "transcoders"])
    if rng.random() < 0.5:
        width, levels = rng.choice([(10, 9), (2, 40), (10, 3), (100, 4)])
        bomb = "".join(f"l{i}: &l{i} [{','.join([f'*l{i - 1}'] * width)}]\n" for i in range(1, levels))
        merged = "".join(f"m{i}: &m{i} {{<<: [{','.join([f'*m{i - 1}'] * width)}]}}\n" for i in range(1, levels))
        extra = rng.choice([
            f"l0: &l0 [1]\n{bomb}{name}: *l{levels - 1}\n", f"m0: &m0 {{a: 1}}\n{merged}{name}: *m{levels - 1}\n",
            f"{name}: &a [*a]\n", f"{name}: {'[' * rng.choice([10, 100, 5000])}\n", f"{name}: {'{a: ' * 3000}\n",
            f"{name}: 1{':01' * rng.choice([3, 5000])}\n", f"{name}: 0x{'f' * rng.choice([4, 10 ** 5])}\n",
            f"{name}: {'9' * rng.choice([20, 5000])}\n", f"{name}: !!python/object/apply:os.system [x]\n",
            f"{name}: !!binary {'A' * 1000}\n", f"{name}: 2001-99-99\n", f"{name}: 2001-01-01\n", f"{name}: .nan\n",
            f"{name}: !!set {{a, b}}\n", f"? [{name}]\n: 1\n", "? {a: 1}\n: 1\n", f"{name}: !!int x\n",
            f"{name}: [{'[],' * rng.choice([10, 50_000, 250_000])}]\n", f"{name}: '{'x' * 2 ** 20}'\n",
            f"{'- ' * 2000}x\n", f"{name}: !!float 0x\n", f"{name}: !!timestamp x\n", "---\na: 1\n---\n", "%YAML 9.9\n"])
        return data + extra.encode() if rng.random() < 0.7 else extra.encode()
    tree = mutate_tree(yaml.safe_load(data), rng)
    try:
        return yaml.safe_dump(tree).encode("utf-8", "surrogatepass")
    except (yaml.YAMLError, RecursionError, ValueError):
        return dump_json(tree)


def mutate_safetensors(data: bytes, rng: random.Random) -> bytes:
    "Change the header, its length or the data of a safetensors file"
    length = struct.unpack("<Q", data[:8])[0]
    header, body = data[8:8 + length], bytearray(data[8 + length:])
    choice = rng.random()
    if choice < 0.2 and body:
        place = rng.randrange(len(body) // 4) * 4
        body[place:place + 4] = struct.pack("<f", rng.choice([float("nan"), float("inf"), -1.0, 1e38, 0.0, 1e-45]))
        return data[:8 + length] + bytes(body)
    if choice < 0.25:
        return struct.pack("<Q", rng.choice([0, 1, length + 1, length - 1, 2 ** 63, len(data)])) + data[8:]
    header = mutate_json(header, rng) if choice < 0.6 else dump_json(mutate_header(json.loads(header), rng))
    return struct.pack("<Q", len(header)) + header + bytes(body)


def mutate_header(header: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    "Change type, shape, place or name of one tensor"
    names = [name for name in header if name != "__metadata__"]
    if not names:
        return header
    name, other = rng.choice(names), rng.choice(names)
    entry = header[name]
    action = rng.randrange(8)
    if action == 0:
        entry["dtype"] = rng.choice(["F64", "F16", "BF16", "F8_E4M3", "I64", "I8", "U8", "BOOL", "C64", "U16", "F4", "x"])
    elif action == 1:
        entry["shape"] = entry["shape"][::-1]
    elif action == 2:
        entry["shape"] = [*entry["shape"], 1] if rng.random() < 0.5 else [int(np.prod(entry["shape"]))]
    elif action == 3:
        entry["data_offsets"] = header[other].get("data_offsets", [0, 0])
    elif action == 4:
        header[rng.choice(["W_enc", "W_dec", "threshold", "k", "log_threshold", "W_skip", "x"])] = header.pop(name)
    elif action == 5:
        header |= {f"{name}.{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
                   for i in range(rng.choice([3, 1000, 20_000]))}
    elif action == 6:
        header[name], header[other] = header[other], header[name]
    else:
        entry["shape"] = [rng.choice([0, 1, 2 ** 31, 2 ** 62, 2 ** 64]) for _ in range(rng.randint(0, 9))]
    return header


def mutate_zip(data: bytes, rng: random.Random) -> bytes:
    "Change the members of a zip archive: names, sizes, copies, compression, content"
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    place = rng.randrange(len(members))
    name, content = members[place]
    action = rng.randrange(7)
    if action == 0:
        members.append(members[rng.randrange(len(members))])
    elif action == 1:
        members[place] = (rng.choice(["../x.npy", "W_dec.npy", "archive/data.pkl", "/x", "x" * 300, name.upper()]), content)
    elif action == 2:
        del members[place]
    elif action == 3:
        members[place] = (name, flip(content, rng))
    elif action == 4:
        zeros = np.zeros(1)
        stream = io.BytesIO()
        np.save(stream, zeros)
        shape = f"({rng.choice([10 ** 6, 10 ** 7])}, 8)".encode()
        head = stream.getvalue()[:128].replace(b"(1,)", shape).replace(b" " * len(shape), b" " * 4, 1)
        members[place] = (name, head + bytes(rng.choice([0, 10 ** 6, 3 * 10 ** 7])))
    elif action == 5:
        odd = [np.zeros((2, 2), "c8"), np.array(["a"]), np.zeros((4, 4), ">f4"), np.zeros((4, 4), "O"), np.array(np.nan),
               np.asfortranarray(np.ones((D, N), "f4")), np.ones((N, D), "i8"), np.ones((1,) * 9, "f4")]
        stream = io.BytesIO()
        np.save(stream, rng.choice(odd), allow_pickle=True)
        members[place] = (name, stream.getvalue())
    else:
        members += [(f"n{i}.npy", b"") for i in range(rng.choice([5, 3000]))]
    kind = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", kind) as archive:
        warnings.simplefilter("ignore")
        for member, content in members:
            archive.writestr(member, content)
    return stream.getvalue()


class AsksForMemory:
    "Pickles as a request for many bytes"

    def __reduce__(self) -> Any:
        return bytearray, (3 * 10 ** 9,)


class RunsCode:
    "Pickles as a call"

    def __reduce__(self) -> Any:
        return os.mkdir, ("/tmp/fuzz-ran-code",)


def odd_tensor(tensor: torch.Tensor, rng: random.Random) -> Any:
    "Return a tensor with one thing wrong, or something else than a tensor"
    return rng.choice([
        lambda: tensor.to(rng.choice([torch.complex64, torch.int8, torch.float16, torch.bool, torch.float8_e5m2, torch.uint16])),
        lambda: tensor.T if tensor.ndim == 2 else tensor[None], lambda: tensor[:0], lambda: tensor.flatten(),
        lambda: torch.zeros(1).expand(10 ** rng.randint(1, 10)), lambda: tensor * float("nan"), lambda: tensor.to_sparse(),
        lambda: torch.empty(10 ** 6, 10 ** 6, device="meta"), lambda: torch.nn.Parameter(tensor.clone()),
        lambda: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8), lambda: odd_value(rng), AsksForMemory, RunsCode,
        lambda: tensor.as_strided((3, 3), (1, 1)) if tensor.numel() > 9 else tensor])()


def mutate_pt(data: bytes, rng: random.Random) -> bytes:
    "Change the content of a PyTorch file, or its pickle"
    if rng.random() < 0.3:
        return mutate_zip(data, rng) if data[:2] == b"PK" else flip(data, rng)
    content = torch.load(io.BytesIO(data), weights_only=True)
    level: Any = content
    while any(isinstance(value, dict) for value in level.values()) and rng.random() < 0.8:
        level = next(value for value in level.values() if isinstance(value, dict))
    name = rng.choice(list(level))
    action = rng.random()
    if action < 0.7 and torch.is_tensor(level[name]):
        level[name] = odd_tensor(level[name], rng)
    elif action < 0.8:
        del level[name]
    elif action < 0.9:
        level[rng.choice([*TEXTS, 3, None, (1, 2), "threshold", "k"])] = level.pop(name)
    else:
        level |= {f"t{i}": odd_value(rng) for i in range(3)}
    try:
        return as_pt(content if rng.random() < 0.95 else [content], legacy=rng.random() < 0.3)
    except Exception:  # what cannot be saved is no input
        return flip(data, rng)


def flip(data: bytes, rng: random.Random) -> bytes:
    "Flip bits, cut, repeat or overwrite bytes"
    changed, action = bytearray(data), rng.randrange(6)
    start = rng.randrange(len(data) + 1)
    if action == 0:
        return bytes(changed[:start])
    if action == 1:
        del changed[start:start + rng.choice([1, 8, 100])]
    elif action == 2:
        changed[start:start] = changed[start:start + rng.choice([1, 8, 100])]
    elif action == 3:
        changed[start:start + 8] = rng.choice([b"\xff" * 8, b"\0" * 8, struct.pack("<Q", rng.choice([1, 2 ** 31, 2 ** 62]))])
    else:
        for _ in range(rng.choice([1, 1, 3, 30])):
            if changed:
                changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def mutate_lines(data: bytes, rng: random.Random) -> bytes:
    "Change one line of JSON lines, or add a very long or odd one"
    lines = data.splitlines()
    place = rng.randrange(len(lines))
    lines[place] = rng.choice([
        lambda: mutate_json(lines[place], rng), lambda: flip(lines[place], rng), lambda: b"[" * 100_000,
        lambda: dump_json({"text": odd_value(rng)}), lambda: dump_json({"text": "x" * 10 ** 6})])()
    return b"\n".join(lines)


def mutate_packed(data: bytes, rng: random.Random, suffix: str) -> bytes:
    "Change the content of a packed file, or make it unpack to very much, also after 65 MB that look fine"
    pack, unpack = PACKERS[suffix], UNPACKERS[suffix]
    action = rng.random()
    if action < 0.2:
        return bomb(suffix, rng.choice([10 ** 6, 3 * 10 ** 8]))
    if action < 0.22 and suffix == ".gz":
        return incompressible() + bomb(suffix, 3 * 10 ** 8)
    if action < 0.3:
        return data + pack(unpack(data)) if rng.random() < 0.5 else data + flip(data, rng)
    if action < 0.4:
        return rng.choice(list(PACKERS.values()))(unpack(data))  # Packed in another way than the name says
    return pack(mutate_lines(unpack(data), rng)) if action < 0.75 else flip(data, rng)


@functools.cache
def bomb(suffix: str, size: int) -> bytes:
    "Return a small file that unpacks to many spaces"
    if suffix == ".zst" or size < 10 ** 7:
        return PACKERS[suffix](b" " * size + b"1")
    return b"".join([PACKERS[suffix](b" " * 10 ** 7)] * (size // 10 ** 7))


@functools.cache
def incompressible() -> bytes:
    "Return a gzip file of 65 MB that holds as much text"
    letters = bytes(random.Random(0).choices(b"abcdefghijklmnopqrstuvwxyz", k=2 ** 16))
    line = b'{"text": "' + letters + b'"}\n'
    return gzip.compress(line * (65 * 10 ** 6 // len(line)), 0)


def mutate_table(data: bytes, rng: random.Random) -> bytes:
    "Change the rows of a parquet file, or its bytes"
    import pyarrow
    from pyarrow import parquet
    if rng.random() < 0.6:
        return flip(data, rng)
    columns = rng.choice([
        lambda: {"text": ["x" * 1000] * 30_000}, lambda: {"text": [b"\xff"] * 3}, lambda: {"text": [None] * 5},
        lambda: {"text": [[1, 2], [-5]]}, lambda: {"text": [[2 ** 40]]}, lambda: {"text": [{"a": "b"}]},
        lambda: {f"c{i}": [1] for i in range(3000)}, lambda: {"text": []}, lambda: {"": ["x"]}, lambda: {"input_ids": [[1.5]]},
        lambda: {"text": pyarrow.nulls(10 ** 6)}, lambda: {"text": [0.5]}, lambda: {"text": [[[1]]]}])()
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.table(columns), sink, compression=rng.choice(["snappy", "gzip", "zstd", "none"]))
    return sink.getvalue().to_pybytes()


MUTATIONS = {".json": mutate_json, ".yaml": mutate_yaml, ".safetensors": mutate_safetensors, ".npz": mutate_zip,
             ".pt": mutate_pt, ".jsonl": mutate_lines, ".parquet": mutate_table, ".arrow": flip, ".csv": mutate_lines,
             ".txt": mutate_lines, **{suffix: functools.partial(mutate_packed, suffix=suffix) for suffix in PACKERS}}


def mutate(sample: Sample, rng: random.Random) -> dict[str, bytes]:
    "Return the files of a sample with one or two of them changed"
    files = dict(sample.files)
    for name in rng.sample(sorted(files), min(len(files), rng.choice([1, 1, 1, 2]))):
        change = flip if rng.random() < 0.25 else MUTATIONS[Path(name).suffix]
        try:
            files[name] = change(files[name], rng)
        except Exception:  # what no library can write is no input
            files[name] = flip(files[name], rng)
    return files


# Running

class TooSlow(BaseException):
    "An input took more than 20 seconds"


def too_slow(*_: Any) -> None:
    "Stop an input that takes too long"
    raise TooSlow


def peak_megabytes() -> float:
    "Return the largest resident memory of this process since the last reset"
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def reset_peak() -> float:
    "Forget the largest resident memory so far; return what is used now"
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak_megabytes()


def judge(error: BaseException, folder: Path, sample: Sample) -> str:
    "Return \"documented\" for an error that the library promises, else a description"
    documented = isinstance(error, (CheckpointError, FileNotFoundError, *sample.documented))
    last = traceback.extract_tb(error.__traceback__)[-1]
    text = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {str(error)[:150]!r}"
    if not documented:
        return text
    if len(str(error)) > 500 + 200 * (sample.kind == "texts") + len(str(folder)):
        return f"message of {len(str(error))} characters: {text}"
    first = Path(next(iter(sample.files))).parts[0]
    return "documented" if first in str(error) or str(folder) in str(error) else f"does not name the file: {text}"


def one_input(seed: int, samples: list[Sample], folder: Path) -> Outcome:
    "Mutate a sample by its seed, load it and return what happened"
    rng = random.Random(seed)
    sample = rng.choice(samples)
    for name, data in mutate(sample, rng).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    del rng
    before, start = reset_peak(), time.process_time()  # not wall time, which other processes of the machine change
    signal.alarm(20)
    try:
        sample.read(folder / sample.path)
        what = "loaded"
    except TooSlow:
        what = "more than 20 s"
    except BaseException as error:  # noqa: BLE001  (that is the question)
        what = judge(error, folder, sample)
    finally:
        signal.alarm(0)
    return Outcome(seed, sample.kind, what, time.process_time() - start, peak_megabytes() - before)


def run_batch(seeds: range, samples: list[Sample], send: Any) -> None:
    "Try some inputs in this process and send what happened"
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, too_slow)
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            send.send(one_input(seed, samples, Path(folder)))
    send.send(None)


def all_samples(kinds: Collection[str] = ()) -> list[Sample]:
    "Return the samples of some kinds, or all; each is loaded once, unchanged, so that a wrong sample is noticed"
    every = [*native_samples(), *foreign_samples(), *openmoss_samples(), *other_samples()]
    samples = [sample for sample in every if not kinds or sample.kind in kinds]
    for sample in samples:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            for name, data in sample.files.items():
                (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                (Path(folder) / name).write_bytes(data)
            try:
                sample.read(Path(folder) / sample.path)
            except Exception as error:
                raise AssertionError(f"the sample {sample.path} of {sorted(sample.files)} cannot be loaded") from error
    return samples


def run(count: int, first: int = 0, batch: int = 250, kinds: Collection[str] = ()) -> list[Outcome]:
    "Try `count` inputs with the seeds from `first` on; return what happened to each"
    samples, found = all_samples(kinds), []
    context = multiprocessing.get_context("fork")
    for start in range(first, first + count, batch):
        seeds = range(start, min(start + batch, first + count))
        receive, send = context.Pipe(duplex=False)
        process = context.Process(target=run_batch, args=(seeds, samples, send))
        process.start()
        send.close()
        done = 0
        try:
            while (outcome := receive.recv()) is not None:
                found.append(outcome)
                done += 1
        except EOFError:
            process.join()
            found.append(Outcome(seeds[min(done, len(seeds) - 1)], "crash", f"exit code {process.exitcode}", 0, 0))
        process.join()
    return found


def failures(outcomes: list[Outcome]) -> list[Outcome]:
    "Return the inputs that raised an undocumented error, or took too long or too much memory"
    return [o for o in outcomes if o.what not in ("loaded", "documented") or o.seconds > SLOW or o.megabytes > LARGE]


def table(outcomes: list[Outcome]) -> str:
    "Return what happened by kind, as text"
    rows = [f"{'kind':20}{'inputs':>8}{'loaded':>8}{'documented':>12}{'else':>6}{'slowest s':>11}{'largest MB':>12}"]
    for kind in [*sorted({o.kind for o in outcomes}), "all"]:
        chosen = [o for o in outcomes if kind in (o.kind, "all")]
        counts = Counter(o.what for o in chosen)
        other = len(chosen) - counts["loaded"] - counts["documented"]
        rows.append(f"{kind:20}{len(chosen):>8}{counts['loaded']:>8}{counts['documented']:>12}{other:>6}"
                    f"{max(o.seconds for o in chosen):>11.2f}{max(o.megabytes for o in chosen):>12.1f}")
    return "\n".join(rows)


def main() -> None:
    "Run from the command line"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", default=[], help="only these kinds, such as yaml; default: all")
    given = parser.parse_args()
    outcomes = run(given.count, given.first, kinds=given.kinds)
    print(table(outcomes))
    grouped: dict[str, list[Outcome]] = {}
    for outcome in failures(outcomes):
        grouped.setdefault(f"{outcome.kind}: {outcome.what[:110]}", []).append(outcome)
    for what, cases in sorted(grouped.items(), key=lambda pair: -len(pair[1]))[:60]:
        worst = max(cases, key=lambda o: (o.seconds, o.megabytes))
        print(f"{len(cases):5} x {what} (seeds {[o.seed for o in cases[:4]]}; {worst.seconds:.1f} s, {worst.megabytes:.0f} MB)")
    raise SystemExit(bool(grouped))


if __name__ == "__main__":
    main()
