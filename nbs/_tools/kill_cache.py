"""More rows for `kill.py`: writers of stored activations that are killed, starve for space, or meet each other"""
from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path

from kill_damage import together
from kill_faults import fill, row
from kill_runs import Bench, Trap, live, record, small_disk, throw, write_stored
from sae_nb import ActivationCache

_known: dict[Path, tuple[dict[str, str], int]] = {}


def files_of(folder: Path) -> dict[str, str]:
    "Return the checksums of all files below a folder"
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file()}


def unbroken(bench: Bench) -> tuple[dict[str, str], int]:
    "Return the files of an unbroken writer, and its number of calls"
    if bench.folder not in _known:
        folder = bench.new_folder()
        n_calls, _ = record(lambda: write_stored(folder), folder.parent)
        _known[bench.folder] = files_of(folder), n_calls
        bench.remove(folder)
    return _known[bench.folder]


def problem_of(bench: Bench, folder: Path) -> str:
    "Continue a writer to its end; return what is wrong with the cache"
    life = live(lambda: write_stored(folder, resume=True), bench.home(folder))
    if not life.ok:
        return f"the writer cannot continue: {life}"
    found, (wanted, _) = files_of(folder), unbroken(bench)
    if found != wanted:
        different = {name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)}
        return f"other files than those of an unbroken writer: {', '.join(sorted(different))[:200]}"
    cache = ActivationCache.open(folder)
    cache.verify()
    return "" if cache.n_rows == 4000 else f"{cache.n_rows} rows instead of 4,000"


@row("kill -9 of a process that stores activations", 2.0)
def kill_writer(bench: Bench, chosen: random.Random) -> str:
    folder, n_calls = bench.new_folder(), unbroken(bench)[1]
    for _ in range(chosen.randint(1, 4)):
        read, write = os.pipe()
        fault = Trap(chosen.randint(1, n_calls), lambda pipe=write: os.write(pipe, b".")).install
        life = live(lambda: write_stored(folder, resume=True), bench.home(folder), fault, chosen.uniform(0, 0.05), read)
        bench.ends[life.end] += 1
        bench.n_kills += life.end == "killed"
        if folder.is_dir() and any(folder.glob("shard-*.json")):  # what is there can be read
            ActivationCache.open(folder).verify()
    problem = problem_of(bench, folder)
    if not problem:
        bench.remove(folder)
    return problem


@row("full disk while activations are stored (a small tmpfs)")
def full_disk(bench: Bench, chosen: random.Random) -> str:
    folder, n_calls = bench.new_folder(), unbroken(bench)[1]
    disk, left = folder.parent / "disk", chosen.choice([0, 100, 4096, 10 ** 5, 10 ** 6])
    trap = Trap(chosen.randint(1, n_calls), lambda: fill(disk, left))
    with small_disk(disk, 48) as mounted:
        if not mounted:
            return "cannot be tried here: needs root"
        life = live(lambda: write_stored(disk / "cache", resume=True), folder.parent, trap.install)
        bench.ends[life.end] += 1
        (disk / "filler").unlink(missing_ok=True)
        if not (life.ok or life.is_a("OSError")):
            return f"{left} bytes left: ends with {life}"
        problem = problem_of(bench, disk / "cache")
    bench.remove(folder)
    return problem and f"{left} bytes left: {problem}"


@row("an exception in a process that stores activations, which then continues")
def stopped_writer(bench: Bench, chosen: random.Random) -> str:
    folder, n_calls = bench.new_folder(), unbroken(bench)[1]
    error = chosen.choice([KeyboardInterrupt(), MemoryError("no memory"), OSError(5, "Input/output error")])
    trap = Trap(chosen.randint(1, n_calls), throw(error))
    def try_twice() -> None:
        trap.install()
        try:
            write_stored(folder)
        except type(error):
            write_stored(folder, resume=True)
    life = live(try_twice, folder.parent)
    bench.ends[life.end] += 1
    problem = "" if life.ok else f"cannot continue in the same process: {life}"
    problem = problem or problem_of(bench, folder)
    if not problem:
        bench.remove(folder)
    return problem


@row("two processes store activations in one folder")
def two_writers(bench: Bench, chosen: random.Random) -> str:
    folder = bench.new_folder()
    lives = together([lambda: write_stored(folder, resume=True)] * 2, folder.parent)
    refused = [life for life in lives if not life.ok]
    if len(refused) > 1 or not all(life.is_a("OSError", "ValueError") for life in refused):
        return f"the writers end with {', '.join(map(str, lives))}"
    problem = problem_of(bench, folder)
    if not problem:
        bench.remove(folder)
    return problem
