"""The memory of a process and all that it started, looked at again and again."""

import contextlib
import threading
import time
from collections.abc import Iterator

import psutil

SECONDS = 0.2  # between looks: adding up the pages of a process takes milliseconds


def memory(pid: int) -> int:
    """Bytes that a process and all it started hold, pages they share counted once (PSS).

    Where the system does not tell (outside Linux), resident sets are added up instead.
    """
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(psutil.Error):  # ended meanwhile, or another user's
                told = process.memory_full_info()
                total += getattr(told, "pss", told.rss)
    return total


@contextlib.contextmanager
def watched(pid: int) -> Iterator[list[tuple[float, int]]]:
    """Look at a process's `memory` while the block runs: (seconds since 1970, bytes), growing."""
    looks = [(time.time(), memory(pid))]
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(SECONDS):
            looks.append((time.time(), memory(pid)))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield looks
    finally:
        ended.set()
        thread.join()
