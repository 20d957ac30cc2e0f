"""Processes that work part by part and never outlive the run: all cores, bounded disk.

Zips are fetched by threads of the run itself, a few ahead of the workers. A worker that loses its
run (`kill -9`) ends at once; Ctrl-C ends them all.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from img2prompt.core.errors import UserError

AHEAD = 2  # zips that wait for a worker, so that none waits for a zip
FETCHES = 4  # downloads at once


def usable_cores() -> int:
    """How many cores this process may use; containers and `taskset` allow fewer than there are."""
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def pool(workers: int) -> Iterator[Executor]:
    """An executor of so many processes; of 1, this process itself.

    Left by an exception, Ctrl-C included, it ends the workers in the midst of their work.
    """
    if workers == 1:
        yield _Inline()
        return
    others = {child.pid for child in multiprocessing.active_children()}
    executor = ProcessPoolExecutor(
        workers,
        # Not forked: threads of pyarrow and of the fetches would be copied in any state.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_end_with_parent,
    )
    try:
        yield executor
    except BaseException:
        for child in multiprocessing.active_children():
            if child.pid not in others:
                child.terminate()
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def submit(executor: Executor, function: Callable, *arguments: Any) -> Future:
    """As `executor.submit`; a process it starts for that is deaf to Ctrl-C, which is the run's."""
    if isinstance(executor, _Inline):
        return executor.submit(function, *arguments)
    # A process inherits the mask, so that it holds from its very first line.
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return executor.submit(function, *arguments)
    except BrokenProcessPool:
        raise _lost() from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)


def work(
    executor: Executor,
    workers: int,
    stems: Iterable[str],
    fetch: Callable[[str], Path],
    function: Callable[[str, Path], tuple],
) -> Iterator[tuple[str, Any]]:
    """Fetch and work through parts; at most `workers` + `AHEAD` are on the disk at once.

    Args:
        executor: of `pool`.
        workers: its processes.
        stems: names of the parts, in the order of the work.
        fetch: part → its zip; called in threads.
        function: part, zip → what to submit: a function and its arguments.

    Yields:
        Each part and what its work returned, or the `UserError` it or the fetch raised, as they
        end. The next zip is fetched only when the caller comes back for more.

    Raises:
        UserError: a worker was killed.
    """
    waiting = deque(stems)
    fetching: dict[Future, str] = {}
    working: dict[Future, str] = {}
    gate = threading.Semaphore(FETCHES)
    while waiting or fetching or working:
        while waiting and len(fetching) + len(working) < workers + AHEAD:
            stem = waiting.popleft()
            fetching[_in_thread(gate, fetch, stem)] = stem
        done, _ = wait([*fetching, *working], return_when=FIRST_COMPLETED)
        for future in done:
            is_zip = future in fetching
            stem = fetching.pop(future) if is_zip else working.pop(future)
            try:
                result = future.result()
            except BrokenProcessPool:
                raise _lost() from None
            except UserError as error:
                yield stem, error
                continue
            if is_zip:
                working[submit(executor, *function(stem, result))] = stem
            else:
                yield stem, result


class _Inline(Executor):
    """Does the work where it is submitted."""

    def submit(self, function: Callable, /, *arguments: Any, **named: Any) -> Future:
        future: Future = Future()
        try:
            future.set_result(function(*arguments, **named))
        except Exception as error:  # raised again by whoever asks for the result
            future.set_exception(error)
        return future


def _in_thread(gate: threading.Semaphore, function: Callable, *arguments: Any) -> Future:
    """Run in a daemon thread: an executor's own would hold up Ctrl-C until its download ended."""
    future: Future = Future()

    def run() -> None:
        try:
            with gate:
                result = function(*arguments)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, daemon=True).start()
    return future


def _end_with_parent() -> None:
    """In a worker: end as soon as the run has ended, however it did."""

    def watch() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _lost() -> UserError:
    return UserError(
        "A worker process was killed, perhaps for want of memory; run this again with fewer "
        "--workers, it goes on where it stopped."
    )
