"""One random picture of DiffusionDB with its prompt, read from the hub by range requests.

A part of DiffusionDB (Wang et al. 2022, arXiv 2210.14896, CC0) is a zip of about 800 MB. One
picture needs its end (where everything lies), its JSON of prompts and one member: about 1.5 MB.
What may be shown to a class says `metadata.parquet`: four of its thirteen columns, of the row
groups that can hold the part, are read once and kept.
"""

import contextlib
import io
import json
import math
import random
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pyarrow.parquet as pq
from huggingface_hub import constants, get_hf_file_metadata, get_session, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, HTTPError

from img2prompt.core.errors import UserError
from img2prompt.core.printable import encodable
from img2prompt.core.transfers import LoginPageError, SlowError, TooMuchError, limited
from img2prompt.data import images, text
from img2prompt.data.block_list import BLOCKED_WORDS
from img2prompt.data.diffusiondb import IMAGE_SUFFIXES, PARQUET_ERRORS, READ_ERRORS, REPOSITORY

# The hub's client would also ask the hub what it may tell about this machine, and tell it; its
# own switch for that, HF_HUB_DISABLE_TELEMETRY, is read before this module is.
constants.HF_HUB_DISABLE_TELEMETRY = True

# The branch is asked for once; the commit it names then holds for all further reads of a process.
REVISION = "main"
METADATA = "metadata.parquet"
PARTS = range(1, 2001)  # of the 2M set
CREDIT = "DiffusionDB (Wang et al. 2022, arXiv 2210.14896), CC0 1.0"

# Stricter than the 0.5 of training: here the pictures are shown to a class. A picture that its
# authors blurred has 2.0.
MAX_IMAGE_NSFW = 0.2
MAX_PROMPT_NSFW = 0.1

TIMEOUT = 8.0  # seconds without an answer, as good as no network for a class that waits
DEADLINE = 60.0  # seconds for one picture, the first one's ratings and waiting for them included
REST = 30.0  # seconds without asking a hub that could not be reached: a class asks all at once
AHEAD = 2**16  # bytes read at least: a small read costs a request like a big one
MAX_PICTURE_BYTES = 16 * 2**20  # over the wire for one picture, all of the part together
MAX_JSON_BYTES = 8 * 2**20  # a thousand prompts have less than one
# Of four columns in the row groups of one part. In the worst case one group holds all two million
# rows: 2 to 8 MB a column.
MAX_METADATA_BYTES = 48 * 2**20
# Of one answer. The whole files are larger, and the hub says so; only ranges of them are asked for.
MAX_ANSWER_BYTES = 2**44
MAX_METADATA_ROWS = 20_000_000
COLUMNS = ("part_id", "seed", "image_nsfw", "prompt_nsfw")


REASONS = {
    "offline": "DiffusionDB cannot be reached: there is no network here, or it is too slow; "
    "play with the pictures that come with the page.",
    "busy": "DiffusionDB's server has had too many questions from here; wait a few minutes.",
    "gone": "DiffusionDB is not where it used to be; play with the pictures that come with the "
    "page.",
    "fault": "DiffusionDB's server has a fault; try again later.",
    "portal": "What came from DiffusionDB is a web page: is this network asking to log in?",
    "damaged": "What came from DiffusionDB is damaged; try again.",
    "unrated": "DiffusionDB's ratings cannot be read, so nobody knows which pictures may be shown; "
    "play with the pictures that come with the page.",
    "none": "This part of DiffusionDB has no picture for a class; try again.",
}


class PairError(UserError):
    """No picture was drawn; `reason` is a key of `REASONS`, the message its sentence."""

    def __init__(self, reason: str) -> None:
        super().__init__(REASONS[reason])
        self.reason = reason


@dataclass(frozen=True)
class RandomPair:
    """A picture of DiffusionDB and its prompt.

    Attributes:
        name: the picture's file name.
        data: its encoded bytes, checked and decodable.
        prompt: as its author wrote it.
        part: the number of the part it lies in.
        revision: the commit of the repository it was read from.
    """

    name: str
    data: bytes
    prompt: str
    part: int
    revision: str


