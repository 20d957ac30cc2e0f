"""Waiting for what happens, however busy the machine is, and processes that are to be killed.

A wait has an end only so that a test which is broken fails instead of standing still; no test
asks that something is fast.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from paths import ROOT

PATIENCE = 900  # seconds; a machine that is busy with other things takes its time


def wait_until(true: Callable[[], object], process: subprocess.Popen | None = None) -> None:
    """Wait until something is true.

    Args:
        true: asked again and again.
        process: what it depends on; it may not end before.
    """
    ends = time.monotonic() + PATIENCE
    while not true():
        if process is not None and process.poll() is not None and not true():
            raise AssertionError(f"the process has ended: {_told(process)}")
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Whether a process lives; a dead one that nobody has buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def group_is_running(group: int) -> bool:
    """Whether a process of a group lives; a dead one that nobody has buried does not."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, own = stat.read_text().rpartition(")")[2].split()[:3]
            if int(own) == group and state != "Z":
                return True
    return not Path("/proc/self/stat").exists()


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            found += map(int, (thread / "children").read_text().split())
    return found


# `train_model.py`, which waits for the file HELD_FILE before an epoch, or before a step of it.
# It says by the file HELD_FILE.here that it waits.
_HELD_TRAINING = """
import os, runpy, sys, time
from pathlib import Path
from img2prompt.core.backend import keras
from img2prompt.training import trainer as training

epoch, step = map(int, os.environ["HELD_AT"].split(","))
go = Path(os.environ["HELD_FILE"])

class Hold(keras.callbacks.Callback):
    now = -1
    def on_epoch_begin(self, number, logs=None):
        self.now = number
    def on_train_batch_begin(self, number, logs=None):
        if (self.now, number) == (epoch, step):
            go.with_name(go.name + ".here").touch()
            while not go.exists():
                time.sleep(0.02)

real = training.train
training.train = lambda *given, **named: real(*given, callbacks=[Hold()], **named)
runpy.run_path("scripts/train_model.py", run_name="__main__")
"""
HELD_TRAINING = (sys.executable, "-c", _HELD_TRAINING)


def held_at(go: Path, epoch: int, step: int = 0) -> dict[str, str]:
    """The environment in which `HELD_TRAINING` waits before a step of an epoch for a file."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "HELD_FILE": str(go),
        "HELD_AT": f"{epoch},{step}",
    }


def is_held(go: Path) -> bool:
    """Whether a training waits for the file."""
    return go.with_name(go.name + ".here").exists()


def _told(process: subprocess.Popen) -> str:
    return (process.stderr.read() if process.stderr is not None else "")[-4000:]
