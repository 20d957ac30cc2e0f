"""How long one picture takes, and its explanation, and how many pictures a second in batches.

    python scripts/dev/benchmark.py

From the file's bytes to the words, on the shipped example pictures; a minute. Nothing else should
run on the machine meanwhile.
"""

import argparse
import itertools
import os
import sys
import time
from pathlib import Path

import numpy as np

from img2prompt.core.errors import UserError, run_command


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=Path, help="folder with a manifest; unset, the shipped")
    parser.add_argument("--repeats", type=int, default=60, help="single pictures a preset")
    args = parser.parse_args()

    from img2prompt.inference.artifacts import ASSETS, Assets
    from img2prompt.inference.occlusion import occlusion_maps

    assets = Assets(args.assets)
    vectors = assets.embedding()
    pictures = [path.read_bytes() for path in sorted((ASSETS / "examples").glob("*.jpg"))]
    if args.repeats < 1 or not pictures:
        raise UserError("Give --repeats of at least 1, and keep assets/examples/*.jpg.")
    print(f"{os.cpu_count()} CPU cores, {len(pictures)} pictures")
    print(
        f"{'preset':<10} {'file MB':>8} {'p50 ms':>8} {'p95 ms':>8} {'pictures/s in batches':>22}"
        f" {'where ten words are seen, ms':>30}"
    )
    for preset in assets.presets:
        predictor = assets.predictor(preset, vectors)
        predictor(pictures[0])  # compiles
        times = []
        for picture in itertools.islice(itertools.cycle(pictures), args.repeats):
            started = time.perf_counter()
            predictor(picture)
            times.append((time.perf_counter() - started) * 1000)
        batch = pictures * max(1, 96 // len(pictures))
        list(predictor.predict_many(batch))
        started = time.perf_counter()
        list(predictor.predict_many(batch))
        rate = len(batch) / (time.perf_counter() - started)
        told = [word.word for word in predictor(pictures[0]).words]
        occlusion_maps(predictor, pictures[0], told)
        started = time.perf_counter()
        for picture in pictures:
            occlusion_maps(predictor, picture, told)
        explained = (time.perf_counter() - started) * 1000 / len(pictures)
        size = assets.files[f"{preset}.keras"]["size"] / 2**20
        half, most = np.percentile(times, [50, 95])
        print(
            f"{preset:<10} {size:>8.1f} {half:>8.1f} {most:>8.1f} {rate:>22.1f} {explained:>30.0f}"
        )


if __name__ == "__main__":
    sys.exit(run_command(main))
