"""Executors for independent tasks: this process, processes of this machine, or a Dask cluster.

Each is a `concurrent.futures.Executor`. Left by an exception, Ctrl-C included, it ends what is
still running; a process of this machine also ends when the run that started it is killed.
"""

import itertools
import logging
import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from img2prompt.core.errors import UserError

AHEAD = 2  # tasks or zips that wait for a worker, so that no worker waits for them
FETCHES = 4  # downloads at once
ANSWER_SECONDS = 20  # how long a cluster's scheduler may take to answer
RETRIES = 2  # of a task that failed on a cluster; a lost worker's tasks move on in any case
T = TypeVar("T")


def usable_cores() -> int:
    """How many cores this process may use; containers and `taskset` allow fewer than there are."""
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def local(workers: int | None = None) -> Executor:
    """An executor of so many processes, None for all usable cores; of 1, this process itself.

    Raises:
        UserError: fewer than one.
    """
    check_workers(workers)
    workers = workers or usable_cores()
    return Inline() if workers == 1 else Processes(workers)


def check_workers(workers: int | None) -> None:
    """Raise :class:`UserError` unless a number of workers is None or at least 1."""
    if workers is not None and workers < 1:
        raise UserError("core.workers", workers=workers)


def workers_of(executor: Executor) -> int:
    """How many tasks an executor runs at once; of one that does not tell, the usable cores."""
    return getattr(executor, "workers", None) or usable_cores()


class Inline(Executor):
    """Runs each task in this process, while it is submitted."""

    workers = 1

    def submit(self, function: Callable[..., T], /, *arguments: Any, **named: Any) -> "Future[T]":
        future: Future[T] = Future()
        try:
            future.set_result(function(*arguments, **named))
        except Exception as error:  # raised again by whoever asks for the result
            future.set_exception(error)
        return future


class _Outside(Executor):
    """Work outside this process, which ends when the executor is left by an exception."""

    def _end(self, error: BaseException | None) -> UserError | None:
        """Stop; the error to raise in place of `error`, if any."""
        raise NotImplementedError

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if instead := self._end(error):
            raise instead from None


