"""Trained models and baselines → the table of figures on the test split.

    python scripts/evaluate.py --data prepared/main-192 prepared/main --out docs/evaluation
    python scripts/evaluate.py --data prepared/main-192 --out docs/held-out-sources \\
        --presets runs/held-out/gaze \\
        --held-out ai-horde-style-previews enragedantelope-sd35 gptimage2

Prints the tables and writes OUT.md (what README and MODEL_CARD quote) and OUT.json (all figures,
per source, best and worst examples). 6 minutes on two CPU cores. Presets that take pictures of
different sizes need the same data prepared at each. Use `--split validation` to choose between
models and the test split for the figures that are reported. `--held-out` (formerly `--abroad`)
measures all pictures of sources that the runs were trained without (`train_model.py --without`).
"""

import argparse
import sys
from pathlib import Path

from img2prompt.core.cli import run_command
from img2prompt.core.printable import LAYOUT, visible


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="prepared folders")
    parser.add_argument("--assets", type=Path, help="folder with a manifest; unset, the shipped")
    parser.add_argument("--presets", nargs="*", help="unset, all; also folders of training runs")
    parser.add_argument("--backbone", default="efficientnet_lite2", help="of knn and linear")
    parser.add_argument("--no-baselines", action="store_true")
    parser.add_argument("--no-minilm", action="store_true")
    parser.add_argument("--split", default="test", help="train, validation or test")
    parser.add_argument(
        "--held-out",
        "--abroad",
        nargs="+",
        default=[],
        metavar="SOURCE",
        help="measure these sources (a repository: owner/name); runs trained without them",
    )
    parser.add_argument("--out", type=Path, help="writes OUT.md and OUT.json")
    args = parser.parse_args()

    from img2prompt.evaluation.systems import EvaluationConfig, evaluate_systems

    config = EvaluationConfig(
        assets=args.assets,
        presets=args.presets,
        backbone=None if args.no_baselines else args.backbone,
        minilm=not args.no_minilm,
        split=args.split,
        held_out=args.held_out,
    )
    report = evaluate_systems(
        args.data, config, lambda name: print(f"measuring {name} …", file=sys.stderr, flush=True)
    )
    print(visible(report.markdown, LAYOUT))
    if args.out:
        report.save(args.out)


if __name__ == "__main__":
    sys.exit(run_command(main))
