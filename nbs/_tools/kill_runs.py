"""Runs to be broken: kinds of run, processes that are killed, and what must hold when a run was resumed

`kill.py` is the command. A run is trained in a process of its own (`live`), which a fault may disturb: a signal, an
exception, or a kill at a chosen call of a function of sae_nb. `survive` resumes it until it is finished and compares
its folder with that of the same run, unbroken.
"""
from __future__ import annotations

import hashlib
import json
import os
import random
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
import traceback
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

import sae_nb
from sae_nb import (BatchTopKSAEConfig, CrosscoderConfig, GatedSAEConfig, JumpReLUSAEConfig, MatchingPursuitSAEConfig,
                    MatryoshkaBatchTopKSAEConfig, StandardSAEConfig, TokenMask, TopKSAEConfig, TrainConfig, cache_activations,
                    load_model)
from sae_nb.inputs import InputStream
from sae_nb.mixture import Mixture
from sae_nb.run import start_run
from sae_nb.transcoder import TopKSkipTranscoderConfig

LIBRARY = str(Path(sae_nb.__file__).parent)
STEPS = 24
CHECKPOINT = "checkpoint.pt"
METRICS = "metrics.jsonl"
SETTINGS = "train_config.json"
TIMED = "details/tokens_per_second"  # The only number of a row that may differ

TEXT = """the of and to in a is that for it as was with be by on not he his but at are this have from or had an they
which one you were all her she there would their we him been has when who will no more if out so up said what its about
than into them can only other time new some could these two may first then do whale sea ship king people states
government congress great man like now men over water old way"""

# Kinds of run


@dataclass
class Kind:
    "A kind of run: its settings, and its data and model where these are objects"

    name: str
    settings: dict[str, Any]
    dataset: Callable[[], Any] | None = None
    model: Callable[[], Any] | None = None
    mask: TokenMask | None = None  # With a function, which no file can hold

    def config(self, out: Path | str | None) -> TrainConfig:
        "Return the settings of a new run"
        common = {"tokens": 256 * STEPS, "batch_size": 256, "log_every": 2, "checkpoint_every": 5, "context_size": 64,
                  "model_batch_size": 4, "buffer_size": 2048, "progress": False, "device": "cpu",
                  "sae": BatchTopKSAEConfig(d_sae=128, k=8)}
        own = {"mask": self.mask} if self.mask else {}
        return TrainConfig(**{**common, **self.settings, **own, "out": None if out is None else str(out)})

    def train(self, out: Path | str | None, resume: bool, **changed: Any) -> None:
        "Train a new run, or resume one, to its end"
        own = {**changed, **({"mask": self.mask} if self.mask else {})}
        cfg = TrainConfig.from_run(str(out), **own) if resume else self.config(out)
        run = start_run(cfg, self.model and self.model(), self.dataset and self.dataset())
        run.close()


def words(n: int, seed: int) -> str:
    "Return text of `n` random words"
    chosen, known = random.Random(seed), TEXT.split()
    return " ".join(chosen.choice(known) for _ in range(n)) + "."


def write_texts(folder: Path) -> None:
    "Write the data files of the runs"
    for part in range(3):
        lines = [json.dumps({"text": words(150, 1000 * part + n)}) for n in range(150)]
        (folder / f"part{part}.jsonl").write_text("\n".join(lines) + "\n")


def rows_of(path: str) -> Iterator[dict[str, str]]:
    "Yield the rows of a file of texts"
    with open(path) as file:
        yield from map(json.loads, file)


def iterable(path: Path) -> Any:
    "Return a data set that can only be read in order"
    from datasets import IterableDataset

    return IterableDataset.from_generator(rows_of, gen_kwargs={"path": str(path)})


def shuffled(paths: list[Path]) -> Any:
    "Return a shuffled stream of several files"
    from datasets import load_dataset

    files = [str(path) for path in paths]
    return load_dataset("json", data_files=files, split="train", streaming=True).shuffle(seed=3, buffer_size=40)


