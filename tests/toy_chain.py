"""A tiny DiffusionDB whose prompts say what its pictures show, and what `make` makes of it."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from paths import ROOT
from PIL import Image, ImageDraw
from toy_files import encoded, write_metadata, write_part
from waiting import PATIENCE

from img2prompt.embedding.class_names import read_class_names
from img2prompt.embedding.kinds import read_seeds

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 180, 40),
    "blue": (30, 60, 220),
    "yellow": (240, 220, 40),
}
READY, EMBEDDING, CLASS_WORDS = (
    Path(name) for name in ("prepared/main-32", "assets/embedding.npz", "assets/class_words.npz")
)
SHAPES = ("circle", "square", "stripes")
STYLES = ("painting", "photo", "sketch", "poster", "mosaic", "print", "fresco", "collage")


def draw(colour: tuple[int, int, int], shape: str, seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", (40, 32), tuple(int(v) for v in rng.integers(200, 256, 3)))
    pen = ImageDraw.Draw(picture)
    x, y = (int(v) for v in rng.integers(2, 12, 2))
    if shape == "circle":
        pen.ellipse((x, y, x + 22, y + 18), fill=colour)
    elif shape == "square":
        pen.rectangle((x, y, x + 22, y + 18), fill=colour)
    else:
        for step in range(0, 40, 8):
            pen.rectangle((step, 0, step + 3, 32), fill=colour)
    return picture


def write_data(root: Path) -> None:
    """192 pictures in two parts in `root/data`, and `root/prompts.txt`."""
    pictures = [
        (f"a {name} {shape} in the middle, {style} {other}", draw(rgb, shape, seed))
        for seed, (name, rgb, shape, style, other) in enumerate(
            (name, rgb, shape, style, other)
            for name, rgb in COLOURS.items()
            for shape in SHAPES
            for style, other in zip(STYLES * 2, STYLES[1:] + STYLES, strict=False)
        )
    ]
    rows = []
    for part in range(2):
        chosen = pictures[part::2]
        files = {f"{part}-{i}.png": encoded(picture) for i, (_, picture) in enumerate(chosen)}
        prompts = {f"{part}-{i}.png": prompt for i, (prompt, _) in enumerate(chosen)}
        write_part(root / "data" / "images" / f"part-{part + 1:06}.zip", files, prompts)
        rows += [(name, prompt, part + 1, 0.0, 0.0) for name, prompt in prompts.items()]
    write_metadata(root / "data" / "metadata.parquet", rows)
    # More sentences about the same things, so that the words' neighbourhoods can be learned.
    lines = [prompt for prompt, _ in pictures] + [
        f"{shape} and {other} in {name}, {style}"
        for name in COLOURS
        for shape in SHAPES
        for other in SHAPES
        for style in STYLES
    ]
    (root / "prompts.txt").write_text("\n".join(lines + _seed_lines()), encoding="utf-8")


def _seed_lines() -> list[str]:
    """Prompts of a few words of every kind, none of which a CNN's class is called by."""
    named = {word for row in read_class_names() for word in f"{row.name} {row.kind}".split()}
    of_kind: dict[str, list[str]] = {}
    for word, kind in read_seeds().items():
        if word not in named:
            of_kind.setdefault(kind, []).append(word)
    lines = [" ".join(words[at : at + 3]) for words in of_kind.values() for at in (0, 3, 6)]
    return [f"{line} {number}" for line in lines for number in range(8)]


def write_two_sources(root: Path, ready: Path, without: tuple[str, ...] = ()) -> Path:
    """The prepared pictures of `root` in a folder of their own, the blue ones of another source.

    `without` names what is not copied.
    """
    shutil.copytree(root / READY, ready, ignore=shutil.ignore_patterns(*without))
    for path in ready.glob("part-*.parquet"):
        table = pq.read_table(path)
        blue = ["elsewhere" if "blue" in p else "here" for p in table.column("prompt").to_pylist()]
        column = table.schema.get_field_index("source")
        pq.write_table(table.set_column(column, "source", pa.array(blue)), path)
    return ready


# What makes the chain small enough for a test.
SMALL_CHAIN = {
    "SIZE_gaze": "32",
    "SIZE_original": "32",
    "PRESETS": "gaze original",
    "NICE": "",
    "ARGS_embedding": "--min-count 2 --epochs 20",
    "ARGS_map": "--words 60",
    # Few pictures: the true words must carry the run.
    "ARGS_gaze": "--epochs 3 --images-per-epoch 1024 --batch-size 32 --soft-targets 0.2",
    "ARGS_original": "--epochs 1 --images-per-epoch 64",
    "ARGS_gallery": "--licence CC0-1.0",
}


def make(root: Path, *arguments: str | Path, code: int = 0) -> str:
    """Run `make` with the repository's Makefile on the world in a folder; what it says."""
    venv = root / "venv"
    if not venv.exists():  # this process' own Python, with nothing to install
        (venv / "bin").mkdir(parents=True)
        python = venv / "bin" / "python"
        python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        python.chmod(0o755)
        for name in ("created", "run", "dev", "train"):
            (venv / f"{name}.stamp").touch()
    variables = SMALL_CHAIN | {
        "DATA": root / "data", "MADE": root, "VENV": venv, "PROMPTS": root / "prompts.txt",
    }  # fmt: skip
    done = subprocess.run(
        ["make", *(f"{name}={value}" for name, value in variables.items()), *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "MAKEFLAGS": ""},
    )
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr
