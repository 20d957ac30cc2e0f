"""Prepared pictures and an embedding → the nouns above ImageNet's classes, and their chances.

    python scripts/build_taxonomy.py --data prepared/main-192 \\
        --embedding assets/embedding.npz --out assets/taxonomy.npz

Where the CNN is torn between classes, `gaze` offers the noun above them (docs/training.md). The
features of the pictures are those that training caches; a minute where they are there. What made
the file and how often the nouns were right is written beside it, `NAME.report.json`, and into a
manifest that lies there. Needs scikit-learn (requirements-train.txt), which the app does not.
"""

import argparse
import sys
from pathlib import Path

from img2prompt.core.cli import run_command


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="prepared folders")
    parser.add_argument("--embedding", type=Path, required=True)
    parser.add_argument("--backbone", default="efficientnet_lite2", help="default %(default)s")
    parser.add_argument("--out", type=Path, required=True, help="the .npz to write")
    args = parser.parse_args()

    from img2prompt.embedding.vectors import WordVectors
    from img2prompt.training.hedging import make_taxonomy
    from img2prompt.training.ship import record

    vectors = WordVectors.load(args.embedding)
    taxonomy, figures = make_taxonomy(args.data, vectors, args.backbone)
    taxonomy.save(args.out)
    record(args.out, ["python", *sys.argv], figures={k: round(v, 4) for k, v in figures.items()})
    print(f"{len(taxonomy.words)} nouns above {taxonomy.members.shape[1]:,} classes, the widest:")
    print(", ".join(vectors.words[position] for position in taxonomy.words[:40]))
    print("on sources left out in turn, each weighing the root of its pictures:")
    for name, value in figures.items():
        print(f"  {name:<17} {value:.3f}")


if __name__ == "__main__":
    sys.exit(run_command(main))
