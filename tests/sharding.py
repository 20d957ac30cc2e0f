"""Prepared shards that are written without preparing anything, and what they say."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from img2prompt.core.files import write_json
from img2prompt.data.shards import SETTINGS_FILE, Texts, read_shards
from img2prompt.data.splits import split_of

SIDE = 32


def write_table(
    folder: Path,
    prompts: Sequence[str],
    sources: Sequence[str] | None = None,
    split: str | None = None,
    part: int = 1,
) -> Path:
    """The table of a shard without its pixels, and the folder's settings; returns the folder.

    Pictures are called 0.png, 1.png …; all of them have one source and the split of their prompt,
    unless others are given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / SETTINGS_FILE, {"size": SIDE, "fit": "stretch"})
    rows = {
        "name": [f"{number}.png" for number in range(len(prompts))],
        "prompt": prompts,
        "source": sources or ["diffusiondb"] * len(prompts),
        "split": [split or split_of(prompt) for prompt in prompts],
    }
    columns = {name: pa.array(values, pa.string()) for name, values in rows.items()}
    pq.write_table(pa.table(columns), folder / f"part-{part:06}.parquet")
    return folder


def texts_of(folder: Path) -> Texts:
    """What a prepared folder says of all its pictures."""
    pictures = read_shards(folder)
    return pictures.texts(np.arange(len(pictures)))


def write_shards(
    folder: Path,
    words: Sequence[str],
    sizes: Sequence[int] = (60, 45, 75),
    sources: Sequence[str] = ("diffusiondb",),
    first: int = 0,
) -> Path:
    """A prepared folder; the upper left pixel of picture i is i, red the hundreds.

    Each prompt has three of `words`; every tenth repeats the one before. Sources take turns.
    """
    folder.mkdir(parents=True)
    settings = {"size": SIDE, "fit": "stretch"}
    write_json(folder / SETTINGS_FILE, settings)
    rng = np.random.default_rng(first)
    number, prompt = first, ""
    for part, size in enumerate(sizes, start=1):
        pixels = rng.integers(0, 256, (size, SIDE, SIDE, 3), dtype=np.uint8)
        rows: dict[str, list[str]] = {"name": [], "prompt": [], "source": [], "split": []}
        for row in range(size):
            if number % 10 or not prompt:
                prompt = f"a {' '.join(rng.choice(words, 3, replace=False))} number {number}"
            pixels[row, 0, 0] = (number // 100, number % 100, 0)
            rows["name"].append(f"{number}.png")
            rows["prompt"].append(prompt)
            rows["source"].append(sources[number % len(sources)])
            rows["split"].append(split_of(prompt))
            number += 1
        np.save(folder / f"part-{part:06}.npy", pixels)
        pq.write_table(pa.table(rows), folder / f"part-{part:06}.parquet")
    return folder


def numbers_of(pixels: np.ndarray) -> np.ndarray:
    """Pictures (b, SIDE, SIDE, 3) in [0, 1] → the numbers they were written under."""
    corner = np.rint(np.asarray(pixels)[:, 0, 0] * 255).astype(int)
    return corner[:, 0] * 100 + corner[:, 1]
