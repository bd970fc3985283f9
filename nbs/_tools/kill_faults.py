"""The faults that `kill.py` tries: one function per row of its table, which makes one trial and returns what was lost"""
from __future__ import annotations

import asyncio
import errno
import json
import os
import random
import resource
import shutil
import signal
import sys
import types
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import kill_runs
import sae_nb.track
import sae_nb.training
from kill_runs import (CHECKPOINT, METRICS, SETTINGS, STEPS, Bench, Break, Fault, Kind, Trap, difference, live,
                       memory_limit, mount, raise_signal, small_disk, survive, throw, unmount, words)
from sae_nb import TrainConfig

PREVIOUS = "checkpoint.previous.pt"
PARTS = ("start", "buffer fill", "step", "between", "checkpoint", "final save")

Trial = Callable[[Bench, random.Random], str]


@dataclass
class Row:
    "A row of the table"

    name: str
    trial: Trial
    share: float  # Number of trials, as a multiple of --trials; 0: as many as --kills says


ROWS: list[Row] = []


def row(name: str, share: float = 1.0) -> Callable[[Trial], Trial]:
    "Add a trial to the table"
    def add(trial: Trial) -> Trial:
        ROWS.append(Row(name, trial, share))
        return trial
    return add


def trial_in(bench: Bench, kind: Kind, breaks: list[Break], fresh: bool = False) -> str:
    "Break a run in a new folder and return what was lost, with the kind of run"
    folder = bench.new_folder()
    problem = survive(bench, kind, folder, breaks, fresh)
    if problem:
        return f"{kind.name}: {problem}"
    bench.remove(folder)
    return ""


def trap(bench: Bench, kind: Kind, chosen: random.Random, part: str, act: Callable[[], None], again: int = 0) -> Fault:
    "Return a fault that acts at a random call in a part of the run"
    return Trap(bench.reference(kind).call(chosen, part), act, again or None).install


def late(bench: Bench, kind: Kind, chosen: random.Random, parts: tuple[str, ...]) -> int:
    "Return a random call in some parts of the run, after its first checkpoint"
    reference = bench.reference(kind)
    first = reference.spans["checkpoint"][0][1]
    spans = [span for part in parts for span in reference.spans[part] if span[0] > first]
    return chosen.randrange(*spans[chosen.randrange(len(spans))])


# kill -9


def killed(bench: Bench, kind: Kind, chosen: random.Random, part: str | None) -> Break:
    "Return a kill at a random time, or shortly after a random call in a part of the run"
    reference = bench.reference(kind)
    if part is None:
        return Break(kill_after=chosen.uniform(0.1, 1.0) * reference.seconds)
    read, write = os.pipe()
    delay = chosen.choice([0.0, chosen.uniform(0, 0.01), chosen.uniform(0, 0.05)])
    return Break(trap(bench, kind, chosen, part, lambda: os.write(write, b".")), delay, read)


@row("kill -9 at a random time", 0)
def kill_anywhere(bench: Bench, chosen: random.Random) -> str:
    kind = bench.next_kind()
    breaks = [killed(bench, kind, chosen, None) for _ in range(chosen.randint(1, 3))]
    return trial_in(bench, kind, breaks, chosen.random() < 0.1)


@row("kill -9 while a checkpoint is written", 0)
def kill_in_checkpoint(bench: Bench, chosen: random.Random) -> str:
    kind = bench.next_kind("checkpoint")
    breaks = [killed(bench, kind, chosen, "checkpoint") for _ in range(chosen.randint(1, 3))]
    return trial_in(bench, kind, breaks, chosen.random() < 0.1)


@row("kill -9 in the final save", 0)
def kill_in_save(bench: Bench, chosen: random.Random) -> str:
    kind = bench.next_kind("final save")
    return trial_in(bench, kind, [killed(bench, kind, chosen, "final save")], chosen.random() < 0.1)