class RandomPairs:
    """Draws pictures; keeps the ratings it has read. Any number of threads may draw.

    Args:
        usable: whether a prompt serves the caller, asked before anything of the picture is read.
        endpoint: of the hub; unset, the `HF_ENDPOINT` of the environment or the real one.
        parts: numbers of the parts to draw from.
        seed: unset, other pictures every time.
    """

    def __init__(
        self,
        usable: Callable[[str], bool] = bool,
        endpoint: str | None = None,
        parts: Sequence[int] = PARTS,
        seed: int | None = None,
    ) -> None:
        self._usable = usable
        self._endpoint = endpoint
        self._parts = parts
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._revision = REVISION
        self._ratings: _Ratings | None = None
        self._offline_until = -math.inf

    def draw(self) -> RandomPair:
        """One random picture whose ratings and prompt fit a class.

        Costs about 1.5 MB in seven requests. The first one also reads the ratings: up to 25 MB if
        one row group holds them all, never more than `MAX_METADATA_BYTES`.

        Raises:
            PairError: no network now or `REST` seconds ago, an answer that is none, a damaged
                part, or no picture in the part that may be shown.
        """
        deadline = time.monotonic() + DEADLINE
        try:
            return self._drawn(deadline)
        except LoginPageError:
            raise PairError("portal") from None
        except SlowError:
            raise PairError("offline") from None
        except TooMuchError:
            raise PairError("damaged") from None
        except HfHubHTTPError as error:
            raise _refused(error.response.status_code) from None
        except (HTTPError, OSError):
            raise PairError("offline") from None

    def _drawn(self, deadline: float) -> RandomPair:
        with limited("DiffusionDB", MAX_ANSWER_BYTES):
            with self._turn(), self._noting():
                part = self._random.choice(self._parts)
                rng = random.Random(self._random.random())
                if self._ratings is None:
                    self._ratings = _Ratings(self._open)
                allowed = self._ratings.of_part(part, deadline)
            with self._noting():
                return self._draw(part, allowed, rng, deadline)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """One thread at a time; none waits longer than a draw, nor to learn what is known."""
        self._check_rest()
        if not self._lock.acquire(timeout=DEADLINE):
            raise _LateError
        try:
            self._check_rest()  # who had the lock may have found out meanwhile
            yield
        finally:
            self._lock.release()

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        """Remember that the hub could not be reached."""
        try:
            yield
        except (HfHubHTTPError, _LateError):
            raise  # it was reached
        except (HTTPError, OSError):
            self._offline_until = time.monotonic() + REST
            raise

    def _check_rest(self) -> None:
        if time.monotonic() < self._offline_until:
            raise PairError("offline")

    def _draw(
        self, part: int, allowed: dict[int, bool], rng: random.Random, deadline: float
    ) -> RandomPair:
        name = f"images/part-{part:06d}.zip"
        try:
            with zipfile.ZipFile(self._open(name, MAX_PICTURE_BYTES, deadline)) as archive:
                entries = {PurePosixPath(e.filename).name: e for e in archive.infolist()}
                prompts = _prompts(archive, entries, f"part-{part:06d}.json")
                names = [
                    name
                    for name, (prompt, seed) in prompts.items()
                    if allowed.get(seed, False)
                    and PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
                    and name in entries
                    and entries[name].file_size <= MAX_PICTURE_BYTES
                    and BLOCKED_WORDS.isdisjoint(text.words(prompt))
                    and self._usable(prompt)
                ]
                if not names:
                    raise PairError("none")
                chosen = rng.choice(names)
                data = archive.read(entries[chosen])
        except (UserError, HTTPError, _LateError):
            raise
        except READ_ERRORS:
            raise PairError("damaged") from None
        try:
            images.open_image(data)  # a page must not get what we would not open ourselves
        except images.ImageError:
            raise PairError("damaged") from None
        return RandomPair(chosen, data, prompts[chosen][0], part, self._revision)

    def _open(self, name: str, budget: int, deadline: float) -> "_RangeFile":
        url = hf_hub_url(
            REPOSITORY,
            name,
            repo_type="dataset",
            revision=self._revision,
            endpoint=self._endpoint,
        )
        # No token: the data is public, and who plays is nobody's business.
        found = get_hf_file_metadata(url, token=False, timeout=TIMEOUT, endpoint=self._endpoint)
        if found.size is None:
            raise PairError("fault")
        self._revision = found.commit_hash or self._revision
        return _RangeFile(found.location, found.size, budget, deadline)


class _LateError(OSError):
    """The deadline has passed."""


class _RangeFile(io.RawIOBase):
    """A file on a server, read by range requests, its last and its latest block kept.

    Raises:
        PairError: the server sends whole files only, or more than `budget` bytes were asked for.
        HTTPError, OSError: it refuses, or cannot be reached in time.
    """

    def __init__(self, url: str, size: int, budget: int, deadline: float) -> None:
        self._url = url
        self._size = size
        self._left = budget
        self.deadline = deadline
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
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError("seek before the start of the file")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: bytearray) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int = -1) -> bytes:
        end = self._size if size is None or size < 0 else min(self._size, self._at + size)
        start = self._at
        if start >= end:
            return b""
        data = b""
        for at, block in self._blocks:
            if at <= start < at + len(block):
                data = block[start - at : end - at]
                break
        rest = start + len(data)
        if rest < end:
            block = self._fetch(rest, min(self._size, max(end, rest + AHEAD)))
            self._blocks[1] = (rest, block)
            data += block[: end - rest]
        self._at = start + len(data)
        return data

    def _fetch(self, start: int, end: int) -> bytes:
        self._left -= end - start
        if self._left < 0:
            raise PairError("damaged")
        if start == end:
            return b""
        headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
        data = bytearray()
        with get_session().stream("GET", self._url, headers=headers, timeout=TIMEOUT) as answer:
            if answer.status_code >= 400:
                raise _refused(answer.status_code)
            if answer.status_code != 206:
                raise PairError("fault")
            for chunk in answer.iter_raw():
                data += chunk
                if time.monotonic() > self.deadline:
                    raise _LateError
                if len(data) > end - start:
                    break
        if len(data) != end - start:
            raise PairError("damaged")
        return bytes(data)