def kinds(data: Path) -> list[Kind]:
    "Return the kinds of run"
    sae, file = BatchTopKSAEConfig(d_sae=128, k=8), {"dataset": str(data / "part0.jsonl")}
    few = {"d_sae": 512, "k": 4, "aux_coefficient": 1 / 8}
    hooks = ["blocks.1.hook_resid_post", "blocks.2.hook_resid_post"]
    mlp = {"hook": "blocks.1.ln2.hook_normalized", "hook_out": "blocks.1.hook_mlp_out"}
    three = {"a": sae, "b": TopKSAEConfig(d_sae=96, k=4), "c": StandardSAEConfig(d_sae=128)}
    crosscoder = {"hook": hooks, "sae": CrosscoderConfig(d_sae=128, activation="batchtopk", k=8)}
    relu_crosscoder = {"hook": hooks, "sae": CrosscoderConfig(d_sae=128, activation="jumprelu")}
    return [
        Kind("BatchTopK", {}),
        Kind("three SAEs, two hook points", {"sae": three, "hook": {"a": hooks[0], "b": hooks[1], "c": hooks[0]}}),
        Kind("JumpReLU, target L0", {"sae": JumpReLUSAEConfig(d_sae=128, target_l0=8), **file}),
        Kind("Standard, target L0", {"sae": StandardSAEConfig(d_sae=128, target_l0=8)}),
        Kind("Gated", {"sae": GatedSAEConfig(d_sae=128), **file}),
        Kind("TopK skip transcoder", {"sae": TopKSkipTranscoderConfig(d_sae=128, k=8), **mlp}),
        Kind("BatchTopK crosscoder", crosscoder),
        Kind("JumpReLU crosscoder", relu_crosscoder),
        Kind("JSONL file", {**file, "lr_schedule": "cosine"}),
        Kind("IterableDataset", {}, lambda: iterable(data / "part0.jsonl")),
        Kind("shuffled stream of two files", {}, lambda: shuffled([data / "part0.jsonl", data / "part1.jsonl"])),
        Kind("12 texts, several epochs", {}, lambda: [words(160, n) for n in range(12)]),
        Kind("stream of 20 rows, several epochs", {}, lambda: iterable(short_file(data))),
        Kind("resampling", {"resample_every": 10, "dead_after_tokens": 300, "sae": TopKSAEConfig(d_sae=512, k=4)}),
        Kind("AuxK, dead latents", {"dead_after_tokens": 300, "sae": BatchTopKSAEConfig(**few)}),
        Kind("whitening", {"normalize_inputs": "whiten", **file, "buffer_size": 8192}),
        Kind("autocast", {"autocast": True}),
        Kind("bfloat16 weights", {"sae": BatchTopKSAEConfig(d_sae=128, k=8, dtype="bfloat16"), **file}),
        Kind("matching pursuit", {"sae": MatchingPursuitSAEConfig(d_sae=128, max_iterations=8)}),
        Kind("Matryoshka", {"sae": MatryoshkaBatchTopKSAEConfig(d_sae=128, k=8, matryoshka_widths=[32, 64])}),
        Kind("default checkpoints, progress bar", {"checkpoint_every": None, "progress": True}),
        Kind("model and mask as objects", {**file}, model=hooked_model, mask=TokenMask(where=not_first_ids)),
        Kind("stored activations", {"activations": stored(data, "bfloat16")}),
        Kind("stored activations in int8, three SAEs", {"activations": stored(data, "int8"), "stored_order": True,
             "sae": three, "hook": {"a": hooks[0], "b": hooks[1], "c": hooks[0]}}),
        Kind("eight SAEs with their own k, lr and seed, two hook points", eight_saes(hooks)),
        Kind("chats, mask by role", {}, lambda: iterable(chat_file(data)), chat_model, TokenMask(roles=("assistant",))),
        Kind("mixture of chats and text", {}, lambda: mixture(data), chat_model),
        Kind("images", {"hook": "0", "mask": TokenMask.everything()}, lambda: InputStream(pictures), picture_model),
    ]