@row("other deadly signals (SIGQUIT, SIGUSR1, SIGXCPU, SIGALRM)")
def deadly_signal(bench: Bench, chosen: random.Random) -> str:
    kind = bench.next_kind("checkpoint")
    number = chosen.choice([signal.SIGQUIT, signal.SIGUSR1, signal.SIGXCPU, signal.SIGALRM])
    return trial_in(bench, kind, [Break(trap(bench, kind, chosen, chosen.choice(PARTS), raise_signal(number)))])


@row("power failure: what was not flushed is lost")
def power_failure(bench: Bench, chosen: random.Random) -> str:
    kind = bench.next_kind("checkpoint")
    cut = killed(bench, kind, chosen, chosen.choice([None, "step", "checkpoint", "final save"]))
    journal = bench.folder / f"flushed-{chosen.random()}"
    def fault() -> None:
        record_flushes(journal)
        if cut.fault:
            cut.fault()
    return trial_in(bench, kind, [replace(cut, fault=fault, after=lambda folder: lose_unflushed(folder, journal))])


def record_flushes(journal: Path) -> None:
    "Write the size that each file has when it is flushed to a file"
    flush, file = os.fsync, os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    def fsync(number: Any) -> None:
        flush(number)
        found = os.fstat(number if isinstance(number, int) else number.fileno())
        os.write(file, f"{found.st_ino} {found.st_size}\n".encode())
    os.fsync = fsync


def lose_unflushed(folder: Path, journal: Path) -> None:
    "Cut the files of a run back to what was flushed"
    lines = journal.read_text().splitlines() if journal.exists() else []
    sizes = {int(inode): int(size) for inode, size in (line.split() for line in lines)}
    for path in folder.rglob("*") if folder.exists() else ():
        size = sizes.get(path.stat().st_ino, 0)
        if path.is_file() and path.stat().st_size > size:
            os.truncate(path, size)


# Signals


def signalled(number: int, again: bool = False) -> Trial:
    "Return a trial with a signal at a random call in a random part of the run"
    def trial(bench: Bench, chosen: random.Random) -> str:
        part = chosen.choice([*PARTS, "estimate"])
        kind = bench.next_kind(part)
        second = chosen.choice([1, 10, 100, 1000]) if again else 0
        fault = trap(bench, kind, chosen, part, raise_signal(number), second)
        problem = trial_in(bench, kind, [Break(fault, keeps_work=True, in_place=True)])
        return problem and f"in {part}{f', again after {second} calls' if again else ''}: {problem}"
    return trial


row("SIGTERM", 2)(signalled(signal.SIGTERM))
row("SIGHUP", 2)(signalled(signal.SIGHUP))
row("Ctrl-C once", 2)(signalled(signal.SIGINT))
row("Ctrl-C twice", 2)(signalled(signal.SIGINT, again=True))


@row("SIGHUP or SIGTERM when the terminal is gone")
def terminal_gone(bench: Bench, chosen: random.Random) -> str:
    part, number = chosen.choice(["buffer fill", "step", "final save"]), chosen.choice([signal.SIGHUP, signal.SIGTERM])
    kind = bench.next_kind("estimate")
    set_trap = trap(bench, kind, chosen, part, lambda: (break_output(), os.kill(os.getpid(), number)))
    return trial_in(bench, kind, [Break(set_trap, keeps_work=True, in_place=True)])


def break_output() -> None:
    "Make each write to the terminal fail"
    reader, writer = os.pipe()
    os.close(reader)
    for stream in (1, 2):
        os.dup2(writer, stream)


