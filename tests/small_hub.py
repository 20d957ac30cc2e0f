"""DiffusionDB in small, served on this machine: what the Play tab takes its real pictures from."""

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import browser_kit
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hub_server import Hub, write_part
from hub_server import serve as serve_files
from PIL import Image

PROMPT = "a portrait of a red fox in the snow, oil painting"
PART = "images/part-000001.zip"


@contextlib.contextmanager
def serve(root: Path) -> Iterator[Hub]:
    """A hub whose every part holds one picture that may be shown, of `PROMPT`, and a bad one."""
    from img2prompt.ui.play.random_picture import COLUMNS, PARTS

    pictures = {"fox.png": Image.open(browser_kit.EXAMPLE)}
    pictures["bad.png"] = pictures["fox.png"].rotate(180)
    files = {name: _png(picture) for name, picture in pictures.items()}
    prompts = {"fox.png": {"p": PROMPT, "se": 1}, "bad.png": {"p": "a fox, ocean, robot", "se": 2}}
    write_part(root / PART, files, json.dumps(prompts))
    rows = [(part, *row) for part in PARTS for row in ((1, 0.1, 0.0), (2, 0.9, 0.0))]
    columns = dict(zip(COLUMNS, map(np.array, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns), root / "metadata.parquet")
    with serve_files(root) as server:
        server.every_part = PART
        yield server


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
