"""What every command does: ask a person, and end with one line and an exit code."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable

from img2prompt.core.errors import UserError
from img2prompt.core.printable import CleanStream, one_line

# In the environment of a command of ours and of its worker processes: no code but ours runs there.
OURS = "IMG2PROMPT_COMMAND"


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
    os.environ[OURS] = "1"
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
        told = UserError("core.system_error", reason=f"{error.strerror}{where}")
        print(f"error: {told}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