@row("output to a closed pipe or a full disk")
def no_output(bench: Bench, chosen: random.Random) -> str:
    kind = bench.kind("default checkpoints, progress bar")
    def fill() -> None:
        number = os.open("/dev/full", os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(number, stream)
    act = chosen.choice([fill, break_output])
    part = chosen.choice(["estimate", "buffer fill", "step", "final save"])
    problem = trial_in(bench, kind, [Break(trap(bench, kind, chosen, part, act), ends=("finished",))])
    return problem and f"{act.__name__} in {part}: {problem}"


# Exceptions

BAD_NEWS = (ConnectionError("lost"), RuntimeError("broken"), OSError(5, "bad"), KeyError("key"), ValueError("bad value"))


def fake_wandb(fails_in: str, error: Exception, at: int) -> Fault:
    "Put a module in the place of wandb, one function of which fails"
    counts = {"init": 1 if fails_in != "init" else 0}
    def call(name: str) -> None:
        counts[name] = counts.get(name, 0) + 1
        if name == fails_in and counts[name] >= (at if name == "log" else 1):
            raise error
    class FakeRun:
        id = name = "abc"
        summary = types.SimpleNamespace(update=lambda *_, **__: call("summarize"))
        def log(self, *_: Any, **__: Any) -> None:
            call("log")
        def finish(self, *_: Any, **__: Any) -> None:
            call("close")
    def init(**_: Any) -> FakeRun:
        call("init")
        return FakeRun()
    def install() -> None:
        module: Any = types.ModuleType("wandb")
        module.init, module.util = init, types.SimpleNamespace(generate_id=lambda: "abc")
        sys.modules["wandb"] = module
    return install


@row("exception in wandb (init, log, summarize, close)", 2)
def failing_wandb(bench: Bench, chosen: random.Random) -> str:
    base, where = bench.next_kind("checkpoint"), chosen.choice(["init", "log", "summarize", "close"])
    settings = {**base.settings, "wandb_project": "kill"}
    make = Summarized if where == "summarize" else Kind
    kind = bench.share(make(f"{base.name}, wandb", settings, base.dataset, base.model, base.mask), base,
                       ("wandb_run.json",))
    fault = fake_wandb(where, chosen.choice(BAD_NEWS), chosen.randint(1, 10))
    problem = trial_in(bench, kind, [Break(fault, ends=("finished",))])
    return problem and f"{where}: {problem}"


class Summarized(Kind):
    "A run that gives numbers of an evaluation to its trackers"

    def train(self, out: Path | str | None, resume: bool, **changed: Any) -> None:
        from sae_nb.run import start_run

        own = {**changed, **({"mask": self.mask} if self.mask else {})}
        cfg = TrainConfig.from_run(str(out), **own) if resume else self.config(out)
        run = start_run(cfg, self.model and self.model(), self.dataset and self.dataset())
        for name in run.saes:
            run.summarize(name, {"loss": 1.0})
        run.close()


@row("exception in the progress bar (log, close)")
def failing_bar(bench: Bench, chosen: random.Random) -> str:
    kind = bench.kind("default checkpoints, progress bar")
    method, error = chosen.choice(["log", "close"]), chosen.choice(BAD_NEWS)
    at = chosen.randint(1, 10) if method == "log" else 1
    def fault() -> None:
        fail_at(sae_nb.track.Progress, method, at, error)
    problem = trial_in(bench, kind, [Break(fault, ends=("finished",))])
    return problem and f"{method} with {type(error).__name__}: {problem}"


@row("the metrics file cannot be written any more")
def failing_metrics(bench: Bench, chosen: random.Random) -> str:
    kind = bench.next_kind("checkpoint")
    def act() -> None:
        full = os.open("/dev/full", os.O_WRONLY)
        for number in map(int, os.listdir("/proc/self/fd")):
            with suppress(OSError):
                if os.readlink(f"/proc/self/fd/{number}").endswith(METRICS):
                    os.dup2(full, number)
    call = late(bench, kind, chosen, ("step", "between", "checkpoint"))
    return trial_in(bench, kind, [Break(Trap(call, act).install, keeps_work=True, is_late=True)])


def fail_at(owner: Any, method: str, at: int, error: BaseException) -> None:
    "Make the `at`-th call of a method raise an exception"
    original, count = getattr(owner, method), 0
    def failing(*args: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count == at:
            raise error
        return original(*args, **options)
    setattr(owner, method, failing)


def failing_rows(path: str, flag: str) -> Any:
    "Yield the rows of a file; raise ConnectionError after some of them while `flag` exists"
    with open(path) as file:
        for number, line in enumerate(file):
            if os.path.exists(flag) and number == int(Path(flag).read_text()):
                raise ConnectionError("the data set cannot be reached")
            yield json.loads(line)


@row("exception in the stream of texts")
def failing_stream(bench: Bench, chosen: random.Random) -> str:
    flag, path = bench.folder / "stream-fails", bench.folder / "many-texts.jsonl"
    if not path.exists():  # texts so short that a second block of 1,024 is read in mid-run
        path.write_text("".join(json.dumps({"text": words(2, n)}) + "\n" for n in range(4000)))
    def dataset() -> Any:
        from datasets import IterableDataset

        names = {"path": str(path), "flag": str(flag)}
        return IterableDataset.from_generator(failing_rows, gen_kwargs=names)
    kind = Kind("stream that fails", {}, dataset)
    flag.unlink(missing_ok=True)
    bench.reference(kind)
    flag.write_text(str(chosen.randint(0, 2047)))
    each = Break(keeps_work=True, in_place=True, says="cannot be reached", after=lambda _: flag.unlink())
    return trial_in(bench, kind, [each])


@row("exception in the model's forward pass or in a function of the user (the mask)")
def failing_model(bench: Bench, chosen: random.Random) -> str:
    kind = bench.kind("model and mask as objects")
    error, at = chosen.choice([*BAD_NEWS, torch.OutOfMemoryError("CUDA out of memory")]), chosen.randint(2, 28)
    where = chosen.choice(["in_forward_pass", "in_mask"])
    each = Break(lambda: fail_at(kill_runs, where, at, error), keeps_work=True, in_place=True)
    problem = trial_in(bench, kind, [each])
    return problem and f"{where} with {type(error).__name__}: {problem}"


def thrown(errors: tuple[BaseException, ...], parts: tuple[str, ...]) -> Trial:
    "Return a trial with an exception at a random call"
    def trial(bench: Bench, chosen: random.Random) -> str:
        part, error = chosen.choice(parts), chosen.choice(errors)
        kind = bench.next_kind(part)
        each = Break(trap(bench, kind, chosen, part, throw(error)), keeps_work=True, in_place=True)
        problem = trial_in(bench, kind, [each])
        return problem and f"{type(error).__name__} in {part}: {problem}"
    return trial


NO_MEMORY = (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), MemoryError())
row("out of memory at a random call of a step", 2)(thrown(NO_MEMORY, ("step",)))
row("MemoryError at a random call anywhere", 2)(thrown((MemoryError(),), (*PARTS, "estimate")))
row("SystemExit, GeneratorExit or CancelledError")(
    thrown((SystemExit(1), GeneratorExit(), asyncio.CancelledError()), ("buffer fill", "step", "between", "final save")))


@row("several SAEs: an exception in the step of one of them")
def failing_sae(bench: Bench, chosen: random.Random) -> str:
    kind, at = bench.kind("three SAEs, two hook points"), chosen.randint(4, 3 * STEPS)
    error = chosen.choice([*BAD_NEWS, *NO_MEMORY])
    def fault() -> None:
        fail_at(sae_nb.training.SAETraining, "step", at, error)
    problem = trial_in(bench, kind, [Break(fault, keeps_work=True, in_place=True)])
    return problem and f"SAE {at % 3 or 3} of 3, step {(at + 2) // 3}: {problem}"


@row("address space exhausted (RLIMIT_AS)")
def no_memory(bench: Bench, chosen: random.Random) -> str:
    kind, extra = bench.next_kind("checkpoint"), chosen.choice([0, -1 << 22, -1 << 26, -1 << 30])
    at = late(bench, kind, chosen, ("step", "buffer fill", "between"))
    return trial_in(bench, kind, [Break(Trap(at, lambda: memory_limit(extra)).install, is_late=True)])


# Disks


@row("full disk at a random moment (a small tmpfs)", 2)
def full_disk(bench: Bench, chosen: random.Random) -> str:
    kind, part = bench.next_kind("checkpoint"), chosen.choice(["step", "between", "checkpoint", "final save"])
    folder = bench.new_folder()
    disk, left = folder.parent / "disk", chosen.choice([0, 100, 4096, 10 ** 5, 10 ** 6, 3 * 10 ** 6])
    with small_disk(disk, 48) as mounted:
        if not mounted:
            return full_by_limit(bench, chosen)
        call = late(bench, kind, chosen, (part,)) if part != "final save" else bench.reference(kind).call(chosen, part)
        # Only free space is taken, so the files of the run stay
        each = Break(Trap(call, lambda: fill(disk, left)).install, says="disk|space|No space left", is_late=True,
                     after=lambda _: (disk / "filler").unlink(missing_ok=True))
        problem = survive(bench, kind, disk / "run", [each])
    bench.remove(folder)
    return problem and f"{kind.name}, {left} bytes left in {part}: {problem}"


def fill(disk: Path, left: int) -> None:
    "Fill a disk but for some bytes"
    with open(disk / "filler", "wb", buffering=0) as file, suppress(OSError):
        while file.write(b"\1" * 65536) == 65536:
            pass
    os.truncate(disk / "filler", max(os.path.getsize(disk / "filler") - left, 0))


@row("files cannot grow (RLIMIT_FSIZE)")
def full_by_limit(bench: Bench, chosen: random.Random) -> str:
    kind, size = bench.next_kind("checkpoint"), chosen.choice([2000, 10 ** 5, 10 ** 6])
    at = late(bench, kind, chosen, ("step", "between"))
    each = Break(Trap(at, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))).install, is_late=True)
    return trial_in(bench, kind, [each])


