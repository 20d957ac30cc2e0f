"""Ending the page: SIGTERM and Ctrl+C close it and leave nothing behind, within five seconds."""

import os
import signal
import sys
import threading
from types import FrameType

# What still runs then (a batch, a heat map) is not waited for; hosts kill after five to ten.
GRACE_SECONDS = 4.0


class Stopped(SystemExit):
    """The page was told to end; as good an end as any."""

    def __init__(self) -> None:
        super().__init__(0)


def stop_on_signals() -> None:
    """Let SIGTERM and SIGINT raise `Stopped` in the main thread.

    The first process of a container gets no signal that it has no handler for, so this is called
    before anything that takes time.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)


def end_soon() -> None:
    """End the process after `GRACE_SECONDS`, whatever its threads are doing."""
    timer = threading.Timer(GRACE_SECONDS, end_now)
    timer.daemon = True
    timer.start()


def end_now() -> None:
    """End the process at once.

    Python's own way waits for all threads, and then takes TensorFlow apart for seconds.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _stop(number: int, frame: FrameType | None) -> None:
    for again in (signal.SIGTERM, signal.SIGINT):
        signal.signal(again, signal.SIG_IGN)  # once is enough
    raise Stopped
