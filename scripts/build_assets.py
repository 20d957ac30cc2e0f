"""Training runs → a folder of artifacts: models with float16 weights, and the manifest.

    python scripts/build_assets.py --runs runs/gaze runs/original runs/notebook --out assets
    python scripts/build_assets.py --evaluation docs/evaluation.json --out assets
    python scripts/build_assets.py --bind --out assets

The first form copies the runs' models beside the folder's embedding and map, and writes the
manifest; the second adds the figures that `evaluate.py` measured. A manifest's account of a file
that has not changed stays. A decoder names the model it was fitted to; those made before they did
are bound by the third form.
"""

import argparse
import sys
from pathlib import Path

from img2prompt.core.cli import run_command


def main() -> None:
    from img2prompt.training.ship import bind_decoders, ship_runs

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, nargs="*", default=[], help="folders of runs")
    parser.add_argument("--out", type=Path, required=True, help="holds the embedding and the map")
    parser.add_argument("--evaluation", type=Path, help="evaluate.py's JSON")
    parser.add_argument(
        "--data",
        help="what the models learned from, in a sentence; unset, what the runs' records say",
    )
    parser.add_argument("--default", help="preset that answers if unnamed; unset, as before")
    parser.add_argument(
        "--bind", action="store_true", help="bind older decoders to the models beside them"
    )
    args = parser.parse_args()
    if args.bind:
        for name in bind_decoders(args.out, ["python", *sys.argv]):
            print(f"{name} is bound to its model")
    manifest = ship_runs(args.runs, args.out, args.data, args.evaluation, args.default)
    for name, row in manifest["files"].items():
        print(f"{name:<16} {row['size'] / 2**20:7.1f} MB  {row['sha256'][:16]}…")


if __name__ == "__main__":
    sys.exit(run_command(main))
