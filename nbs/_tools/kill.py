"""Break training runs in every way that can be thought of, resume them, and count what was lost

    python nbs/_tools/kill.py --kills 200 --seed 0       # the table of nbs/reliability.ipynb
    python nbs/_tools/kill.py --quick                    # less than a minute
    python nbs/_tools/kill.py --only SIGTERM --trial 7   # one trial of one row, again
    python nbs/_tools/kill.py --only "kill -9" --kinds "eight SAEs" --kills 21    # one kind of run

A run is lost if it cannot be resumed to the end, or if its weights, settings or metrics then differ in any bit from those
of the same run, unbroken, or if it leaves files. Prints a table, and exits with 1 if anything was lost. Some rows need
Linux and root, for small file systems in memory. Each trial is repeated exactly by its row, number and seed, but for
kills at a time.
"""
from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # Before PyTorch: its threads do not survive a fork, and a child would wait for them

import datasets  # noqa: E402, F401  (imported once, for all processes)

import kill_cache  # noqa: F401  (adds rows)
import kill_damage  # noqa: F401  (adds rows)
from kill_faults import ROWS, Row
from kill_runs import Bench, bare_model, kinds

QUICK = ("kill -9 at", "kill -9 while", "Ctrl-C twice", "several SAEs", "two starts", "a flipped bit in the ch")


def arguments() -> argparse.Namespace:
    "Return the options of the command line"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="runs killed with kill -9")
    parser.add_argument("--trials", type=int, default=10, help="trials of each other row; some rows make more")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a few trials of a few rows")
    parser.add_argument("--only", default="", help="rows whose name contains this; several with |")
    parser.add_argument("--kinds", default="", help="only kinds of run whose name contains this")
    parser.add_argument("--trial", type=int, help="only this trial of each row")
    parser.add_argument("--verbose", action="store_true", help="also say how the disturbed processes ended")
    parser.add_argument("--keep", action="store_true", help="keep the folders of the runs")
    parser.add_argument("--resume", help=argparse.SUPPRESS)  # A kind of run, resumed in this process
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def trials_of(row: Row, options: argparse.Namespace) -> range | list[int]:
    "Return the numbers of the trials of a row"
    if options.trial is not None:
        return [options.trial]
    if options.quick:
        return range(2)
    n_kill_rows = sum(not each.share for each in ROWS)
    return range(max(round(row.share * options.trials), 1) if row.share else options.kills // n_kill_rows)


def try_row(row: Row, bench: Bench, options: argparse.Namespace) -> tuple[int, list[str]]:
    "Make the trials of a row; return their number, and what was lost"
    lost, numbers = [], trials_of(row, options)
    for number in numbers:
        bench.turn = number
        try:
            problem = row.trial(bench, random.Random(f"{options.seed} {row.name} {number}"))
        except Exception as error:  # the trial itself is at fault, which counts as lost
            problem = f"{type(error).__name__}: {error}"
        if problem:
            lost.append(f"    trial {number}: {problem[:600]}")
    return len(numbers), lost


def wanted(row: Row, options: argparse.Namespace) -> bool:
    "Tell whether a row was asked for"
    names = options.only.split("|") if options.only else QUICK if options.quick else [""]
    return any(name in row.name for name in names)


def try_all(options: argparse.Namespace, folder: Path) -> int:
    "Try all rows and print the table; return how many trials were lost"
    bench = Bench(folder, options.keep)
    bench.taken = [kind for kind in bench.kinds if options.kinds in kind.name]
    total = n_lost = 0
    if options.quick:
        bench.taken = [bench.kinds[n] for n in (0, 1, 20)]
    print("| fault | tried | survived | lost |\n|---|---|---|---|")
    for row in ROWS:
        if wanted(row, options):
            tried, lost = try_row(row, bench, options)
            print(f"| {row.name} | {tried} | {tried - len(lost)} | {len(lost)} |", *lost, sep="\n", flush=True)
            if options.verbose:
                print("   ", *(f"{end}: {n}," for end, n in bench.ends.most_common()), flush=True)
            bench.ends.clear()
            total, n_lost = total + tried, n_lost + len(lost)
    print(f"| all | {total} | {total - n_lost} | {n_lost} |\n\n{bench.n_kills} kills, {len(bench.taken)} kinds of run")
    return n_lost


def main() -> int:
    "Run the command"
    options = arguments()
    if options.resume:
        kind = next(kind for kind in kinds(options.data) if kind.name == options.resume)
        kind.train(options.folder, True)
        return 0
    bare_model()  # imports what all processes need
    folder, begun = Path(tempfile.mkdtemp(prefix="kill-")).resolve(), time.monotonic()
    try:
        return int(try_all(options, folder) > 0)
    finally:
        print(f"{time.monotonic() - begun:.0f} s", flush=True)
        if options.keep:
            print(folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
