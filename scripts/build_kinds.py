"""Prompts, an embedding and seed words → what kind each word is.

    python scripts/build_kinds.py --prompts prompts.parquet metadata.parquet \\
        --embedding assets/embedding.npz --out assets/kinds.npz

Prints each kind's precision and recall on held-out seeds, and how much of the vocabulary is given
a kind. What made the file and the figures are written beside it, `NAME.report.json`, and into a
manifest that lies there. Two minutes for 550,000
prompts; needs scikit-learn (requirements-train.txt), which the app does not.
"""

import argparse
import sys
from pathlib import Path

from img2prompt.core.cli import run_command
from img2prompt.core.errors import UserError
from img2prompt.embedding.kinds import (
    PRECISION,
    SEEDS_FILE,
    count_contexts,
    coverage,
    fit_kinds,
    read_seeds,
    summary,
)
from img2prompt.embedding.vectors import WordVectors
from img2prompt.training.ship import record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=Path, nargs="+", required=True, help=".parquet or .txt")
    parser.add_argument("--embedding", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the .npz to write")
    parser.add_argument("--seeds", type=Path, default=SEEDS_FILE, help="default: the package's")
    parser.add_argument("--precision", type=float, default=PRECISION, help="default %(default)s")
    args = parser.parse_args()
    if not 0 <= args.precision <= 1:
        raise UserError("scripts.precision", precision=args.precision)
    vectors = WordVectors.load(args.embedding)
    seeds = read_seeds(args.seeds)
    kinds, reports = fit_kinds(
        vectors, count_contexts(args.prompts, vectors), seeds, args.precision
    )
    kinds.save(args.out)
    print(f"{'kind':<8} {'seeds':>5} {'precision':>9} {'recall':>6} {'threshold':>9} {'words':>6}")
    for row in reports:
        print(
            f"{row.kind:<8} {row.seeds:>5} {row.precision:>9.1%} {row.recall:>6.1%} "
            f"{row.threshold:>9.2f} {row.words:>6,}"
        )
    words, uses = coverage(kinds)
    print(f"{words:.1%} of the answerable words have a kind, {uses:.1%} of their uses in prompts")
    record(args.out, ["python", *sys.argv], figures=summary(reports))


if __name__ == "__main__":
    sys.exit(run_command(main))