@row("fsync fails, or no file descriptors are left")
def disk_errors(bench: Bench, chosen: random.Random) -> str:
    kind, at = bench.next_kind("checkpoint"), chosen.choice(["fsync", "files"])
    call = late(bench, kind, chosen, ("step", "between", "checkpoint"))
    def no_flush(number: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")
    def act() -> None:
        if at == "fsync":
            os.fsync = no_flush
        else:
            open_files = len(os.listdir("/proc/self/fd"))
            resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))
    problem = trial_in(bench, kind, [Break(Trap(call, act).install, is_late=True)])
    return problem and f"{at}: {problem}"


@row("folder becomes read-only")
def read_only(bench: Bench, chosen: random.Random) -> str:
    kind, folder = bench.next_kind("checkpoint"), bench.new_folder()
    call, path = late(bench, kind, chosen, ("step", "between", "checkpoint")), str(folder)
    with small_disk(folder.parent / "probe", 1) as mounted:
        if not mounted:
            return "cannot be tried here: needs root"
    def act() -> None:
        mount("--bind", path, path)
        mount("-o", "remount,bind,ro", path)
    problem = survive(bench, kind, folder, [Break(Trap(call, act).install, after=unmount, is_late=True)])
    bench.remove(folder)
    return problem and f"{kind.name}: {problem}"