class Processes(_Outside):
    """Processes of this machine, a thread of this one beside each; they start with the first tasks.

    Not the standard library's `ProcessPoolExecutor`: where one of its processes is killed while it
    sends more than a pipe holds (64 kB), that waits for the rest for ever.

    A script that uses it needs its `if __name__ == "__main__":`, and what it imports outside of
    that, every process imports too.

    Args:
        workers: how many, at least 1.

    Raises:
        UserError: when it is left because one of the processes was killed.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._threads = ThreadPoolExecutor(workers)
        self._own = threading.local()  # a thread's `pipe` to its process
        self._started: list[tuple[BaseProcess, Connection]] = []
        self._ended = False

    def submit(self, function: Callable[..., T], /, *arguments: Any, **named: Any) -> "Future[T]":
        return self._threads.submit(self._ask, function, arguments, named)

    def _ask(
        self, function: Callable[..., T], arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> T:
        if not hasattr(self._own, "pipe"):
            self._own.pipe = self._start()
        try:
            self._own.pipe.send((function, arguments, named))
            error, result = self._own.pipe.recv()
        except (EOFError, OSError):  # the process is gone
            raise BrokenExecutor from None
        if error is not None:
            raise error
        return result

    def _start(self) -> Connection:
        # Not forked: threads of pyarrow and of the downloads would be copied in any state.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=True)
        # Ctrl-C is for the run, which then ends its processes. They inherit this thread's mask from
        # their first line on; the tracker's start would lift it.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        process.start()
        theirs.close()  # so that reading ends when the process does
        self._started.append((process, ours))
        if self._ended:  # while this one started: `_end` may not have met it
            process.kill()
        return ours

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)
        for process, pipe in self._started:
            pipe.close()
            process.join()

    def _end(self, error: BaseException | None) -> UserError | None:
        if error is not None:
            self._ended = True
            for process, _ in self._started:
                process.kill()  # whatever it works at, nobody waits for it any more
        self.shutdown(cancel_futures=True)
        return UserError("core.worker_killed") if isinstance(error, BrokenExecutor) else None


class Cluster(_Outside):
    """The workers of a Dask cluster, wherever they run.

    Tasks of a worker that is lost go to another one. Every worker needs this package installed and
    the folders that tasks name at the same paths. The number of workers may change at any time.

    Args:
        address: of the scheduler, such as `tcp://scheduler:8786`.

    Raises:
        UserError: Dask is not installed or the scheduler does not answer; when it is left, because
            the scheduler or too many workers were lost.
    """

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client, KilledWorker
        except ImportError:
            raise UserError("core.no_dask") from None

        class Tried(Client):
            def __del__(self) -> None:
                # Never connected, it would wait for itself and end in a traceback.
                if self.status != "connecting":
                    super().__del__()

        # What matters comes as an exception and is told in a sentence; its log has tracebacks.
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
        try:
            self._client = Tried(address, timeout=ANSWER_SECONDS, set_as_default=False)
        except (OSError, ValueError, TypeError):  # TypeError: TLS without its certificates
            raise UserError("core.no_scheduler", address=address) from None
        self._executor = self._client.get_executor(retries=RETRIES)
        self._killed = KilledWorker

    @property
    def workers(self) -> int:
        """How many tasks run at once now; 1 while no worker has come yet."""
        return max(1, sum(self._client.nthreads().values()))

    def submit(self, function: Callable[..., T], /, *arguments: Any, **named: Any) -> "Future[T]":
        future: Future[T] = self._executor.submit(function, *arguments, **named)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._executor.shutdown(wait=wait and not cancel_futures)
        self._client.close()

    def _end(self, error: BaseException | None) -> UserError | None:
        self.shutdown(cancel_futures=error is not None)
        if isinstance(error, self._killed):
            return UserError("core.cluster_killed")
        return UserError("core.scheduler_gone") if isinstance(error, CancelledError) else None


def in_order(
    executor: Executor, function: Callable[..., T], arguments: Iterable[tuple[Any, ...]]
) -> Iterator[T]:
    """Call a function with each tuple of arguments; yield what it returns, in order.

    Few tuples are read ahead. A single task is not worth a process, so it is done here.
    """
    arguments = iter(arguments)
    first = list(itertools.islice(arguments, 2))
    arguments = itertools.chain(first, arguments)
    if isinstance(executor, Inline) or (len(first) < 2 and isinstance(executor, Processes)):
        yield from itertools.starmap(function, arguments)
        return
    asked: deque[Future[T]] = deque()
    for some in arguments:
        asked.append(executor.submit(function, *some))
        if len(asked) > workers_of(executor) + AHEAD:
            yield asked.popleft().result()
    while asked:
        yield asked.popleft().result()


def fetch_and_work(
    executor: Executor,
    names: Iterable[str],
    fetch: Callable[[str], Path],
    task_of: Callable[[str, Path], tuple[Any, ...]],
) -> Iterator[tuple[str, Any]]:
    """Fetch files and work on them; at most `workers_of(executor)` + `AHEAD` are here at once.

    Args:
        executor: of this module.
        names: in the order of the work.
        fetch: name → its file; called in threads of this process.
        task_of: name, file → what to submit: a function and its arguments.

    Yields:
        Each name and what its task returned, or the `UserError` that it or the fetch raised, as
        they end. The next file is fetched only when the caller comes back for more.
    """
    waiting = deque(names)
    fetching: dict[Future[Any], str] = {}
    working: dict[Future[Any], str] = {}
    gate = threading.Semaphore(FETCHES)
    while waiting or fetching or working:
        room = workers_of(executor) + AHEAD - len(fetching) - len(working)
        for _ in range(min(room, len(waiting))):
            name = waiting.popleft()
            fetching[_in_thread(gate, fetch, name)] = name
        done, _ = wait([*fetching, *working], return_when=FIRST_COMPLETED)
        for future in done:
            is_file = future in fetching
            name = fetching.pop(future) if is_file else working.pop(future)
            try:
                result = future.result()
            except UserError as error:
                yield name, error
                continue
            if is_file:
                working[executor.submit(*task_of(name, result))] = name
            else:
                yield name, result


def _in_thread(gate: threading.Semaphore, function: Callable[..., T], name: str) -> "Future[T]":
    """Run in a daemon thread: an executor's own would hold up Ctrl-C until its download ended."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            with gate:
                result = function(name)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, daemon=True).start()
    return future


def _serve(pipe: Connection) -> None:
    """In a process: run the tasks that come, until the run has closed the pipe or has ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    while True:
        try:
            task = pipe.recv_bytes()
        except EOFError:
            return
        pipe.send_bytes(_answer(task))


def _answer(task: bytes) -> bytes:
    """Run a pickled task; the pickled pair (error, None) or (None, result)."""
    answer: tuple[Exception | None, Any]
    try:
        function, arguments, named = ForkingPickler.loads(task)
        answer = None, function(*arguments, **named)
    except Exception as error:
        error.add_note(traceback.format_exc())  # a traceback does not travel
        answer = error, None
    try:
        message = bytes(ForkingPickler.dumps(answer))
        if answer[0] is not None:
            ForkingPickler.loads(message)  # an error may be made otherwise than it is pickled
    except Exception as error:
        kind, notes = type(answer[0] or answer[1]), getattr(answer[0], "__notes__", ())
        lost = TypeError(f"A task's {kind.__qualname__} cannot be pickled: {error}")
        for note in notes:
            lost.add_note(note)
        message = bytes(ForkingPickler.dumps((lost, None)))
    return message
