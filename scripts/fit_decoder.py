"""Fit the confidences of a finished training run anew, on the validation split.

    python scripts/fit_decoder.py --run runs/original --data prepared/main
    python scripts/fit_decoder.py --run runs/gaze --data prepared/main-192 \\
        --class-words assets/class_words.npz

Training does it at its end; this is for runs from before, or for other validation data. A minute
for 4,000 pictures.
"""

import argparse
import sys
from pathlib import Path

from img2prompt.core.cli import run_command


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="folder of a finished run")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="prepared folders")
    parser.add_argument("--class-words", type=Path, help="of a run that was trained with a prior")
    args = parser.parse_args()

    from img2prompt.training.calibration import refit_decoder

    decoder = refit_decoder(args.run, args.data, args.class_words, ["python", *sys.argv])
    print("ranking value → confidence")
    step = max(1, len(decoder.knots) // 12)
    for value, share in zip(decoder.knots[::step], decoder.confidences[::step], strict=True):
        print(f"  {value:6.3f}  {share:6.1%}")


if __name__ == "__main__":
    sys.exit(run_command(main))
