"""An embedding → the two-dimensional map of its words that the app draws.

    python scripts/build_map.py --embedding assets/embedding.npz --out assets/map.npz

A minute for 4,000 words on one CPU core. Needs scikit-learn (requirements-train.txt); the app
that reads the map does not.
"""

import argparse
import sys
import time
from pathlib import Path

from img2prompt.embedding import WordVectors
from img2prompt.errors import run_command
from img2prompt.projection import MAP_WORDS, build_map


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--embedding", type=Path, required=True, help="the .npz to read")
    parser.add_argument("--out", type=Path, required=True, help="the .npz to write")
    parser.add_argument("--words", type=int, default=MAP_WORDS, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    started = time.monotonic()
    vocabulary = build_map(WordVectors.load(args.embedding), args.words, args.seed)
    vocabulary.save(args.out)
    print(f"{len(vocabulary):,} words: {vocabulary.method}; {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    sys.exit(run_command(main))
