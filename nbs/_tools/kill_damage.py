"""More rows for `kill.py`: several processes in one folder, damaged files, divergence, other data, feature passes"""
from __future__ import annotations

import json
import math
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import kill_runs
import sae_nb.features
import sae_nb.training
from kill_faults import PREVIOUS, fail_at, late, row, trial_in
from kill_runs import (CHECKPOINT, METRICS, SETTINGS, STEPS, Bench, Break, Kind, Life, Trap, bare_model, checkpoint_step,
                       difference, live, raise_signal, start, survive, wait, words)
from sae_nb import SAE, TrainConfig, collect_features

REFUSED = ("ValueError", "OSError")


def interrupted(bench: Bench, kind: Kind) -> Path:
    "Return a copy of a run of a kind that was killed behind its third checkpoint"
    original = bench.folder / f"interrupted-{kind.name.replace(' ', '-')}" / "run"
    if not original.exists():
        original.parent.mkdir()
        call = bench.reference(kind).spans["checkpoint"][2][1] + 150
        live(lambda: kind.train(original, False), original.parent, Trap(call, raise_signal(signal.SIGKILL)).install)
    folder = bench.new_folder()
    shutil.copytree(original, folder)
    return folder


def resumed(bench: Bench, kind: Kind, folder: Path, **changed: Any) -> Life:
    "Resume a run in a new process"
    life = live(lambda: kind.train(folder, True, **changed), bench.home(folder))
    bench.ends[life.end] += 1
    return life


