"""Limits on what a server may send: no more bytes than declared, no endless drip, no login page.

huggingface_hub reads an answer to its end, whatever its length. Within `limited`, its client, which
all our transfers go through, stops at a limit.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from img2prompt.core.errors import SharedFailureError, UserError
from img2prompt.core.files import format_bytes

API_BYTES = 2**24  # of one answer of the hub's API; a list of 500 parts has 0.2 MB
# A server that sends less than this in so many seconds is as good as silent, and a time limit
# between two bytes never notices. Modems of 1995 sent three times as much.
SLOW_SECONDS, SLOW_BYTES = 60.0, 2**16
_NAME = re.compile(r'(W/)?"?[0-9A-Za-z_-]*"?')  # of what becomes a file's name here


class TooMuchError(UserError):
    """A server sends, or announces, more than was declared."""


class LoginPageError(SharedFailureError):
    """A web page came in the place of a file or of the hub's answer."""


class SlowError(SharedFailureError):
    """A server sends a few bytes at a time."""


@dataclass
class _Limit:
    """The arguments of `limited`."""

    name: str | UserError
    most: int
    start: int


_LIMIT: ContextVar[_Limit | None] = ContextVar("limit", default=None)


@contextmanager
def limited(name: str | UserError, most: int, start: int = 0) -> Iterator[None]:
    """Within this context, huggingface_hub's client reads answers in this thread up to a limit.

    Args:
        name: what is fetched: a file's name, or the words of a locale.
        most: bytes of one answer.
        start: where a partial answer (206) begins; it may have that many bytes fewer.

    Raises:
        TooMuchError, LoginPageError, SlowError: while an answer is read.
    """
    prepare_client()
    mark = _LIMIT.set(_Limit(name, most, start))
    try:
        yield
    finally:
        _LIMIT.reset(mark)


def keep_quiet() -> None:
    """Let huggingface_hub tell nothing of this machine, and ask the hub for nothing to tell."""
    from huggingface_hub import constants

    # The switch for it, the variable HF_HUB_DISABLE_TELEMETRY, is read before any code of ours.
    constants.HF_HUB_DISABLE_TELEMETRY = True


def prepare_client() -> None:
    """Let `limited` watch huggingface_hub's client, and let it tell nothing of this machine."""
    from huggingface_hub import get_session

    keep_quiet()
    hooks = get_session().event_hooks
    if _ask_plainly not in hooks["request"]:
        hooks["request"].append(_ask_plainly)
        hooks["response"].append(_watch)


def login_page(name: str | UserError) -> LoginPageError:
    """The sentence for a page in the place of a file."""
    return LoginPageError("hub.login_page", name=name)


def _ask_plainly(request: Any) -> None:
    """A packed answer could become any size here."""
    if _LIMIT.get() is not None:
        request.headers["Accept-Encoding"] = "identity"


def _watch(response: Any) -> None:
    limit = _LIMIT.get()
    if limit is None:
        return
    head = response.headers
    kind = head.get("Content-Type", "").lower()
    if response.is_success and kind.startswith("text/html"):
        raise login_page(limit.name)
    if not all(_NAME.fullmatch(head.get(name, "")) for name in ("X-Repo-Commit", "X-Linked-Etag")):
        raise LoginPageError("hub.not_hub", name=limit.name)
    most = limit.most - (limit.start if response.status_code == 206 else 0)
    told = [head.get("X-Linked-Size", "")]
    if response.request.method != "HEAD" and response.is_success:
        told.append(head.get("Content-Length", ""))
        if head.get("Content-Encoding", "identity").lower() != "identity":
            raise TooMuchError("hub.packed", name=limit.name)
    for size in told:
        if size.isdecimal() and (len(size) > 18 or int(size) > most):
            raise _too_much(limit.name, most)
    response.stream = _watched(response.stream, limit.name, most)


def _watched(stream: Any, name: str | UserError, most: int) -> Any:
    # What huggingface_hub's client is made of; imported late, as that client is.
    from httpx2 import SyncByteStream

    class Watched(SyncByteStream):
        """An answer's bytes, counted and timed."""

        def __iter__(self) -> Iterator[bytes]:
            came, since, began = 0, 0, time.monotonic()
            for chunk in stream:
                came += len(chunk)
                since += len(chunk)
                if came > most:
                    raise _too_much(name, most)
                now = time.monotonic()
                if now - began > SLOW_SECONDS:
                    if since < SLOW_BYTES:
                        raise SlowError(
                            "hub.slow",
                            name=name,
                            size=format_bytes(SLOW_BYTES),
                            seconds=f"{SLOW_SECONDS:g}",
                        )
                    since, began = 0, now
                yield chunk

        def close(self) -> None:
            stream.close()

    return Watched()


def _too_much(name: str | UserError, most: int) -> TooMuchError:
    return TooMuchError("hub.too_much", name=name, most=format_bytes(most))