def eight_saes(hooks: list[str]) -> dict[str, Any]:
    "Return the settings of a run with eight SAEs that differ in k, hook point, learning rate, schedule and seed"
    own = {f"k={k},hook={i}": (k, hook) for k in (2, 4, 8, 12) for i, hook in enumerate(hooks)}
    overrides = {name: {"seed": n, "lr": 1e-3 * (1 + n), "lr_schedule": "cosine" if n % 2 else "constant"}
                 for n, name in enumerate(own)}
    return {"sae": {name: BatchTopKSAEConfig(d_sae=128, k=k) for name, (k, _) in own.items()},
            "hook": {name: hook for name, (_, hook) in own.items()}, "overrides": overrides, "drop_diverged": True}


def short_file(data: Path) -> Path:
    "Write a file of 20 texts and return its path"
    path = data / "short.jsonl"
    if not path.exists():
        path.write_text("\n".join((data / "part2.jsonl").read_text().splitlines()[:20]) + "\n")
    return path


def stored(data: Path, dtype: str) -> str:
    "Store activations of two hook points, fewer than a run reads, and return the path of the cache"
    path = data / f"stored-{dtype}"
    if not path.exists():
        write_stored(path, dtype)
    return str(path)


def write_stored(path: Path, dtype: str = "bfloat16", resume: bool = False) -> None:
    "Store 4,000 activations of two hook points, in about 8 shards"
    hooks = ["blocks.1.hook_resid_post", "blocks.2.hook_resid_post"]
    cfg = TrainConfig(hook=hooks, tokens=4000, context_size=64, model_batch_size=4, device="cpu")
    cache_activations(cfg, path, dtype, shard_bytes=400_000 if dtype == "bfloat16" else 200_000, resume=resume)


def mixture(data: Path) -> Mixture:
    "Return a mixture of conversations and text"
    return Mixture([str(chat_file(data)), str(data / "part0.jsonl")], [2, 1])


def chat_file(data: Path) -> Path:
    "Write a file of conversations and return its path"
    path = data / "chats.jsonl"
    if not path.exists():
        chats = [[{"role": "user", "content": words(20, n)}, {"role": "assistant", "content": words(60, n + 10_000)}]
                 for n in range(600)]
        path.write_text("\n".join(json.dumps({"messages": chat}) for chat in chats) + "\n")
    return path


def chat_model() -> torch.nn.Module:
    "Return the demo model with a chat template"
    model = bare_model()
    model.tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    return model


def pictures(epoch: int) -> Iterator[dict[str, torch.Tensor]]:
    "Yield batches of an epoch, in an order of its own"
    draws = torch.Generator().manual_seed(epoch)
    yield from ({"input": torch.randn(32, 8, 16, generator=draws)} for _ in range(12))


def picture_model() -> torch.nn.Module:
    "Return a small model that reads no tokens"
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU())


def bare_model() -> torch.nn.Module:
    "Return the demo model"
    return load_model("demo", bridge=False)


def hooked_model() -> torch.nn.Module:
    "Return the demo model with a function that is called in each forward pass"
    model = bare_model()
    block = next(module for name, module in model.named_modules() if name.endswith("h.1"))
    block.register_forward_hook(lambda module, inputs, output: in_forward_pass(output))
    return model


def in_forward_pass(output: Any) -> Any:
    "Return the output of a block; faults replace this function"
    return output


def in_mask(tokens: torch.Tensor) -> torch.Tensor:
    "Tell which tokens count, those with an id above 9; faults replace this function"
    return tokens > 9


def not_first_ids(tokens: torch.Tensor) -> torch.Tensor:
    "Call `in_mask`"
    return in_mask(tokens)


# One process

# A fault is installed in the process before it trains: it sets traps there, such as a `Trap`
Fault = Callable[[], None]


@dataclass
class Life:
    "How a process ended"

    end: str  # "finished", the name of an exception, "killed" or "hung"
    message: str = ""
    log: str = ""  # What it printed
    kinds: tuple[str, ...] = ()  # The classes of the exception

    def is_a(self, *names: str) -> bool:
        "Tell whether it ended with an exception of one of these classes, or in one of these ways"
        return bool({self.end, *self.kinds} & {*names})

    @property
    def ok(self) -> bool:
        "True if it ended without an exception"
        return self.end == "finished"

    def __str__(self) -> str:
        return f"{self.end}: {self.message}" if self.message else self.end