def together(jobs: list[Callable[[], Any]], home: Path) -> list[Life]:
    "Run jobs in processes that begin at the same moment"
    moment = time.monotonic() + 0.2
    def at_once(job: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: (time.sleep(max(moment - time.monotonic(), 0)), job())
    started = [start(at_once(job), home) for job in jobs]
    return [wait(*each) for each in started]


def one_wins(bench: Bench, kind: Kind, folder: Path, jobs: list[Callable[[], Any]]) -> str:
    "Run jobs in one folder at once; one must finish, the others must be refused, and the result must be right"
    lives = together(jobs, bench.home(folder))
    winners = sum(life.ok for life in lives)
    refused = [life for life in lives if not life.ok]
    if winners != 1 or not all(life.is_a(*REFUSED) for life in refused):
        return f"{kind.name}: {winners} of {len(lives)} runs finish, the others end with {', '.join(map(str, refused))}"
    return clean(bench, folder, difference(folder, bench.reference(kind)))


def clean(bench: Bench, folder: Path, problem: str) -> str:
    "Remove a run unless there is a problem; return the problem"
    if not problem:
        bench.remove(folder)
    return problem


# Several processes


@row("two starts in one folder")
def two_starts(bench: Bench, chosen: random.Random) -> str:
    kind, folder = bench.next_kind(), bench.new_folder()
    bench.reference(kind)
    delay = chosen.choice([0, chosen.uniform(0, 0.3)])
    return one_wins(bench, kind, folder, [lambda: kind.train(folder, False),
                                          lambda: (time.sleep(delay), kind.train(folder, False))])


@row("two resumes, or a resume and a start, in one folder")
def two_resumes(bench: Bench, chosen: random.Random) -> str:
    kind = bench.next_kind("checkpoint")
    folder, again = interrupted(bench, kind), chosen.random() < 0.7
    delay = chosen.choice([0, chosen.uniform(0, 0.3)])
    return one_wins(bench, kind, folder, [lambda: kind.train(folder, True),
                                          lambda: (time.sleep(delay), kind.train(folder, again))])


@row("two threads of one process in one folder", 0.5)
def two_threads(bench: Bench, chosen: random.Random) -> str:
    kind, folder = bench.next_kind(), bench.new_folder()
    ends: list[str] = []
    def attempt() -> None:
        try:
            kind.train(folder, False)
            ends.append("finished")
        except Exception as error:
            ends.append(type(error).__name__)
    def job() -> None:
        threads = [threading.Thread(target=attempt) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if ends.count("finished") != 1 or not {*ends} <= {"finished", "OSError", "FileExistsError", "BlockingIOError"}:
            raise RuntimeError(f"the threads end with {ends}")
    wanted = bench.reference(kind)
    life = live(job, folder.parent)
    return clean(bench, folder, str(life) if not life.ok else difference(folder, wanted))


@row("20 runs without a folder (out=None) at once", 0.1)
def no_folder(bench: Bench, chosen: random.Random) -> str:
    kind, folder = bench.kind("BatchTopK"), bench.new_folder()
    wanted = bench.reference(kind)
    lives = together([lambda: kind.train(None, False)] * 20, folder.parent)
    runs = sorted((folder.parent / "sae_nb_runs").iterdir())
    problems = [str(life) for life in lives if not life.ok] + [difference(run, wanted) for run in runs]
    if len(runs) != 20:
        problems.append(f"{len(runs)} folders")
    return clean(bench, folder, next(filter(None, problems), ""))


@row("folder copied while the run goes on, and the copy resumed")
def copied_folder(bench: Bench, chosen: random.Random) -> str:
    kind, folder = bench.next_kind("checkpoint"), bench.new_folder()
    wanted, copy = bench.reference(kind), folder.parent / "copy"
    call = late(bench, kind, chosen, ("step", "between"))
    life = live(lambda: kind.train(folder, False), folder.parent,
                Trap(call, lambda: shutil.copytree(folder, copy)).install)
    if not copy.exists():  # the run ended before the call
        return copied_folder(bench, chosen)
    problem = str(life) if not life.ok else difference(folder, wanted)
    if not problem:
        finished = not (copy / CHECKPOINT).exists()  # it was copied after the final save
        life = Life("finished") if finished else live(lambda: kind.train(copy, True), folder.parent)
        problem = difference(copy, wanted) if life.ok else f"the copy: {life}"
        problem = "" if finished and problem == "leaves .lock" else problem
    return clean(bench, folder, problem and f"{kind.name}: {problem}")


# Damaged files


def files_of(folder: Path) -> dict[str, bytes]:
    "Return the files of a run, without those of dead processes: a lock and temporary files, which may be removed"
    return {path.name: path.read_bytes() for path in folder.iterdir()
            if path.is_file() and path.name != ".lock" and not path.name.startswith(".sae_nb-")}


def refused_or_right(bench: Bench, kind: Kind, folder: Path, name: str, says: tuple[str, ...]) -> str:
    "Resume a run with a damaged file: it must be refused in plain words, changing nothing, or give the right result"
    before = files_of(folder)
    life = resumed(bench, kind, folder)
    if life.ok:
        return difference(folder, bench.reference(kind))
    if not life.is_a(*REFUSED) or not all(word in life.message for word in says):
        return f"{name}: ends with {life}"
    after = files_of(folder)
    if changed := [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]:
        return f"{name}: refused, but {', '.join(changed)} changed"
    if name != CHECKPOINT or not (folder / PREVIOUS).exists():
        return ""
    os.replace(folder / PREVIOUS, folder / CHECKPOINT)  # as the message says
    life = resumed(bench, kind, folder)
    return difference(folder, bench.reference(kind)) if life.ok else f"the checkpoint before it: {life}"


@row("a flipped bit in the checkpoint", 20)
def flipped_bit(bench: Bench, chosen: random.Random) -> str:
    kind = bench.next_kind("checkpoint")
    folder = interrupted(bench, kind)
    path = folder / CHECKPOINT
    data = bytearray(path.read_bytes())
    at = chosen.randrange(len(data))
    data[at] ^= 1 << chosen.randrange(8)
    path.write_bytes(data)
    problem = refused_or_right(bench, kind, folder, CHECKPOINT, (CHECKPOINT, PREVIOUS))
    return clean(bench, folder, problem and f"{kind.name}, byte {at} of {len(data)}: {problem}")


def pickled_code(path: Path, canary: Path) -> None:
    "Write a pickle that creates a file when it is loaded"
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {canary}",)
    torch.save({"format": "sae_nb checkpoint", "trainer": Evil()}, path)


def damage(path: Path, how: str, chosen: random.Random, other: Path) -> None:
    "Change a file so that it cannot be used"
    data = path.read_bytes()
    at = chosen.randrange(len(data))
    if how == "cut off":
        path.write_bytes(data[:at])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "zeros":
        path.write_bytes(data[:at] + bytes(len(data[at:at + 4096])) + data[at + 4096:])
    elif how == "longer":
        path.write_bytes(data + data[:at])
    elif how == "text":
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:123\nsize 1\n")
    elif how == "pickle":
        pickled_code(path, path.with_name("canary"))
    elif how == "other":
        shutil.copyfile(other, path)
    elif how == "tensors":
        torch.save({"trainer": torch.zeros(3), "store": [1, 2]}, path)
    elif how == "folder":
        path.unlink()
        path.mkdir()


def other_run(bench: Bench, kind: Kind, seed: int) -> Path:
    "Return the checkpoint of an interrupted run with another seed"
    other = Kind(f"{kind.name}, seed {seed}", {**kind.settings, "seed": seed}, kind.dataset, kind.model, kind.mask)
    return interrupted(bench, bench.share(other, kind)) / CHECKPOINT


@row("a checkpoint cut off, empty, of another run, text, a pickle with code", 3)
def damaged_checkpoint(bench: Bench, chosen: random.Random) -> str:
    kind = bench.next_kind("checkpoint")
    how = chosen.choice(["cut off", "cut off", "empty", "zeros", "longer", "text", "pickle", "other", "tensors",
                         "folder"])
    folder = interrupted(bench, kind)
    other = other_run(bench, kind, 1) if how == "other" else Path()
    damage(folder / CHECKPOINT, how, chosen, other)
    if how == "folder":
        life = resumed(bench, kind, folder)
        problem = "" if life.is_a(*REFUSED) and CHECKPOINT in life.message else str(life)
    else:
        says = () if how == "other" else (CHECKPOINT, PREVIOUS)
        problem = refused_or_right(bench, kind, folder, CHECKPOINT, says)
    if (folder / "canary").exists():
        problem = "code in the checkpoint was run"
    return clean(bench, folder, problem and f"{kind.name}, {how}: {problem}")


@row("checkpoint deleted, the one before it left")
def checkpoint_gone(bench: Bench, chosen: random.Random) -> str:
    kind = bench.next_kind("checkpoint")
    folder = interrupted(bench, kind)
    (folder / CHECKPOINT).unlink()
    life = resumed(bench, kind, folder)
    if not life.ok and PREVIOUS in life.message:
        os.replace(folder / PREVIOUS, folder / CHECKPOINT)
        life = resumed(bench, kind, folder)
    return clean(bench, folder, f"{kind.name}: {life}" if not life.ok else difference(folder, bench.reference(kind)))


@row("train_config.json cut off, empty, deleted or of another run")
def damaged_settings(bench: Bench, chosen: random.Random) -> str:
    kind = bench.next_kind("checkpoint")
    folder, how = interrupted(bench, kind), chosen.choice(["cut off", "empty", "text", "deleted", "other"])
    path = folder / SETTINGS
    original = path.read_text()
    if how == "deleted":
        path.unlink()
    elif how == "other":
        path.write_text(json.dumps({**json.loads(original), "seed": 5}))
    else:
        damage(path, how, chosen, Path())
    life = resumed(bench, kind, folder)
    if life.ok or not life.is_a(*REFUSED) or folder.name not in life.message:
        return f"{kind.name}, {how}: {life}"
    path.write_text(original)
    life = resumed(bench, kind, folder)
    return clean(bench, folder, f"{kind.name}, {how}: then {life}" if not life.ok else
                 difference(folder, bench.reference(kind)))


@row("metrics.jsonl with a torn row, zeros or later rows at its end")
def damaged_metrics(bench: Bench, chosen: random.Random) -> str:
    kind = bench.next_kind("checkpoint")
    folder, how = interrupted(bench, kind), chosen.choice(["torn", "zeros", "later", "no newline", "binary"])
    ends = {"torn": b'{"step": 16, "losses/ov', "zeros": bytes(700), "later": b'{"step": 20}\n{"step": 22}\n',
            "no newline": b'{"step": 18, "metrics/l0": 3.0}', "binary": bytes([0xff, 0xfe, 10, 0x80, 10])}
    with open(folder / METRICS, "ab") as file:
        file.write(ends[how])
    life = resumed(bench, kind, folder)
    problem = str(life) if not life.ok else difference(folder, bench.reference(kind))
    return clean(bench, folder, problem and f"{kind.name}, {how}: {problem}")


# Divergence


def not_finite(folder: Path) -> str:
    "Return the name of a tensor in a checkpoint of a run that is not finite, or an empty string"
    for name in (CHECKPOINT, PREVIOUS):
        if (folder / name).exists():
            content = torch.load(folder / name, map_location="cpu", weights_only=True)
            if bad := first_bad(content, name):
                return bad
    return ""


def first_bad(value: Any, name: str) -> str:
    "Return the name of the first number in nested containers that is NaN"
    if isinstance(value, torch.Tensor):
        finite = not value.is_floating_point() or bool(value.isfinite().all())
        return "" if finite else name
    if isinstance(value, float) and math.isnan(value):
        return name
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    return next((bad for key, part in items if (bad := first_bad(part, f"{name}: {key}"))), "")


@row("divergence (lr=1e36): stops, and checkpoints stay finite")
def diverging(bench: Bench, chosen: random.Random) -> str:
    base, folder = bench.next_kind("checkpoint"), bench.new_folder()
    settings = {"lr": 1e36, "checkpoint_every": chosen.randint(1, 4), "log_every": chosen.choice([1, 10, 100])}
    kind = Kind(base.name, {**base.settings, **settings}, base.dataset, base.model, base.mask)
    life = live(lambda: kind.train(folder, False), folder.parent)
    problem = "" if life.is_a("ValueError") else f"ends with {life}"
    if folder.exists():
        problem = problem or not_finite(folder)
        if weights := list(folder.rglob("*.safetensors")):
            problem = problem or f"{weights[0].name} was saved"
    return clean(bench, folder, problem and f"{kind.name}, {settings}: {problem}")


@row("NaN in the activations, or in the loss of one step")
def nan_batch(bench: Bench, chosen: random.Random) -> str:
    at = chosen.randint(2, STEPS)
    if chosen.random() < 0.5:
        kind = bench.kind("model and mask as objects")
        def fault() -> None:
            poison(kill_runs, "in_forward_pass", at, 0)
    else:
        kind = bench.next_kind("checkpoint")
        def fault() -> None:
            poison(sae_nb.training.SAETraining, "step", at, 1)
    folder = bench.new_folder()
    checked: list[str] = []
    each = Break(fault, in_place=True, ends=("ValueError",),
                 after=lambda path: checked.append(not_finite(path)))
    problem = survive(bench, kind, folder, [each]) or "".join(checked)
    return clean(bench, folder, problem and f"{kind.name}, call {at}: {problem}")


def poison(owner: Any, name: str, at: int, position: int) -> None:
    "Make an argument of the `at`-th call of a function NaN"
    original, count = getattr(owner, name), 0
    def spoilt(*args: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count == at:
            bad = args[position]
            first = bad[0] if isinstance(bad, tuple) else bad
            args = (*args[:position], (first * math.nan, *bad[1:]) if isinstance(bad, tuple) else bad * math.nan,
                    *args[position + 1:])
        return original(*args, **options)
    setattr(owner, name, spoilt)


# Other data, longer runs, feature passes


@row("resumed on other data: refused, unless allowed")
def other_data(bench: Bench, chosen: random.Random) -> str:
    kind = bench.kind(chosen.choice(["12 texts, several epochs", "stream of 20 rows, several epochs",
                                     "IterableDataset", "shuffled stream of two files"]))
    folder = interrupted(bench, kind)
    changed = Kind(kind.name, kind.settings, lambda: [words(170, 50 + n) for n in range(12)], kind.model, kind.mask)
    life = resumed(bench, changed, folder)
    if not life.is_a("ValueError"):
        return f"{kind.name}: {life}"
    life = resumed(bench, kind, folder)
    return clean(bench, folder, f"{kind.name}: then {life}" if not life.ok else
                 difference(folder, bench.reference(kind)))


@row("file of texts replaced: refused")
def replaced_file(bench: Bench, chosen: random.Random) -> str:
    data = bench.folder / f"replaced-{chosen.random()}.jsonl"
    lines = (bench.data / "part0.jsonl").read_text().splitlines()
    data.write_text("\n".join(lines) + "\n")
    kind = Kind(f"file {data.name}", {"dataset": str(data)})
    folder = interrupted(bench, kind)
    other = chosen.choice([lines[:100], lines[::-1], [*lines[:-1], lines[0]], [lines[0].upper(), *lines[1:]]])
    data.write_text("\n".join(other) + "\n")
    life = resumed(bench, kind, folder)
    return clean(bench, folder, "" if life.is_a("ValueError") else f"{len(other)} of {len(lines)} lines: {life}")


class Longer(Kind):
    "A run that is trained for half of its steps, kept, and then for all"

    def train(self, out: Path | str | None, resume: bool, **changed: Any) -> None:
        half = (STEPS // 2) * 256
        if not resume:
            Kind.train(self, out, False)
        elif checkpoint_step(Path(str(out)) / CHECKPOINT) < STEPS // 2:
            Kind.train(self, out, True, **changed)
        if json.loads((Path(str(out)) / SETTINGS).read_text())["tokens"] == half:
            Kind.train(self, out, True, tokens=half * 2, **changed)
        elif resume:
            Kind.train(self, out, True, **changed)

    def config(self, out: Path | str | None) -> TrainConfig:
        cfg = Kind.config(self, out)
        cfg.tokens = cfg.tokens // 2
        cfg.keep_checkpoint = True
        return cfg


@row("kill -9 of a finished run that is trained for longer")
def killed_longer(bench: Bench, chosen: random.Random) -> str:
    base = bench.next_kind("checkpoint")
    kind = Longer(f"{base.name}, in two parts", base.settings, base.dataset, base.model, base.mask)
    return trial_in(bench, kind, [Break(kill_after=chosen.uniform(0.2, 1) * bench.reference(kind).seconds)])


def new_pass(bench: Bench, out: Path, resume: bool) -> None:
    "Collect features of the demo SAE"
    sae = SAE.load_from_disk(bench.folder / "interrupted-features" / "run")
    texts = [words(160, n) for n in range(60)]
    collect_features(sae, bare_model(), texts, n_tokens=9000, out=out, resume=resume, save_every=0.0, batch_size=4)


def prepared_pass(bench: Bench) -> tuple[float, bytes]:
    "Return how long a pass takes, and the file that it writes"
    home = bench.folder / "interrupted-features"
    if not home.exists():
        home.mkdir()
        kind = bench.kind("BatchTopK")
        live(lambda: kind.train(home / "run", False), home)
        begun = time.monotonic()
        life = live(lambda: new_pass(bench, home / "features.safetensors", False), home)
        if not life.ok:
            raise RuntimeError(f"the unbroken pass fails: {life}")
        (home / "seconds").write_text(str(time.monotonic() - begun))
    return float((home / "seconds").read_text()), (home / "features.safetensors").read_bytes()


@row("kill -9 in a pass that collects features", 2)
def killed_pass(bench: Bench, chosen: random.Random) -> str:
    seconds, wanted = prepared_pass(bench)
    home = bench.new_folder().parent
    out, life = home / "pass" / "features.safetensors", Life("")
    out.parent.mkdir()
    for delay in [chosen.uniform(0.1, 1) * seconds for _ in range(3)] + [None]:
        life = live(lambda: new_pass(bench, out, True), home, None, delay)
        bench.n_kills += life.end == "killed"
    names = sorted(path.name for path in out.parent.iterdir())
    problem = str(life) if not life.ok else "differs" if out.read_bytes() != wanted else ""
    problem = problem or ("" if names == [out.name] else f"leaves {names}")
    return clean(bench, home / "run", problem)


@row("a flipped bit in an unfinished pass that collects features", 2)
def flipped_pass(bench: Bench, chosen: random.Random) -> str:
    seconds, wanted = prepared_pass(bench)
    home = bench.new_folder().parent
    out, part = home / "pass" / "features.safetensors", home / "pass" / "features.safetensors.part"
    out.parent.mkdir()
    def fault() -> None:
        fail_at(sae_nb.features._Pass, "add", 10, KeyboardInterrupt())
    live(lambda: new_pass(bench, out, False), home, fault)
    if not part.exists():
        return f"no {part.name} after an interrupt"
    data = bytearray(part.read_bytes())
    at = chosen.randrange(len(data))
    data[at] ^= 1 << chosen.randrange(8)
    part.write_bytes(data)
    life = live(lambda: new_pass(bench, out, True), home)
    if life.ok:
        return clean(bench, home / "run", "" if out.read_bytes() == wanted else f"byte {at} of {len(data)}: differs")
    return clean(bench, home / "run", "" if life.is_a("ValueError") and part.name in life.message else str(life))
