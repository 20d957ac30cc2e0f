"""Ending the page: SIGTERM and Ctrl+C close it and leave nothing behind, within five seconds."""

import os
import signal
import sys
import threading
from collections.abc import Callable

# What still runs then (a batch, a heat map) is not waited for; hosts kill after five to ten.
GRACE_SECONDS = 4.0

_last: list[Callable[[], None]] = []


class Stopped(SystemExit):
    """The page was told to end; as good an end as any."""

    def __init__(self) -> None:
        super().__init__(0)


def run_until_stopped(main: Callable[[], int]) -> int:
    """Run `main`, and end the process when SIGTERM or SIGINT says so.

    The first process of a container gets no signal that it has no handler for, so this comes
    before anything that takes time.

    Args:
        main: the program; `Stopped` is raised in it at a signal.

    Returns:
        What `main` returns, if no signal came.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    try:
        return main()
    except Stopped:
        _end()  # Python's own way waits for all threads, and takes TensorFlow apart for seconds
        raise


def at_stop(callback: Callable[[], None]) -> None:
    """Have `callback` called when a signal ends the process, where `atexit` is not reached."""
    _last.append(callback)


def _stop(*_: object) -> None:
    for again in (signal.SIGTERM, signal.SIGINT):
        signal.signal(again, signal.SIG_IGN)  # once is enough
    timer = threading.Timer(GRACE_SECONDS, _end)
    timer.daemon = True
    timer.start()
    raise Stopped


def _end() -> None:
    for callback in _last:
        callback()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
