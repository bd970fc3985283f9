"""Print a pip constraints file with the lowest versions that settings.ini allows

    python nbs/_tools/lowest.py > lowest.txt && pip install -c lowest.txt '.[dev,notebooks]'

Runs without the package's dependencies. A requirement without a lower bound is not constrained.
"""
from __future__ import annotations

import re
import shlex
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BOUND = re.compile(r"([\w.-]+)(?:\[[\w,]+\])?>=([\d.]+)")


def lowest(requirements: str) -> list[str]:
    "Return a pin such as `torch==2.6` for each requirement such as `torch>=2.6`"
    bounds = (BOUND.match(requirement) for requirement in shlex.split(requirements))
    return [f"{bound[1]}=={bound[2]}" for bound in bounds if bound]


def main() -> None:
    "Print the pins, one per line"
    parser = ConfigParser(delimiters=["="])
    parser.read(ROOT / "settings.ini", encoding="utf-8")
    for key in ("requirements", "notebooks_requirements"):
        print(*lowest(parser["DEFAULT"][key]), sep="\n")


if __name__ == "__main__":
    main()
