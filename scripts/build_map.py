"""An embedding → the map of its words, in two and three dimensions, that the app draws.

    python scripts/build_map.py --embedding assets/embedding.npz --out assets/map.npz

Prints how well each layout keeps neighbourhoods, and the themes. What made the map and its figures
are written beside it, `NAME.report.json`, and into a manifest that lies there. Ten minutes for
20,000 words on two CPU cores. Needs scikit-learn (requirements-train.txt); the app that reads the
map does not.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from img2prompt.core.cli import run_command
from img2prompt.data.block_list import BLOCKED_WORDS
from img2prompt.embedding.vectors import WordVectors
from img2prompt.embedding.word_map import DIMENSIONS, MAP_WORDS, build_map, neighbourhood_recall
from img2prompt.training.ship import record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--embedding", type=Path, required=True, help="the .npz to read")
    parser.add_argument("--out", type=Path, required=True, help="the .npz to write")
    parser.add_argument("--words", type=int, default=MAP_WORDS, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    started = time.monotonic()
    vectors = WordVectors.load(args.embedding)
    vocabulary = build_map(vectors, args.words, args.seed, BLOCKED_WORDS)
    vocabulary.save(args.out)
    seconds = time.monotonic() - started
    print(f"{len(vocabulary):,} words: {vocabulary.method}; {seconds:.0f} s")
    figures = {f"recall_{d}d": round(neighbourhood_recall(vocabulary, d), 3) for d in DIMENSIONS}
    for d in DIMENSIONS:
        kept = figures[f"recall_{d}d"]
        print(f"{d}-D: {kept:.1%} of a word's ten nearest are among its ten nearest on the map")
    sizes = np.bincount(vocabulary.themes, minlength=len(vocabulary.labels))
    print("; ".join(f"{name} ({n})" for name, n in zip(vocabulary.labels, sizes, strict=True)))
    record(args.out, ["python", *sys.argv], figures=figures)


if __name__ == "__main__":
    sys.exit(run_command(main))
