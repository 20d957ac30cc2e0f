"""How fast preparation is beside pure decoding of the same bytes, and its memory.

    python scripts/dev/benchmark_preparation.py --data DIFFUSIONDB_FOLDER --parts 1 10 35
    python scripts/dev/benchmark_preparation.py --generate 4

Three passes over each number of parts: under five minutes for 46 parts of small pictures on two CPU
cores. Nothing else should run on the machine meanwhile; at few parts the start of the processes,
half a second, counts against preparation alone.
"""

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from process_memory import watched

from img2prompt.core.cli import run_command
from img2prompt.core.errors import UserError
from img2prompt.core.executors import check_workers, in_order, local, usable_cores
from img2prompt.data import diffusiondb, images
from img2prompt.data.prepare import prepare
from img2prompt.data.shards import PrepareSettings

TARGET = 0.8  # of the pictures a second that pure decoding and resizing reaches
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
        peak_bytes: the largest sum of the processes' memory, pages they share counted once.
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
    check_workers(workers)


def measure(
    data: str | os.PathLike[str], parts: int, size: int, workers: int | None = None
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
        raise UserError("scripts.fewer_parts", data=data, found=len(found), parts=parts)
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
    folder: str | os.PathLike[str],
    parts: int,
    pictures: int = 1_000,
    side: int = 512,
    seed: int = 0,
) -> None:
    """Write parts of DiffusionDB's real size: PNG of smooth shapes under fine grain, as photographs
    have, about 450 kB each at 512 pixels.

    40 pictures a part are drawn, the others repeat their bytes under other names.
    """
    parts_folder = Path(folder) / "images"
    parts_folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, parts + 1):
        rng = np.random.default_rng((seed, number))
        drawn = [_photograph(rng, side) for _ in range(min(_DISTINCT, pictures))]
        stem = f"part-{number:06}"
        names = [f"{number:06}-{i:04}.png" for i in range(pictures)]
        prompts = {
            name: {"p": f"a photograph of the shape {i} of part {number}, grain, soft light"}
            for i, name in enumerate(names)
        }
        with zipfile.ZipFile(parts_folder / f"{stem}.zip", "w") as archive:
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
    with local(processes) as executor:
        tasks = ((part, size) for part in parts)
        for process, pictures, spent in in_order(executor, _decode_part, tasks):
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
    arguments = ["--one", data, out, size, processes]
    command = [sys.executable, __file__, *map(str, arguments)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
        watched(process.pid) as looks,
    ):
        told, _ = process.communicate()
    if process.returncode:
        raise UserError("scripts.run_failed", way=data)
    return float(told), max(size for _, size in looks)


def _prepare_here(data: str, out: str, size: str, workers: str) -> None:
    """Prepare once and print the seconds; `_prepared` starts it."""
    started = time.perf_counter()
    settings = PrepareSettings(size=int(size), keep_unscored=True)  # parts made up have no scores
    prepare(data, out, settings, progress=False, workers=int(workers))
    print(time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--data", type=Path, help="folder with images/part-*.zip")
    given.add_argument("--generate", type=int, metavar="N", help="N made parts of 512 pixels PNG")
    parser.add_argument("--parts", type=int, nargs="+", help="how many parts (1 10 35)")
    parser.add_argument("--size", type=int, default=images.SIZE, help="side in pixels")
    parser.add_argument("--workers", type=int, help="processes; unset, all cores")
    args = parser.parse_args()
    if args.generate is not None and args.generate < 1:
        raise UserError("scripts.generate")
    check_options(args.size, args.workers)  # before parts are made
    with tempfile.TemporaryDirectory() as folder:
        data, counts = args.data, args.parts or [1, 10, 35]
        if args.generate:
            data, counts = Path(folder), args.parts or sorted({1, args.generate})
            make_parts(data, args.generate)
        print(f"{usable_cores()} usable CPU cores")
        print(
            f"{'parts':>6} {'pictures':>9} {'processes':>10} {'seconds':>8} {'pictures/s':>11}"
            f" {'pure decode/s':>14} {'ratio':>6} {'peak MB':>8}"
        )
        rows = []
        for count in counts:
            row = measure(data, count, args.size, args.workers)
            rows.append(row)
            print(
                f"{row.parts:>6,} {row.pictures:>9,} {row.processes:>10} {row.seconds:>8.1f}"
                f" {row.pictures / row.seconds:>11,.0f} {row.pictures / row.pure_seconds:>14,.0f}"
                f" {row.ratio:>6.2f} {row.peak_bytes / 2**20:>8.0f}",
                flush=True,
            )
    last = rows[-1]
    verdict = "met" if last.ratio >= TARGET else "missed"
    print(
        f"the target of {TARGET:.0%} of pure decoding is {verdict} at {last.parts} parts: "
        f"{last.ratio:.0%}"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        _prepare_here(*sys.argv[2:])
    else:
        sys.exit(run_command(main))
