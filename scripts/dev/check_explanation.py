"""Checks occlusion maps: covers the hottest and the coldest quarter of the picture and compares.

    python scripts/dev/check_explanation.py --data prepared/main-192

For pictures of the test split and the first words of their answers: how far a word's cosine falls
when the hottest quarter of its occlusion map is covered, and the coldest. For a random map both
falls are the same and "hottest falls more" is a half. A hundred pictures take four minutes on two
CPU cores.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from img2prompt.core.cli import run_command
from img2prompt.core.errors import UserError


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="prepared folders")
    parser.add_argument("--assets", type=Path, help="folder with a manifest; unset, the shipped")
    parser.add_argument("--preset", help="which model; unset, the default")
    parser.add_argument("--pictures", type=int, default=100, help="drawn from the test split")
    parser.add_argument("--words", type=int, default=5, help="answers checked a picture")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.pictures < 1:
        raise UserError("scripts.no_pictures")

    from img2prompt.data.images import to_float
    from img2prompt.data.sampling import sampling_weights
    from img2prompt.data.shards import pixel_reader, read_shards, settings_of
    from img2prompt.inference.artifacts import Assets
    from img2prompt.inference.occlusion import quarter_drops

    predictor = Assets(args.assets).predictor(args.preset)
    made = settings_of(args.data[0])
    if (made.size, made.fit) != (predictor.side, predictor.fit):
        raise UserError(
            "scripts.other_pictures",
            preset=predictor.preset, side=predictor.side, fit=predictor.fit,
        )  # fmt: skip
    pictures = read_shards(args.data)
    test = np.flatnonzero(pictures.in_split("test"))
    if not len(test):
        raise UserError("scripts.empty_test_split")
    # Drawn as training draws, so that two thirds of them are not one source's four subjects.
    chosen = np.random.default_rng(args.seed).choice(
        test,
        min(args.pictures, len(test)),
        replace=False,
        p=sampling_weights(pictures, chosen=test),
    )
    read = pixel_reader(pictures)
    drops = []
    for number in tqdm(chosen):
        pixels = to_float(read(np.array([number]))[0])
        drops.append(quarter_drops(predictor, pixels, args.words))
    hottest, coldest = np.concatenate(drops).T
    print(f"{predictor.preset}: {len(chosen)} pictures, {len(hottest)} words")
    print(f"fall of the cosine without the hottest quarter  {hottest.mean():7.4f}")
    print(f"fall of the cosine without the coldest quarter  {coldest.mean():7.4f}")
    print(f"hottest falls more                              {(hottest > coldest).mean():7.1%}")


if __name__ == "__main__":
    sys.exit(run_command(main))
