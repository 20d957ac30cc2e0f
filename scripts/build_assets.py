"""Training runs → assets/: models with float16 weights, and the manifest.

    python scripts/build_assets.py --runs runs/gaze runs/original runs/notebook
    python scripts/build_assets.py --evaluation docs/evaluation.json

The first form copies the runs' models and writes the manifest anew; the second only adds the
figures that `evaluate.py` measured.
"""

import argparse
import sys
from pathlib import Path

from img2prompt.artifacts import ASSETS, MANIFEST, quiet_tensorflow
from img2prompt.embedding import EMBEDDING_FILE
from img2prompt.errors import run_command
from img2prompt.files import read_json

quiet_tensorflow()

DATA = (
    "35,925 openly licensed picture-prompt pairs in DiffusionDB's layout, 4,337 auxiliary "
    "pictures and 511,086 prompts (README, Data and credits)"
)
MADE_BY = {
    EMBEDDING_FILE: (
        "python scripts/train_embedding.py --prompts prompts.parquet metadata.parquet "
        f"auxiliary/metadata.parquet --out assets/{EMBEDDING_FILE}"
    ),
    "map.npz": "python scripts/build_map.py --embedding assets/embedding.npz --out assets/map.npz",
}


def main() -> None:
    from img2prompt.shipping import build_manifest, run_commands, write_half_precision

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, nargs="*", default=[], help="folders of runs")
    parser.add_argument("--out", type=Path, default=ASSETS)
    parser.add_argument("--evaluation", type=Path, help="evaluate.py's JSON")
    parser.add_argument("--data", default=DATA, help="what the models learned from")
    args = parser.parse_args()
    made_by = dict(MADE_BY)
    if (args.out / MANIFEST).exists():
        known = read_json(args.out / MANIFEST)["files"]
        made_by |= {name: row["made_by"] for name, row in known.items() if "made_by" in row}
    for run in args.runs:
        preset = read_json(run / "config.json")["preset"]
        write_half_precision(run / "model.keras", args.out / f"{preset}.keras")
    made_by |= run_commands(args.runs)
    manifest = build_manifest(args.out, made_by, args.data, args.evaluation)
    for name, row in manifest["files"].items():
        print(f"{name:<16} {row['size'] / 2**20:7.1f} MB  {row['sha256'][:16]}…")


if __name__ == "__main__":
    sys.exit(run_command(main))