class Trap:
    "Call `act` when functions of sae_nb have been called `at` times"

    def __init__(self, at: int, act: Callable[[], None], again: int | None = None):
        self.left = at
        self.act = act
        self.again = again  # Calls between the first and a second `act`

    def __call__(self, frame: Any, event: str, arg: Any) -> None:
        if event != "call" or not frame.f_code.co_filename.startswith(LIBRARY):
            return
        self.left -= 1
        if self.left == 0:
            if self.again:
                self.left, self.again = self.again, None
            else:
                sys.setprofile(None)
            self.act()

    def install(self) -> None:
        "Begin to count"
        sys.setprofile(self)


def raise_signal(number: int) -> Callable[[], None]:
    "Return a function that sends a signal to its own process"
    return lambda: os.kill(os.getpid(), number)


def throw(error: BaseException) -> Callable[[], None]:
    "Return a function that raises an exception"
    def act() -> None:
        raise error
    return act


def child(job: Callable[[], Any], fault: Fault | None, report: Path, home: Path) -> None:
    "Run a job in a new process, write how it ended, and end the process"
    number = os.open(report.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(number, stream)
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.manual_seed(os.getpid())  # nothing may depend on it
    os.chdir(home)
    found: dict[str, Any] = {"end": "finished", "message": "", "kinds": []}
    try:
        if fault:
            fault()
        job()
        sys.setprofile(None)
    except BaseException as error:
        sys.setprofile(None)
        kinds = [each.__name__ for each in type(error).__mro__]
        found = {"end": type(error).__name__, "message": str(error)[:1000], "kinds": kinds}
        with suppress(BaseException):
            traceback.print_exc()
    for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    report.write_text(json.dumps(found))
    with suppress(BaseException):
        sys.stdout.flush()
    os._exit(0)


def live(job: Callable[[], Any], home: Path, fault: Fault | None = None, kill_after: float | None = None,
         kill_on: int | None = None, limit: float = 180.0) -> Life:
    "Run a job in a new process; kill it after some seconds, or `kill_after` seconds after it wrote to a pipe"
    process, report = start(job, home, fault)
    return wait(process, report, kill_after, kill_on, limit)


def start(job: Callable[[], Any], home: Path, fault: Fault | None = None) -> tuple[int, Path]:
    "Start a job in a new process in a folder; return its number, and the file in which it reports how it ended"
    report = home / f"report-{time.monotonic_ns()}.json"
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process == 0:
        try:
            child(job, fault, report, home)
        finally:
            os._exit(1)
    return process, report


def wait(process: int, report: Path, kill_after: float | None = None, kill_on: int | None = None,
         limit: float = 180.0) -> Life:
    "Wait for a process to end, killing it if wanted; return how it ended"
    begun, status = time.monotonic(), None
    seen = kill_on is None
    while status is None:
        if not seen and kill_on is not None and select.select([kill_on], [], [], 0)[0]:
            seen, begun = True, time.monotonic()
        elapsed = time.monotonic() - begun
        hung = elapsed > limit
        if hung or (seen and kill_after is not None and elapsed >= kill_after):
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return Life("hung" if hung else "killed", log=printed(report))
        done, status = os.waitpid(process, os.WNOHANG)
        status = status if done else None
        time.sleep(0.0005)
    if report.exists():
        found = json.loads(report.read_text())
        return Life(found["end"], found["message"], printed(report), tuple(found["kinds"]))
    return Life("killed", f"status {status}", printed(report))


def printed(report: Path) -> str:
    "Return what a process printed"
    with suppress(OSError):
        return report.with_suffix(".log").read_text(errors="replace")
    return ""


# The unbroken run

PHASES = {  # Functions that mark a part of a run: the name that the file has without ".py", and their own
    ("plan", "estimate"): "estimate",
    ("buffer", "_refill"): "buffer fill",
    ("training", "step"): "step",
    ("checkpoint", "save_checkpoint"): "checkpoint",
    ("sae", "save_model"): "final save",
    ("trainer", "finish"): "final save",
    ("checkpoint", "load_checkpoint"): "resume",
}


class Recorder:
    "Records in which part of the run each call of a function of sae_nb lies"

    def __init__(self) -> None:
        self.count = 0
        self.open: list[tuple[Any, str]] = []
        self.changes: list[tuple[int, str]] = [(0, "start")]

    def __call__(self, frame: Any, event: str, arg: Any) -> None:
        if event not in ("call", "return") or not frame.f_code.co_filename.startswith(LIBRARY):
            return
        name = PHASES.get((Path(frame.f_code.co_filename).stem, frame.f_code.co_name))
        if event == "call":
            self.count += 1
            if name and not any(mark is frame for mark, _ in self.open):
                self.open.append((frame, name))
                self.changes.append((self.count, name))
        elif name and self.open and self.open[-1][0] is frame:
            self.open.pop()
            self.changes.append((self.count + 1, self.open[-1][1] if self.open else "between"))


@dataclass
class Reference:
    "The unbroken run: what it left, how long it took, and where its calls lie"

    files: dict[str, str]
    rows: list[dict[str, Any]]
    seconds: float
    n_calls: int
    changes: list[tuple[int, str]]
    spans: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    allowed: set[str] = field(default_factory=set)  # Files that a run may also leave

    def __post_init__(self) -> None:
        ends = [at for at, _ in self.changes[1:]] + [self.n_calls + 1]
        for (first, phase), end in zip(self.changes, ends):
            if end > first:
                self.spans.setdefault(phase, []).append((max(first, 1), end))

    def call(self, chosen: random.Random, phase: str | None = None) -> int:
        "Return the number of a random call, of the whole run or of a part"
        if phase is None:
            return chosen.randint(1, self.n_calls)
        spans = self.spans[phase]
        return chosen.randrange(*spans[chosen.randrange(len(spans))])

    def phase_of(self, call: int) -> str:
        "Return the part of the run in which a call lies"
        return self.changes[bisect_right(self.changes, (call, "\uffff")) - 1][1]


def contents(folder: Path) -> dict[str, str]:
    "Return the files below a folder: weights and settings of SAEs with their content, others by name"
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            exact = path.name in ("sae_weights.safetensors", "cfg.json")
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if exact else ""
    return found


def read_metrics(path: Path) -> list[dict[str, Any]]:
    "Return the rows of a metrics file without what depends on time; raise ValueError if a row is not complete"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != TIMED} for row in rows]


