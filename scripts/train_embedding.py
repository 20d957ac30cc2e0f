"""Prompts → a Word2Vec embedding, its exports and a report.

    python scripts/train_embedding.py --prompts prompts.parquet metadata.parquet \\
        --out assets/embedding.npz

6 minutes for 500,000 prompts on one CPU core (18 epochs). One worker, the default, is
reproducible: the same input gives the same bytes. `--workers all` trains on all cores, which is
faster and not reproducible; reading the prompts takes all cores either way. The log (stderr) tells
words a second and the hours to go. Prompts of the test split are left out, because
an embedding that saw them has learned which of their words go together; `--include-test` keeps
them. The report lies beside the embedding, `NAME.report.json`: what made it, nearest neighbours of
twenty probe words and the odd-one-out score of `img2prompt/embedding/probes.py`.
"""

import argparse
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from img2prompt.core.cli import run_command
from img2prompt.core.errors import UserError
from img2prompt.core.executors import usable_cores
from img2prompt.embedding.probes import PROBES, odd_one_out
from img2prompt.embedding.vectors import WordVectors
from img2prompt.training.ship import record

NUMBERS = ("epochs", "dimensions", "window", "min_count", "seed")  # of EmbeddingConfig


def main() -> None:
    # Here and not above: the processes that cut words import this script, and need no gensim.
    from img2prompt.embedding.word2vec import EmbeddingConfig, export_word2vec, train_embedding

    defaults = EmbeddingConfig()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=Path, nargs="+", required=True, help=".parquet or .txt")
    parser.add_argument("--out", type=Path, required=True, help="the .npz to write")
    for name in NUMBERS:
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(
            flag, type=int, default=getattr(defaults, name), help="default %(default)s"
        )
    parser.add_argument("--cbow", action="store_true", help="the original's CBOW")
    workers = "a number, or `all` for every core; over 1 is not reproducible"
    parser.add_argument("--workers", type=_workers, default=1, metavar="N", help=workers)
    parser.add_argument("--include-test", action="store_true", help="keep test-split prompts")
    parser.add_argument("--export", choices=("text", "binary"), help="also write word2vec format")
    args = parser.parse_args()
    if args.out.is_dir():  # said before the training, not after it
        raise UserError("scripts.out_is_folder", path=args.out)
    numbers = {name: getattr(args, name) for name in NUMBERS}
    config = EmbeddingConfig(skip_gram=not args.cbow, **numbers)
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("img2prompt").setLevel(logging.INFO)  # gensim's own would be three a second
    vectors, counts = train_embedding(
        args.prompts, config, include_test=args.include_test, workers=args.workers
    )
    vectors.save(args.out)
    if args.export:
        suffix = ".w2v.txt" if args.export == "text" else ".w2v.bin"
        export_word2vec(vectors, args.out.with_suffix(suffix), args.export == "binary")
    report = describe(vectors) | {"corpus": counts, "config": asdict(config)}
    record(args.out, ["python", *sys.argv], **report)
    print(f"corpus: {counts['prompts']:,} prompts, {counts['words']:,} words")
    print(
        f"left out: {counts['repeated']:,} repeated, {counts['test_prompts']:,} of the test split"
    )
    print(
        f"vocabulary: {len(vectors):,} words; values {vectors.minimum:.3f} … {vectors.maximum:.3f}"
    )
    right, asked = report["odd_one_out"]["right"], report["odd_one_out"]["asked"]
    print(f"odd one out: {right} of {asked} right")
    for word, near in report["neighbours"].items():
        print(f"  {word:<12} {', '.join(f'{other} {score:.2f}' for other, score in near)}")


def _workers(value: str) -> int:
    if value == "all":
        return usable_cores()
    if not value.isdecimal():
        raise argparse.ArgumentTypeError(f"give a number or all, not {value!r}")
    return int(value)


def describe(vectors: WordVectors) -> dict[str, Any]:
    """The report's figures of an embedding."""
    right, asked, wrong = odd_one_out(vectors)
    return {
        "words": len(vectors),
        "dimensions": vectors.dimensions,
        "minimum": vectors.minimum,
        "maximum": vectors.maximum,
        "fingerprint": vectors.fingerprint,
        "odd_one_out": {"right": right, "asked": asked, "wrong": wrong},
        "neighbours": {
            word: [(other, round(score, 4)) for other, score in vectors.neighbours(word)]
            for word in PROBES
            if word in vectors
        },
    }


if __name__ == "__main__":
    sys.exit(run_command(main))
