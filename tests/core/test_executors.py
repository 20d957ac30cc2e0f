"""Executors: order, few tasks ahead, errors with their traceback, processes that are killed."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import pytest

from img2prompt.core.errors import UserError
from img2prompt.core.executors import AHEAD, Inline, in_order, local, usable_cores, workers_of


def slow_first(number: int) -> tuple[int, int]:
    time.sleep(0.3 if number == 0 else 0)
    return number, os.getpid()


def refuse(number: int) -> int:
    raise UserError("core.workers", workers=number)


def fail(number: int) -> int:
    return 1 // number


def die_while_sending() -> bytes:
    """More than a pipe holds; the process is killed when half of it is on its way."""

    def send_half(pipe: Connection, data: bytes) -> None:
        if len(data) > 1_000:  # not the length, which comes before
            os.write(pipe.fileno(), bytes(data[: len(data) // 2]))
            os.kill(os.getpid(), signal.SIGKILL)
        os.write(pipe.fileno(), data)

    Connection._send = send_half
    return bytes(60_000)


def test_answers_come_in_order_and_few_tasks_wait() -> None:
    asked = 0

    def tasks() -> Iterator[tuple[int]]:
        nonlocal asked
        for number in range(30):
            asked += 1
            yield (number,)

    with local(2) as executor:
        assert workers_of(executor) == 2
        processes = set()
        for number, (answer, process) in enumerate(in_order(executor, slow_first, tasks())):
            assert answer == number and asked - number <= 2 + AHEAD + 2
            processes.add(process)
    assert len(processes) == 2 and os.getpid() not in processes


def test_one_worker_or_one_task_is_this_process() -> None:
    assert isinstance(local(1), Inline)
    for workers, tasks in ((1, 3), (2, 1)):
        with local(workers) as executor:
            answers = list(
                in_order(executor, slow_first, ((number + 1,) for number in range(tasks)))
            )
        assert answers == [(number + 1, os.getpid()) for number in range(tasks)]
    with local() as executor:
        assert workers_of(executor) == usable_cores()


def test_errors_of_a_process_come_back_whole() -> None:
    with local(2) as executor:
        with pytest.raises(UserError, match="must be 1 or more, not 7"):
            executor.submit(refuse, 7).result()
        with pytest.raises(ZeroDivisionError) as caught:
            executor.submit(fail, 0).result()
        assert "in fail" in caught.value.__notes__[0]
        assert executor.submit(fail, 1).result() == 1  # it works on


class OddError(Exception):
    """Made otherwise than it is pickled."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def fail_oddly() -> None:
    raise OddError(1, 2)


def unpicklable() -> object:
    return lambda: 1


class Lost:
    """Nobody can unpickle it."""

    def __reduce__(self) -> tuple:
        return int, ("no number",)


@pytest.mark.parametrize(
    ("task", "arguments", "told", "note"),
    [
        (unpicklable, (), "A task's function cannot be pickled: .*<lambda>", ""),
        (fail_oddly, (), "A task's OddError cannot be pickled", "OddError: 1 and 2"),
        (fail, (Lost(),), "invalid literal for int", "_answer"),
    ],
)
def test_what_cannot_travel_is_told_and_the_process_works_on(
    task: Callable, arguments: tuple, told: str, note: str
) -> None:
    """Not as a worker that was killed."""
    with local(2) as executor:
        with pytest.raises((TypeError, ValueError), match=told) as caught:
            executor.submit(task, *arguments).result()
        assert note in "".join(getattr(caught.value, "__notes__", ()))
        assert executor.submit(fail, 1).result() == 1


def test_a_process_that_is_killed_while_it_answers_is_told() -> None:
    # The standard library's pool would wait for the other half for ever.
    with pytest.raises(UserError, match="was killed, perhaps for want of memory"), local(2) as two:
        two.submit(die_while_sending).result()


def test_a_process_that_starts_while_the_run_ends_does_not_stay() -> None:
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), local(2) as executor:
        executor.submit(time.sleep, 60)  # its process is only starting
        raise KeyboardInterrupt
    assert time.monotonic() - began < 30