@row("folder deleted: the SAE or a checkpoint must still be saved")
def folder_deleted(bench: Bench, chosen: random.Random) -> str:
    kind, folder = bench.next_kind("checkpoint"), bench.new_folder()
    call = late(bench, kind, chosen, ("step", "between", "checkpoint"))
    def act() -> None:
        shutil.rmtree(folder)
    problem = survive(bench, kind, folder, [Break(Trap(call, act).install, is_late=True)])
    if METRICS in problem or SETTINGS in problem:  # they were deleted, which the run cannot undo
        problem = ""
    bench.remove(folder)
    return problem and f"{kind.name}: {problem}"


@row("a file of the run deleted")
def file_deleted(bench: Bench, chosen: random.Random) -> str:
    kind, folder = bench.next_kind("checkpoint"), bench.new_folder()
    call, name = late(bench, kind, chosen, ("step", "between")), chosen.choice([CHECKPOINT, PREVIOUS, SETTINGS, ".lock"])
    def act() -> None:
        (folder / name).unlink(missing_ok=True)
    problem = survive(bench, kind, folder, [Break(Trap(call, act).install, ends=("finished",), is_late=True)])
    bench.remove(folder)
    return problem and f"{kind.name}, {name}: {problem}" if problem != f"{SETTINGS} is missing" else ""


