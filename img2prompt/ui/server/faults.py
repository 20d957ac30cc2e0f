"""The server's log: what went wrong in which line, and nothing that a visitor sent.

An exception's message often quotes what it stumbled over: a file's name, a prompt, a header. So
the log has the exception's type and the places in the code, never its message.
"""

import logging
import sys
import threading
import traceback
import warnings
from typing import Any

import uvicorn.config

OURS = "img2prompt"


def without_values(error: BaseException) -> str:
    """An exception as a traceback without messages: types and places, causes first."""
    told = []
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        places = "".join(traceback.format_list(traceback.extract_tb(one.__traceback__)))
        told.append(f"{places}{type(one).__module__}.{type(one).__qualname__}")
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return "\nwhich led to:\n".join(reversed(told))


def log_fault(error: BaseException) -> None:
    """Write a fault of ours to the log."""
    logging.getLogger(OURS).error(
        "Traceback, without what was said, for it may quote a visitor:\n%s", without_values(error)
    )


def keep_visitors_out() -> None:
    """Let nothing that is logged in this process quote a visitor, whoever logs it.

    Our own lines are kept. Of those of libraries (uvicorn, mcp, asyncio, warnings) stay the
    level, the logger and the place in the code. It changes the whole process: for `app.py`.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter())
    logging.basicConfig(handlers=[handler], force=True)
    # uvicorn would give its loggers handlers of their own, whose lines hold messages.
    uvicorn.config.LOGGING_CONFIG["loggers"] = {}
    warnings.showwarning = _show_warning
    threading.excepthook = lambda args: log_fault(args.exc_value or args.exc_type())
    sys.unraisablehook = lambda args: log_fault(args.exc_value or args.exc_type())


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        if record.name.partition(".")[0] == OURS:
            return f"{record.levelname}: {record.getMessage()}"
        told = f"{record.levelname}: {record.name} at {record.pathname}:{record.lineno}"
        if isinstance(record.exc_info, tuple) and record.exc_info[1] is not None:
            told += f"\n{without_values(record.exc_info[1])}"
        return told


def _show_warning(*told: Any, **_: Any) -> None:
    category, filename, lineno = told[1:4]  # as `warnings.showwarning` gets them
    print(f"{category.__name__} at {filename}:{lineno}", file=sys.stderr)
