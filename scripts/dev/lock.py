"""requirements*.txt → requirements*.lock: one version of each dependency, with its files' hashes.

    python scripts/dev/lock.py              # or: make lock
    python scripts/dev/lock.py --upgrade    # newest releases within the ranges
    python scripts/dev/lock.py --check      # only says whether the locks fit the ranges; no network

Needs uv (requirements-tools.txt) and the package index. Seconds.
"""

import argparse
import sys
from pathlib import Path

import locks

from img2prompt.core.errors import UserError, run_command


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2])
    parser.add_argument("--upgrade", action="store_true", help="take newer releases too")
    parser.add_argument("--check", action="store_true", help="write nothing")
    args = parser.parse_args()
    if not args.check:
        locks.make(args.root, args.upgrade)
    if wrong := locks.problems(args.root):
        raise UserError("\n".join(wrong))
    for lock in locks.LOCKS:
        print(f"{lock.name}: {len(locks.read(args.root / lock.name))} releases")


if __name__ == "__main__":
    sys.exit(run_command(main))