@row("the process changes its working folder (relative out)")
def other_folder(bench: Bench, chosen: random.Random) -> str:
    kind, folder = bench.next_kind("checkpoint"), bench.new_folder()
    call = late(bench, kind, chosen, ("step", "between"))
    life = live(lambda: kind.train("run", False), folder.parent, Trap(call, lambda: os.chdir("/tmp")).install)
    problem = str(life) if not life.ok else difference(folder, bench.reference(kind))
    bench.remove(folder)
    return problem and f"{kind.name}: {problem}"


# Several faults


def any_fault(bench: Bench, kind: Kind, chosen: random.Random, part: str) -> Break:
    "Return a fault of a random kind at a random call in a part of the run"
    how = chosen.choice(["kill", "signal", "signals", "exception"])
    if how == "kill":
        return killed(bench, kind, chosen, part)
    if how == "exception":
        act = throw(chosen.choice([*NO_MEMORY, *BAD_NEWS, SystemExit(1)]))
    else:
        act = raise_signal(chosen.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP]))
    again = chosen.choice([1, 30, 300]) if how == "signals" else 0
    return Break(trap(bench, kind, chosen, part, act, again), keeps_work=how != "signals", in_place=True)


@row("several faults, one in each process that resumes the run", 3)
def several_faults(bench: Bench, chosen: random.Random) -> str:
    kind = bench.next_kind("checkpoint")
    parts = ("start", "buffer fill", "step", "between", "checkpoint", "final save")
    breaks = [any_fault(bench, kind, chosen, chosen.choice(parts)) for _ in range(4)]
    return trial_in(bench, kind, [replace(each, in_place=False) for each in breaks])


@row("a fault while a checkpoint is being loaded", 2)
def fault_in_loading(bench: Bench, chosen: random.Random) -> str:
    kind = bench.next_kind("checkpoint")
    reference = bench.reference(kind)
    at = chosen.randint(1, reference.spans["start"][0][1])  # a resumed run begins in the same way
    first = Break(Trap(late(bench, kind, chosen, ("step",)), raise_signal(signal.SIGKILL)).install, is_late=True)
    how = chosen.choice(["kill", "signal", "exception"])
    act = {"kill": raise_signal(signal.SIGKILL), "exception": throw(chosen.choice([*NO_MEMORY, *BAD_NEWS])),
           "signal": raise_signal(chosen.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP]))}[how]
    problem = trial_in(bench, kind, [first, Break(Trap(at, act).install, is_late=True)])
    return problem and f"{how} at call {at}: {problem}"


@row("Ctrl-C or SIGTERM on a full disk")
def signal_on_full_disk(bench: Bench, chosen: random.Random) -> str:
    kind, folder = bench.next_kind("checkpoint"), bench.new_folder()
    disk, number = folder.parent / "disk", chosen.choice([signal.SIGINT, signal.SIGTERM])
    call = late(bench, kind, chosen, ("step", "between"))
    with small_disk(disk, 48) as mounted:
        if not mounted:
            return "cannot be tried here: needs root"
        def act() -> None:
            fill(disk, 100)
            os.kill(os.getpid(), number)
        each = Break(Trap(call, act).install, after=lambda _: (disk / "filler").unlink(missing_ok=True), is_late=True)
        problem = survive(bench, kind, disk / "run", [each])
    bench.remove(folder)
    return problem and f"{kind.name}: {problem}"