class Bench:
    "A folder for runs, and the unbroken runs to compare with"

    def __init__(self, folder: Path, keep: bool = False):
        self.folder = folder
        self.keep = keep
        self.data = folder / "data"
        self.data.mkdir()
        write_texts(self.data)
        self.kinds = kinds(self.data)
        self.taken = self.kinds  # Kinds that take turns
        self.turn = 0  # Number of the trial
        self._references: dict[str, Reference] = {}
        self._number = 0
        self.n_kills = 0
        self.ends: Counter[str] = Counter()  # How disturbed processes ended

    def new_folder(self) -> Path:
        "Make a folder for a run and the reports of its processes; return the path of the run in it"
        self._number += 1
        home = self.folder / f"{self._number:04d}"
        home.mkdir()
        return home / "run"

    def home(self, folder: Path) -> Path:
        "Return the folder that `new_folder` made for a run"
        return self.folder / folder.relative_to(self.folder).parts[0]

    def remove(self, folder: Path) -> None:
        "Remove a run, and the reports of its processes"
        if not self.keep:
            shutil.rmtree(self.home(folder), ignore_errors=True)

    def kind(self, name: str) -> Kind:
        "Return the kind of run with a name"
        return next(kind for kind in self.kinds if kind.name == name)

    def next_kind(self, part: str | None = None) -> Kind:
        "Return a kind of run that has a part, another one in each trial"
        least = {"checkpoint": 3}.get(str(part), 1)  # Not only the checkpoint before the final save
        able = [kind for kind in self.taken
                if part is None or len(self.reference(kind).spans.get(part, ())) >= least]
        if not able:
            raise RuntimeError(f"no run has the part {part!r}: adapt PHASES to the names in sae_nb")
        return able[self.turn % len(able)]

    def share(self, kind: Kind, other: Kind, allowed: tuple[str, ...] = ()) -> Kind:
        "Let a kind of run have the unbroken run of another one, but for files that it may also leave; return it"
        self._references[kind.name] = replace(self.reference(other), spans={}, allowed={*allowed})
        return kind

    def reference(self, kind: Kind) -> Reference:
        "Return the unbroken run of a kind; train it twice, the second time to record its calls"
        if kind.name not in self._references:
            folder, again = self.new_folder(), self.new_folder()
            begun = time.monotonic()
            life = live(lambda: kind.train(folder, False), folder.parent)
            seconds = time.monotonic() - begun
            if not life.ok:
                raise RuntimeError(f"{kind.name}: the unbroken run fails: {life}\n{life.log[-3000:]}")
            n_calls, changes = record(lambda: kind.train(again, False), again.parent)
            found = Reference(contents(folder), read_metrics(folder / METRICS), seconds, n_calls, changes)
            found.allowed |= {"checkpoint.previous.pt"} if CHECKPOINT in found.files else set()
            if problem := difference(again, found):
                raise RuntimeError(f"{kind.name}: two unbroken runs differ: {problem}")
            self._references[kind.name] = found
            self.remove(folder)
            self.remove(again)
        return self._references[kind.name]


