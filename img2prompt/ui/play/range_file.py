"""A file on a server, read by range requests within a budget of bytes and until a deadline."""

import io
import time
from typing import Any, Literal

from huggingface_hub import get_session
from huggingface_hub.errors import HfHubHTTPError

AHEAD = 2**16  # bytes read at least: a small read costs a request like a big one


class RangeError(OSError):
    """A range did not come.

    Attributes:
        reason: `late`: not before the deadline; `whole`: the server sends whole files only;
            `damaged`: of another length, or beyond the budget.
    """

    def __init__(self, reason: Literal["late", "whole", "damaged"]) -> None:
        super().__init__(reason)
        self.reason = reason


class RangeFile(io.RawIOBase):
    """A file on a server, read by range requests, its last and its latest block kept.

    `huggingface_hub.HfFileSystem` tries for 20 seconds, reads answers of any length for any time
    and lists the folder of 2,000 parts first; a class would wait, and memory has no limit.

    Args:
        url: of the file, without further redirection.
        size: in bytes.
        budget: bytes that may be asked for, all together.
        deadline: by `time.monotonic`.
        timeout: seconds without an answer.

    Raises:
        RangeError: see there.
        HTTPError, OSError: the server refuses, or cannot be reached.
    """

    def __init__(self, url: str, size: int, budget: int, deadline: float, timeout: float) -> None:
        self._url = url
        self._size = size
        self._left = budget
        self._deadline = deadline
        self._timeout = timeout
        self._at = 0
        # What is where lies at the end of zip and parquet files alike.
        start = max(0, size - 2 * AHEAD)
        self._blocks = [(start, self._fetch(start, size))] * 2

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = (0, self._at, self._size)[whence] + offset
        if self._at < 0:
            raise OSError("seek before the start of the file")
        return self._at

    def readinto(self, buffer: Any) -> int:
        view, start = memoryview(buffer).cast("B"), self._at
        end = min(self._size, start + len(view))
        if start >= end:
            return 0
        data = b""
        for at, block in self._blocks:
            if at <= start < at + len(block):
                data = block[start - at : end - at]
        rest = start + len(data)
        if rest < end:
            block = self._fetch(rest, min(self._size, max(end, rest + AHEAD)))
            self._blocks[1] = (rest, block)
            data += block[: end - rest]
        view[: len(data)] = data
        self._at = start + len(data)
        return len(data)

    def _fetch(self, start: int, end: int) -> bytes:
        self._left -= end - start
        if self._left < 0:
            raise RangeError("damaged")
        if start == end:
            return b""
        headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
        data = bytearray()
        with get_session().stream(
            "GET", self._url, headers=headers, timeout=self._timeout
        ) as answer:
            if answer.status_code >= 400:
                raise HfHubHTTPError("refused", response=answer)
            if answer.status_code != 206:
                raise RangeError("whole")
            for chunk in answer.iter_raw():
                data += chunk
                if time.monotonic() > self._deadline:
                    raise RangeError("late")
                if len(data) > end - start:
                    break
        if len(data) != end - start:
            raise RangeError("damaged")
        return bytes(data)
