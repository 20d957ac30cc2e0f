"""What each part of `gaze` is worth: trains and measures the rows of docs/ablations.md.

    python scripts/dev/ablate.py --data prepared/main-192 --auxiliary prepared/auxiliary-192 \\
        --smaller prepared/main prepared/auxiliary --embedding assets/embedding.npz \\
        --runs runs/ablations --out docs/ablations

Twelve training runs, half an hour on two CPU cores from cached features. Rows whose
runs are there are only measured, so a stopped command goes on. Writes OUT.md and OUT.json.
"""

import argparse
import sys
from pathlib import Path

from img2prompt.core.errors import run_command
from img2prompt.core.files import atomic_path, write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="prepared folder")
    parser.add_argument("--auxiliary", type=Path, required=True, help="only teach words")
    parser.add_argument("--smaller", type=Path, nargs=2, help="both, prepared at another size")
    parser.add_argument("--embedding", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True, help="folder of the training runs")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--out", type=Path, required=True, help="writes OUT.md and OUT.json")
    args = parser.parse_args()

    from ablations import markdown, run_ablations

    report = run_ablations(
        args.data,
        args.auxiliary,
        args.embedding,
        args.runs,
        smaller=tuple(args.smaller) if args.smaller else None,
        epochs=args.epochs,
        progress=lambda line: print(line, file=sys.stderr, flush=True),
    )
    write_json(args.out.with_suffix(".json"), report)
    with atomic_path(args.out.with_suffix(".md")) as temporary:
        temporary.write_text(markdown(report), encoding="utf-8")
    print(markdown(report))


if __name__ == "__main__":
    sys.exit(run_command(main))
