"""How fast answering is and how much memory the page takes: for docs/hosting.md.

    python scripts/dev/benchmark_serving.py

First each model in this process, from a file's bytes to the words: single pictures, batches, and
occlusion maps. Then `python app.py` in a process of its own: its start, pictures over HTTP, and its
memory. Uses the shipped example pictures. Two minutes; nothing else should run meanwhile.
"""

import argparse
import functools
import itertools
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil

from img2prompt.core.cli import run_command
from img2prompt.core.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 300
MB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--assets", type=Path, help="folder with a manifest; unset, the shipped")
    parser.add_argument("--repeats", type=int, default=60, help="single pictures a preset")
    parser.add_argument("--pictures", type=int, default=50, help="answered over HTTP")
    args = parser.parse_args()
    pictures = sorted((ROOT / "assets" / "examples").glob("*.jpg"))
    if min(args.repeats, args.pictures) < 1 or not pictures:
        raise UserError("scripts.serving_benchmark_arguments")
    print(f"{os.cpu_count()} CPU cores, {len(pictures)} pictures")
    measure_page(pictures, args.pictures, args.assets)
    measure_models(pictures, args.repeats, args.assets)


def measure_models(paths: list[Path], repeats: int, folder: Path | None) -> None:
    """Print a line a preset: milliseconds a picture, pictures a second, occlusion maps."""
    from img2prompt.inference.artifacts import Assets
    from img2prompt.inference.occlusion import occlusion_maps

    assets = Assets(folder)
    vectors = assets.embedding()
    pictures = [path.read_bytes() for path in paths]
    print(
        f"{'preset':<10} {'file MB':>8} {'p50 ms':>8} {'p95 ms':>8} {'pictures/s in batches':>22}"
        f" {'maps of ten words, ms':>22}"
    )
    for preset in assets.presets:
        predictor = assets.predictor(preset, vectors)
        told = [word.word for word in predictor(pictures[0]).words]  # compiles
        times = [
            1000 * _seconds(predictor, picture)
            for picture in itertools.islice(itertools.cycle(pictures), repeats)
        ]
        batch = pictures * max(1, 96 // len(pictures))
        list(predictor.predict_many(batch))
        rate = len(batch) / _seconds(list, predictor.predict_many(batch))
        occlusion_maps(predictor, pictures[0], told)
        maps = sum(_seconds(occlusion_maps, predictor, one, told) for one in pictures)
        half, most = np.percentile(times, [50, 95])
        print(
            f"{preset:<10} {assets.files[f'{preset}.keras']['size'] / MB:>8.1f} {half:>8.1f} "
            f"{most:>8.1f} {rate:>22.1f} {1000 * maps / len(pictures):>22.0f}"
        )


def measure_page(pictures: list[Path], count: int, folder: Path | None) -> None:
    """Print how long the page takes to start and to answer, and how much memory it holds."""
    from gradio_client import Client, handle_file

    from img2prompt.inference.artifacts import Assets

    started = time.perf_counter()
    with _page(folder) as (app, address):
        _wait(address, app, started + START_SECONDS)
        print(f"first page after {time.perf_counter() - started:.1f} s")
        memory = psutil.Process(app.pid).memory_info
        print(f"memory after the start: {memory().rss / MB:.0f} MB")
        client = Client(address, verbose=False)
        ask = functools.partial(client.predict, api_name="/predict")
        times = [
            1000 * _seconds(ask, handle_file(file))
            for file in itertools.islice(itertools.cycle(pictures), count)
        ]
        half, most = np.percentile(times, [50, 95])
        print(f"a picture over HTTP takes {half:.0f} ms (median of {count}), {most:.0f} ms (95 %)")
        print(f"memory after {count} pictures: {memory().rss / MB:.0f} MB")
        presets = Assets(folder).presets
        for preset in presets:
            ask(handle_file(pictures[0]), preset)
        print(f"memory with all {len(presets)} models in use: {memory().rss / MB:.0f} MB")


@contextmanager
def _page(folder: Path | None) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`app.py` on a free port and its address; its peak of memory is printed at its end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(ROOT / "app.py"), "--port", str(port)]
    command += [] if folder is None else ["--assets", str(folder)]
    quiet = subprocess.DEVNULL
    app = subprocess.Popen(command, cwd=ROOT, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        yield app, f"http://127.0.0.1:{port}/"
    finally:
        app.send_signal(signal.SIGINT)
        app.wait(timeout=60)
        most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # of the largest child
        print(f"memory at most: {most / 1024:.0f} MB")


def _seconds(call: Callable[..., object], *arguments: object) -> float:
    started = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - started


def _wait(address: str, app: subprocess.Popen[bytes], deadline: float) -> None:
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            pass
        if app.poll() is not None or time.perf_counter() > deadline:
            raise UserError("scripts.page_did_not_start")
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(run_command(main))