class _Ratings:
    """Which pictures of a part may be shown, by their seed.

    A column of two million names would be 60 MB; a picture's part and seed are in its JSON too.
    Where pictures of a part share a seed, the worst rating counts for all of them.
    """

    def __init__(self, open_file: Callable[[str, int, float], _RangeFile]) -> None:
        self._open = open_file
        self._layout: pq.FileMetaData | None = None
        self._groups: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def of_part(self, part: int, deadline: float) -> dict[int, bool]:
        """Seed → whether all pictures of the part with this seed may be shown."""
        file = None
        if self._layout is None:
            file = self._parquet(deadline)
            self._layout = file.metadata
        groups = [i for i in range(self._layout.num_row_groups) if self._may_hold(i, part)]
        missing = [i for i in groups if i not in self._groups]
        if missing:
            self._check(missing)
            # Opened anew: the address that a server gave an hour ago no longer holds.
            file = file or self._parquet(deadline)
            for i in missing:
                self._groups[i] = _ratings_of(file, i)
        allowed: dict[int, bool] = {}
        for i in groups:
            parts, seeds, good = self._groups[i]
            mine = parts == part
            for seed, fits in zip(seeds[mine].tolist(), good[mine].tolist(), strict=True):
                allowed[seed] = allowed.get(seed, True) and fits
        return allowed

    def _parquet(self, deadline: float) -> pq.ParquetFile:
        try:
            file = pq.ParquetFile(self._open(METADATA, MAX_METADATA_BYTES, deadline))
        except (UserError, HTTPError, _LateError):
            raise
        except PARQUET_ERRORS:
            raise PairError("damaged") from None
        if not set(COLUMNS) <= set(file.schema_arrow.names):
            raise PairError("unrated")
        return file

    def _check(self, groups: list[int]) -> None:
        """Raise unless the groups are small enough to read: no rating, no picture."""
        rows = [self._layout.row_group(i) for i in groups]
        sizes = sum(_column(row, name).total_compressed_size for row in rows for name in COLUMNS)
        if sizes > MAX_METADATA_BYTES or sum(row.num_rows for row in rows) > MAX_METADATA_ROWS:
            raise PairError("unrated")

    def _may_hold(self, group: int, part: int) -> bool:
        """False only where the group's statistics rule the part out; many files have none."""
        statistics = _column(self._layout.row_group(group), "part_id").statistics
        if statistics is None or not statistics.has_min_max:
            return True
        return statistics.min <= part <= statistics.max


def _column(group: pq.RowGroupMetaData, name: str) -> pq.ColumnChunkMetaData:
    columns = (group.column(i) for i in range(group.num_columns))
    return next(column for column in columns if column.path_in_schema == name)


def _ratings_of(file: pq.ParquetFile, group: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Part, seed and whether it may be shown, of every row of a group: (n,) each."""
    try:
        table = file.read_row_group(group, columns=list(COLUMNS))
        part, seed, picture, prompt = (table.column(name).to_numpy() for name in COLUMNS)
        # A missing rating is NaN, which is below nothing.
        good = (picture <= MAX_IMAGE_NSFW) & (prompt <= MAX_PROMPT_NSFW)
        return part.astype(np.int32), seed.astype(np.int64), good
    except (UserError, HTTPError, _LateError):
        raise
    except (*PARQUET_ERRORS, TypeError, ValueError):
        raise PairError("damaged") from None


def _prompts(
    archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], name: str
) -> dict[str, tuple[str, int]]:
    """File name → (prompt, seed), of the part's JSON."""
    names = [other for other in entries if other.endswith(".json")]
    chosen = name if name in names else next(iter(names), "")
    if not chosen or entries[chosen].file_size > MAX_JSON_BYTES:
        raise zipfile.BadZipFile("no JSON of prompts")
    table = json.loads(archive.read(entries[chosen]))
    if not isinstance(table, dict):
        raise zipfile.BadZipFile("no table of prompts")
    found = {}
    for key, row in table.items():
        prompt, seed = (row.get("p"), row.get("se")) if isinstance(row, dict) else (None, None)
        if isinstance(prompt, str) and isinstance(seed, int) and prompt.strip():
            found[key] = (encodable(prompt).strip(), seed)
    return found


def _refused(status: int) -> PairError:
    if status == 429:
        return PairError("busy")
    return PairError("gone" if status in (401, 403, 404, 410) else "fault")
