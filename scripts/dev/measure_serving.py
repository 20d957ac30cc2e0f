"""How long the page takes to start and how much memory it wants: the figures of docs/hosting.md.

    python scripts/dev/measure_serving.py

Starts `python app.py` under `/usr/bin/time -v` (`apt install time`), waits for its first page,
has it answer pictures over HTTP, and stops it. A minute; nothing else should run meanwhile.
"""

import argparse
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np

from img2prompt.core.errors import UserError, run_command

ROOT = Path(__file__).resolve().parents[2]
TIME = Path("/usr/bin/time")
START_SECONDS = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=50, help="how many are answered")
    args = parser.parse_args()
    pictures = sorted((ROOT / "assets" / "examples").glob("*.jpg"))
    if args.pictures < 1 or not pictures:
        raise UserError("Give --pictures of at least 1, and keep assets/examples/*.jpg.")
    if not TIME.is_file():
        raise UserError("This needs GNU time: apt install time.")
    from gradio_client import Client, handle_file

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}/"
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "time.txt"
        command = [str(TIME), "-v", "-o", str(report)]
        command += [sys.executable, str(ROOT / "app.py"), "--port", str(port)]
        started = time.perf_counter()
        # A session of its own, so that the interrupt below reaches the app and not us.
        app = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _wait(address, app, started + START_SECONDS)
            ready = time.perf_counter() - started
            memory = [("after the start", _resident(app.pid))]
            client = Client(address, verbose=False)
            times = []
            for picture in itertools.islice(itertools.cycle(pictures), args.pictures):
                asked = time.perf_counter()
                client.predict(handle_file(picture), api_name="/predict")
                times.append(time.perf_counter() - asked)
            memory.append((f"after {args.pictures} pictures", _resident(app.pid)))
            for preset in ("gaze", "original", "notebook"):
                client.predict(handle_file(pictures[0]), preset, api_name="/predict")
            memory.append(("with all three models in use", _resident(app.pid)))
        finally:
            os.killpg(app.pid, signal.SIGINT)  # the app ends; GNU time ignores it, and reports
            app.wait(timeout=60)
        measured = report.read_text()
    print(f"{os.cpu_count()} CPU cores")
    print(f"first page after {ready:.1f} s")
    print(
        f"a picture over HTTP takes {np.median(times) * 1000:.0f} ms (median of {len(times)}), "
        f"{np.percentile(times, 95) * 1000:.0f} ms (95 %)"
    )
    for when, kilobytes in memory:
        print(f"memory {when}: {kilobytes / 1024:.0f} MB")
    most = int(re.search(r"Maximum resident set size \(kbytes\): (\d+)", measured)[1])
    print(f"memory at most (/usr/bin/time -v): {most / 1024:.0f} MB")


def _wait(address: str, app: subprocess.Popen, deadline: float) -> None:
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5) as response:
                if response.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        if app.poll() is not None or time.perf_counter() > deadline:
            raise UserError("The page did not start; run python app.py to see why.")
        time.sleep(0.05)


def _resident(parent: int) -> int:
    """Kilobytes of memory that the app, the only child of GNU time, holds."""
    child = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()[0]
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{child}/status").read_text())[1])


if __name__ == "__main__":
    sys.exit(run_command(main))