def record(job: Callable[[], Any], home: Path) -> tuple[int, list[tuple[int, str]]]:
    "Run a job in a new process; return its number of calls of functions of sae_nb, and the parts of the run"
    recorder, file = Recorder(), home / "calls.json"
    def recorded() -> None:
        job()
        sys.setprofile(None)
        file.write_text(json.dumps([recorder.count, recorder.changes]))
    life = live(recorded, home, lambda: sys.setprofile(recorder))
    if not life.ok:
        raise RuntimeError(f"the recorded run fails: {life}\n{life.log[-3000:]}")
    count, changes = json.loads(file.read_text())
    return count, [(at, name) for at, name in changes]


# What must hold


def difference(folder: Path, wanted: Reference) -> str:
    "Return how a finished run differs from the unbroken one; an empty string if it does not"
    if not folder.is_dir():
        return "the folder is gone"
    found = contents(folder)
    for name, content in wanted.files.items():
        if name not in found:
            return f"{name} is missing"
        if found[name] != content:
            return f"{name} differs"
    if surplus := sorted(found.keys() - wanted.files.keys() - wanted.allowed):
        return f"leaves {', '.join(surplus)[:120]}"
    try:
        rows = read_metrics(folder / METRICS)
    except ValueError as error:
        return f"{METRICS} cannot be read: {error}"
    if rows != wanted.rows:
        steps = [row.get("step") for row in rows]
        if steps != [row["step"] for row in wanted.rows]:
            return f"{METRICS} has rows of the steps {steps}"
        return f"a number in {METRICS} differs"
    return ""


def checkpoint_step(path: Path) -> int:
    "Return how many steps a checkpoint has behind it; -1 if there is none"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:
        return -1
    return most_steps(content)


def most_steps(value: Any) -> int:
    "Return the largest `steps_done` in nested dictionaries, or -1"
    if not isinstance(value, dict):
        return -1
    own = value.get("steps_done", -1)
    return max([own if isinstance(own, int) else -1, *(most_steps(part) for part in value.values())])


def logged_step(folder: Path) -> int:
    "Return the last step in the metrics of a run, or -1"
    with suppress(OSError, ValueError, IndexError):
        return json.loads((folder / METRICS).read_text().splitlines()[-1]).get("step", -1)
    return -1


@dataclass
class Break:
    "How a run is disturbed during one life, and what must hold after it"

    fault: Fault | None = None
    kill_after: float | None = None
    kill_on: int | None = None  # A pipe to which the fault writes when the clock starts
    keeps_work: bool = False  # Whether the checkpoint must not be older than the last row of metrics
    is_late: bool = False  # Whether there is a checkpoint before, so that the run may not begin again
    in_place: bool = False  # Whether the same command must work again in the folder if nothing was trained
    ends: tuple[str, ...] | None = None  # How the life must end; None: in any way
    says: str = ""  # Pattern that the message must contain
    after: Callable[[Path], None] | None = None  # Called after the life, to repair what was disturbed


