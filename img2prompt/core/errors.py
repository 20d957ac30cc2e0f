"""Errors that a person can act on, each one sentence in every language that we have."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

from img2prompt.core.printable import CleanStream, one_line
from img2prompt.core.texts import Texts


class UserError(ValueError):
    """Bad input, told in one sentence that says what was wrong and what to do.

    The page tells it in its language; a command prints the English sentence and exits with 2.

    Args:
        key: where the sentence stands in a locale: `ROOM.NAME` of its table `error`, or a whole key
            such as `guess.waiting`.
        values: what its placeholders are filled with. An error among them is told in the same
            language.
    """

    def __init__(self, key: str, /, **values: Any) -> None:
        super().__init__(key)  # so that a worker's error reaches the process that asked for it
        self.key, self.values = key, values

    def __str__(self) -> str:
        return self.told(_english())

    def told(self, text: Texts) -> str:
        """The sentence in a language."""
        key = next((key for key in (f"error.{self.key}", self.key) if key in text), None)
        if key is None:  # being moved into the locales: the sentence itself
            return self.key
        values = {
            name: value.told(text) if isinstance(value, UserError) else value
            for name, value in self.values.items()
        }
        return text(key, **values)


@cache
def _english() -> Texts:
    return Texts()


class SharedFailureError(UserError):
    """What every further part would meet too: no network, no access, a full disk."""


def agreed(question: str, yes: bool, interactive: bool, ask: Callable[[str], str] = input) -> bool:
    """Whether a person agrees to go on.

    Args:
        question: what is asked, with its question mark.
        yes: the answer was given beforehand, by `--yes`.
        interactive: whether somebody is there to be asked.
        ask: shows a text and returns the answer.

    Raises:
        UserError: nobody can be asked, and `yes` is not given.
    """
    if yes:
        return True
    if not interactive:
        raise UserError("core.nobody_to_ask", question=question)
    try:
        return ask(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:  # Ctrl-D
        print()
        return False


def run_command(main: Callable[[], int | None]) -> int:
    """Run a command's `main` and turn a :class:`UserError` into one line and exit code 2.

    Anything else is a fault of ours and keeps its traceback. Nothing that stands in a file's name
    or in a prompt reaches the terminal's error stream as a control character.
    """
    with contextlib.redirect_stderr(CleanStream(sys.stderr)):
        return _run(main)


def _run(main: Callable[[], int | None]) -> int:
    try:
        code = main() or 0
        sys.stdout.flush()  # a closed pipe is told of here rather than at exit
        return code
    except UserError as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader (`| head`) has what it wanted; Python would complain again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        where = f" ({one_line(os.fsdecode(error.filename))})" if error.filename is not None else ""
        print(f"error: {error.strerror}{where}; check the path and the disk.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
