"""How fast preparation is, beside pure decoding of the same bytes, and how much memory it takes."""

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from img2prompt.core.errors import UserError
from img2prompt.core.processes import pool, submit, usable_cores
from img2prompt.data import diffusiondb
from img2prompt.data.prepare import prepare
from img2prompt.data.shards import PrepareSettings

TARGET = 0.8  # of the pictures a second that pure decoding and resizing reaches
# Adding up a process's pages takes milliseconds; at 0.05 the sampling itself cost a tenth.
_SAMPLE_SECONDS = 0.5
# Pictures that a made part repeats: encoding PNG takes ten times as long as decoding.
_DISTINCT = 40


@dataclass(frozen=True)
class Throughput:
    """One measurement.

    Attributes:
        parts: how many were prepared.
        pictures: how many they hold.
        processes: that decoded, in both.
        seconds: of `prepare`, from call to report, its processes' start included.
        pure_seconds: of decoding and resizing alone: the longest process's, mean of a run before
            and one after.
        peak_bytes: the largest sum of the processes' memory, pages they share counted once; 0
            where the system does not tell (it is read from /proc).
    """

    parts: int
    pictures: int
    processes: int
    seconds: float
    pure_seconds: float
    peak_bytes: int

    @property
    def ratio(self) -> float:
        """The rate of preparation as a share of pure decoding's."""
        return self.pure_seconds / self.seconds


def check_options(size: int, workers: int | None) -> None:
    """Raise :class:`UserError` unless `measure` can be called so."""
    PrepareSettings(size=size)
    if workers is not None and workers < 1:
        raise UserError(f"The number of workers must be 1 or more, not {workers}.")


def measure(
    data: str | os.PathLike, parts: int, size: int, workers: int | None = None
) -> Throughput:
    """Prepare the first `parts` parts of a folder, and decode the same bytes alone.

    Args:
        data: a folder in DiffusionDB's layout.
        parts: how many of its parts.
        size: side of the prepared pictures.
        workers: processes; None for all usable cores.

    Raises:
        UserError: as `check_options`; the folder holds fewer parts, or one that cannot be read.
    """
    check_options(size, workers)
    found = diffusiondb.find_parts(data)
    if not 1 <= parts <= len(found):
        raise UserError(f"{data} holds {len(found)} parts, not {parts}; give other --parts.")
    chosen = found[:parts]
    processes = min(workers or usable_cores(), parts)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "data" / "images").mkdir(parents=True)
        for part in chosen:
            (root / "data" / "images" / part.name).symlink_to(part.resolve())
        if metadata := diffusiondb.find_metadata(data):
            (root / "data" / metadata.name).symlink_to(metadata.resolve())
        pictures, before = _pure(chosen, size, processes)
        seconds, peak = _prepared(root / "data", root / "out", size, processes)
        _, after = _pure(chosen, size, processes)
    return Throughput(parts, pictures, processes, seconds, (before + after) / 2, peak)


def make_parts(
    folder: str | os.PathLike, parts: int, pictures: int = 1_000, side: int = 512, seed: int = 0
) -> None:
    """Write parts of DiffusionDB's real size: PNG of smooth shapes under fine grain, as photographs
    have, about 450 kB each at 512 pixels.

    40 pictures a part are drawn, the others repeat their bytes under other names.
    """
    images = Path(folder) / "images"
    images.mkdir(parents=True, exist_ok=True)
    for number in range(1, parts + 1):
        rng = np.random.default_rng((seed, number))
        drawn = [_photograph(rng, side) for _ in range(min(_DISTINCT, pictures))]
        stem = f"part-{number:06}"
        names = [f"{number:06}-{i:04}.png" for i in range(pictures)]
        prompts = {
            name: {"p": f"a photograph of the shape {i} of part {number}, grain, soft light"}
            for i, name in enumerate(names)
        }
        with zipfile.ZipFile(images / f"{stem}.zip", "w") as archive:
            for i, name in enumerate(names):
                archive.writestr(name, drawn[i % len(drawn)])
            archive.writestr(f"{stem}.json", json.dumps(prompts))


def _photograph(rng: np.random.Generator, side: int) -> bytes:
    picture = np.zeros((side, side, 3))
    for cells, strength in ((4, 90), (16, 40), (64, 20)):
        small = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        large = Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)
        picture += np.asarray(large) / 255 * strength
    picture += rng.normal(60, 4, picture.shape)
    encoded = io.BytesIO()
    Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(encoded, "PNG")
    return encoded.getvalue()


def _pure(parts: Sequence[Path], size: int, processes: int) -> tuple[int, float]:
    """Pictures, and the seconds of the process that took longest."""
    seconds: defaultdict[int, float] = defaultdict(float)
    total = 0
    with pool(processes) as executor:
        for future in [submit(executor, _decode_part, part, size) for part in parts]:
            process, pictures, spent = future.result()
            seconds[process] += spent
            total += pictures
    return total, max(seconds.values())


def _decode_part(part: Path, size: int) -> tuple[int, int, float]:
    encoded = [
        item.data for item in diffusiondb.read_part(part) if isinstance(item, diffusiondb.Pair)
    ]
    decoded = 0
    started = time.perf_counter()
    for data in encoded:
        with contextlib.suppress(OSError):  # a damaged picture costs both sides the same
            picture = Image.open(io.BytesIO(data))
            picture.load()
            picture.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
            decoded += 1
    return os.getpid(), decoded, time.perf_counter() - started


def _prepared(data: Path, out: Path, size: int, processes: int) -> tuple[float, int]:
    """Seconds of `prepare` and peak bytes, in processes of its own."""
    arguments = [str(data), str(out), str(size), str(processes)]
    command = [
        sys.executable,
        "-c",
        "from img2prompt import preparation_benchmark as t; t._prepare_here()",
    ]
    with (
        subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True) as process,
        _peak(process.pid) as peak,
    ):
        told, _ = process.communicate()
    if process.returncode:
        raise UserError(f"Preparing {data} failed; see above.")
    return float(told), max(peak)


def _prepare_here() -> None:
    data, out, size, workers = sys.argv[1:]
    started = time.perf_counter()
    settings = PrepareSettings(size=int(size), keep_unscored=True)  # parts made up have no scores
    prepare(data, out, settings, progress=False, workers=int(workers))
    print(time.perf_counter() - started)


@contextlib.contextmanager
def _peak(process: int) -> Iterator[list[int]]:
    """Sample the memory of a process and all below it; the list grows till the block ends."""
    samples, ended = [0], threading.Event()

    def sample() -> None:
        while True:
            samples.append(sum(_memory(member) for member in _family(process)))
            if ended.wait(_SAMPLE_SECONDS):
                return

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


def _family(process: int) -> list[int]:
    children: defaultdict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # "pid (name) state parent …", and a name may hold spaces and brackets.
            parent = entry.read_text().rpartition(")")[2].split()[1]
            children[int(parent)].append(int(entry.parent.name))
    family = [process]
    for member in family:
        family += children[member]
    return family


def _memory(process: int) -> int:
    """The process's share of its resident pages (PSS), in bytes; 0 where it cannot be read."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