def survive(bench: Bench, kind: Kind, folder: Path, breaks: list[Break], fresh: bool = False) -> str:
    "Train a run through faults and resume it to its end; return what was lost, or an empty string"
    wanted, home = bench.reference(kind), bench.home(folder)
    resume = False
    for number, each in enumerate([*breaks, Break(), Break()]):
        last = number >= len(breaks)
        before = progress(folder)
        if last and fresh and resume:
            life = fresh_life(kind, folder, bench)
        else:
            life = live(lambda again=resume: kind.train(folder, again), home, each.fault, each.kill_after, each.kill_on)
        bench.n_kills += life.end == "killed"
        if not last:
            bench.ends[life.end] += 1
        if each.after:
            each.after(folder)
        if problem := wrong_end(life, each, folder, last, resume) or lost_work(life, each, folder, before):
            return problem
        kept = CHECKPOINT in wanted.files and life.ok
        if has_result(folder, wanted) and (kept or not (folder / CHECKPOINT).exists()):
            problem = difference(folder, wanted)
            return "" if life.end == "killed" and problem == "leaves .lock" else problem  # nothing comes after it
        if (folder / CHECKPOINT).exists():
            resume = True
        elif resume or each.is_late or not may_restart(life, folder, kind):
            return f"nothing to resume after {life} at step {logged_step(folder)}"
        elif not each.in_place:
            shutil.rmtree(folder, ignore_errors=True)
    return f"not finished after {number + 1} processes"


def may_restart(life: Life, folder: Path, kind: Kind) -> bool:
    "Tell whether a run without a checkpoint may begin again: it had no step, or was killed before its first checkpoint"
    if any(folder.rglob("*.safetensors")):
        return False
    every = kind.config(None).checkpoint_every or STEPS
    return logged_step(folder) <= (every if life.end == "killed" else -1)


def wrong_end(life: Life, each: Break, folder: Path, last: bool, resume: bool) -> str:
    "Return what is wrong with the way in which a process ended"
    if life.end == "hung":
        return "hangs"
    if last and not life.ok:
        return f"{'resuming' if resume else 'starting again'} fails: {life}"
    if each.ends and not life.is_a(*each.ends):
        return f"ends with {life} instead of {' or '.join(each.ends)}"
    if each.says and not life.ok and not re.search(each.says, life.message):
        return f"does not say {each.says!r}, but {life}"
    return ""


def progress(folder: Path) -> tuple[int, int]:
    "Return the steps of the checkpoint and of the metrics of a run"
    return checkpoint_step(folder / CHECKPOINT), logged_step(folder)


def lost_work(life: Life, each: Break, folder: Path, before: tuple[int, int]) -> str:
    "Return which steps a process lost that should have lost none"
    done, logged = progress(folder)
    if each.keeps_work and (folder / CHECKPOINT).exists() and done < logged and (done, logged) != before:
        return f"{life.end}: the checkpoint is of step {done}, the metrics of step {logged}"
    return ""


def has_result(folder: Path, wanted: Reference) -> bool:
    "Tell whether a run has saved all its SAEs"
    return all((folder / name).exists() for name, content in wanted.files.items() if content)


def fresh_life(kind: Kind, folder: Path, bench: Bench) -> Life:
    "Resume a run in a new interpreter; return how it ended"
    command = [sys.executable, str(Path(__file__).with_name("kill.py")), "--resume", kind.name, "--folder", str(folder)]
    done = subprocess.run([*command, "--data", str(bench.data)], capture_output=True, text=True, timeout=300)
    return Life("finished" if done.returncode == 0 else "failed", (done.stderr or done.stdout)[-500:])


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[bool]:
    "Mount a small file system in memory on a folder; give False where that is not possible"
    folder.mkdir(parents=True, exist_ok=True)
    mounted = mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder))
    try:
        yield mounted
    finally:
        if mounted:
            unmount(folder)


def mount(*arguments: str) -> bool:
    "Run `mount`; return whether it worked"
    return os.geteuid() == 0 and subprocess.run(["mount", *arguments], capture_output=True).returncode == 0


def unmount(folder: Path) -> None:
    "Detach what is mounted on a folder"
    subprocess.run(["umount", "-l", str(folder)], capture_output=True)


def memory_limit(extra: int) -> None:
    "Limit the address space of this process to what it has, and `extra` bytes"
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + extra, resource.RLIM_INFINITY))
