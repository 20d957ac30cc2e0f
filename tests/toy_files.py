"""Small pictures and parts of DiffusionDB, as files."""

import datetime
import io
import json
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def picture_of(seed: int = 0, size: tuple[int, int] = (24, 16)) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BILINEAR)


def encoded(picture: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def zip_of(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of members by name, all packed in one way."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def write_part(path: Path, files: dict[str, bytes], prompts: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rest = {"se": 1, "c": 7.0, "st": 50, "sa": "k_euler"}
    table = {name: {"p": p, **rest} if isinstance(p, str) else p for name, p in prompts.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        archive.writestr(f"{path.stem}.json", json.dumps(table))
    return path


def misplaced(data: bytes, member: str) -> bytes:
    start = data.index(member.encode(), data.index(b"PK\x01\x02")) - 46  # its directory entry
    end = data.rindex(b"PK\x05\x06")
    head, tail = bytearray(data[start : start + 46]), bytearray(data[end:])
    extra = struct.pack("<HHQ", 1, 8, 2**63 + 5)
    struct.pack_into("<H", head, 30, len(extra))
    struct.pack_into("<L", head, 42, 0xFFFFFFFF)  # "see the zip64 field"
    struct.pack_into("<L", tail, 12, struct.unpack_from("<L", tail, 12)[0] + len(extra))
    name = data[start + 46 : start + 46 + len(member)]
    rest = data[start + 46 + len(member) : end]
    return data[:start] + head + name + extra + rest + tail


def write_metadata(path: Path, rows: Iterable[tuple], **extra: list) -> Path:
    names, prompts, parts, image_nsfw, prompt_nsfw = zip(*rows, strict=True)
    n = len(names)
    columns = {
        "image_name": names,
        "prompt": prompts,
        "part_id": pa.array(parts, pa.uint16()),
        "seed": pa.array([1] * n, pa.uint32()),
        "step": pa.array([50] * n, pa.uint16()),
        "cfg": pa.array([7.0] * n, pa.float32()),
        "sampler": pa.array([8] * n, pa.uint8()),
        "width": pa.array([24] * n, pa.uint16()),
        "height": pa.array([16] * n, pa.uint16()),
        "user_name": ["0" * 64] * n,
        "timestamp": pa.array(
            [datetime.datetime(2022, 8, 7, 22, 57, tzinfo=datetime.UTC)] * n,
            pa.timestamp("us", tz="UTC"),
        ),
        "image_nsfw": pa.array(image_nsfw, pa.float32()),
        "prompt_nsfw": pa.array(prompt_nsfw, pa.float32()),
        **extra,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path
