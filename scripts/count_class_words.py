"""Prompts and an embedding → which words prompts put beside the name of each ImageNet class.

    python scripts/count_class_words.py --prompts prompts.parquet \\
        --embedding assets/embedding.npz --out assets/class_words.npz

A minute for 500,000 prompts. Training `gaze` reads the file; prompts of the test split are left
out. What made it is written beside it, `NAME.report.json`.
"""

import argparse
import sys
from pathlib import Path

from img2prompt.core.cli import run_command
from img2prompt.core.errors import UserError
from img2prompt.embedding.class_names import read_class_names
from img2prompt.embedding.class_words import count_class_words, left_out_text
from img2prompt.embedding.vectors import WordVectors
from img2prompt.training.ship import record

SHOWN = ("tabby cat", "castle", "espresso", "sports car", "volcano")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=Path, nargs="+", required=True, help=".parquet or .txt")
    parser.add_argument("--embedding", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the .npz to write")
    args = parser.parse_args()
    if args.out.is_dir():
        raise UserError("scripts.out_is_folder", path=args.out)
    vectors = WordVectors.load(args.embedding)
    found, counts = count_class_words(args.prompts, vectors)
    found.save(args.out)
    record(args.out, ["python", *sys.argv], figures=counts)
    print(f"prompts: {counts['prompts']:,}; background over {counts['sources']} sources")
    print(left_out_text(counts))
    print(f"classes without a known word: {counts['classes_unknown']} of {len(found.words)}")
    common = (-found.background * vectors.answerable).argsort()[:10]
    print(f"background: {', '.join(vectors.words[word] for word in common)}")
    for number, row in enumerate(read_class_names()):
        if row.name in SHOWN:
            print(
                f"{row.name}: {', '.join(vectors.words[word] for word in found.words[number, :10])}"
            )


if __name__ == "__main__":
    sys.exit(run_command(main))
