"""One random picture of DiffusionDB with its prompt, read from the hub by range requests.

A part of DiffusionDB (Wang et al. 2022, arXiv 2210.14896, CC0) is a zip of about 800 MB. One
picture needs its end (where everything lies), its JSON of prompts and one member: about 1.5 MB.
`metadata.parquet` tells which pictures are safe to show: four of its thirteen columns, of the row
groups that can hold the part, are read once and kept.
"""

import contextlib
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
from huggingface_hub import get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, HTTPError

from img2prompt.core.errors import UserError
from img2prompt.core.hub import MAIN, condition
from img2prompt.core.printable import encodable
from img2prompt.core.transfers import LoginPageError, SlowError, TooMuchError, limited
from img2prompt.data import images, text
from img2prompt.data.block_list import BLOCKED_WORDS
from img2prompt.data.diffusiondb import IMAGE_SUFFIXES, READ_ERRORS, REPOSITORY
from img2prompt.data.parquet import PARQUET_ERRORS
from img2prompt.ui.play.range_file import RangeError, RangeFile

METADATA = "metadata.parquet"
PARTS = range(1, 2001)  # of the 2M set

# Stricter than the 0.5 of training: here the pictures are shown to a class. A picture that its
# authors blurred has 2.0.
MAX_IMAGE_NSFW = 0.2
MAX_PROMPT_NSFW = 0.1

TIMEOUT = 8.0  # seconds without an answer, as good as no network for a class that waits
DEADLINE = 60.0  # seconds for one picture, the first one's ratings and waiting for them included
REST = 30.0  # seconds without asking a hub that could not be reached: a class asks all at once
MAX_PICTURE_BYTES = 16 * 2**20  # over the wire for one picture, all of the part together
MAX_JSON_BYTES = 8 * 2**20  # a thousand prompts have less than one
# Of four columns in the row groups of one part. In the worst case one group holds all two million
# rows: 2 to 8 MB a column.
MAX_METADATA_BYTES = 48 * 2**20
# Of one answer. The whole files are larger, and the hub says so; only ranges of them are asked for.
MAX_ANSWER_BYTES = 2**44
MAX_METADATA_ROWS = 20_000_000
COLUMNS = ("part_id", "seed", "image_nsfw", "prompt_nsfw")


# What a refusal (`hub.condition`) is to a class; any other: the data set is gone.
_REFUSALS = {"busy": "busy", "status": "fault", "moved": "fault"}
_RANGES = {"late": "offline", "whole": "fault", "damaged": "damaged"}


class PairError(UserError):
    """No picture was drawn.

    Attributes:
        reason: `offline`, `busy` (too many requests from here), `gone` (the data set is elsewhere),
            `fault` (of its server), `portal` (a login page came), `damaged`, `unrated` (no ratings
            to go by), or `none` (no picture of the part is fit for a class).
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"play.error.{reason}")
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
        # The branch is asked for once; the commit it names then holds for all further reads.
        self._revision = MAIN
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
        except TooMuchError:
            raise PairError("damaged") from None
        except RangeError as error:
            raise PairError(_RANGES[error.reason]) from None
        except HfHubHTTPError as error:
            raise PairError(_REFUSALS.get(condition(error) or "", "gone")) from None
        except (SlowError, HTTPError, OSError):
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
            raise PairError("offline")
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
        except (HfHubHTTPError, RangeError):
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
        with (
            _damage_told(*READ_ERRORS),
            zipfile.ZipFile(self._open(name, MAX_PICTURE_BYTES, deadline)) as archive,
        ):
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
        try:
            images.open_image(data)  # a page must not get what we would not open ourselves
        except images.ImageError:
            raise PairError("damaged") from None
        return RandomPair(chosen, data, prompts[chosen][0], part, self._revision)

    def _open(self, name: str, budget: int, deadline: float) -> RangeFile:
        where = {"revision": self._revision, "endpoint": self._endpoint}
        url = hf_hub_url(REPOSITORY, name, repo_type="dataset", **where)
        # No token: the data is public, and who plays is nobody's business.
        found = get_hf_file_metadata(url, token=False, timeout=TIMEOUT, endpoint=self._endpoint)
        if found.size is None:
            raise PairError("fault")
        self._revision = found.commit_hash or self._revision
        return RangeFile(found.location, found.size, budget, deadline, TIMEOUT)


class _Ratings:
    """Which pictures of a part may be shown, by their seed.

    A column of two million names would be 60 MB; a picture's part and seed are in its JSON too.
    Where pictures of a part share a seed, the worst rating counts for all of them.
    """

    def __init__(self, open_file: Callable[[str, int, float], RangeFile]) -> None:
        self._open = open_file
        self._layout: pq.FileMetaData | None = None
        self._groups: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def of_part(self, part: int, deadline: float) -> dict[int, bool]:
        """Seed → whether all pictures of the part with this seed may be shown."""
        file = None
        if self._layout is None:
            file = self._parquet(deadline)
            self._layout = file.metadata
        layout = self._layout
        groups = [i for i in range(layout.num_row_groups) if _may_hold(layout.row_group(i), part)]
        missing = [i for i in groups if i not in self._groups]
        if missing:
            _check([layout.row_group(i) for i in missing])
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
        with _damage_told(*PARQUET_ERRORS):
            file = pq.ParquetFile(self._open(METADATA, MAX_METADATA_BYTES, deadline))
        if not set(COLUMNS) <= set(file.schema_arrow.names):
            raise PairError("unrated")
        return file


def _check(groups: list[pq.RowGroupMetaData]) -> None:
    """Raise unless the groups are small enough to read: no rating, no picture."""
    size = sum(_column(group, name).total_compressed_size for group in groups for name in COLUMNS)
    if size > MAX_METADATA_BYTES or sum(group.num_rows for group in groups) > MAX_METADATA_ROWS:
        raise PairError("unrated")


def _may_hold(group: pq.RowGroupMetaData, part: int) -> bool:
    """False only where the group's statistics rule the part out; many files have none."""
    found = _column(group, "part_id").statistics
    return found is None or not found.has_min_max or bool(found.min <= part <= found.max)


def _column(group: pq.RowGroupMetaData, name: str) -> pq.ColumnChunkMetaData:
    columns = (group.column(i) for i in range(group.num_columns))
    return next(column for column in columns if column.path_in_schema == name)


def _ratings_of(file: pq.ParquetFile, group: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Part, seed and whether it may be shown, of every row of a group: (n,) each."""
    with _damage_told(*PARQUET_ERRORS, TypeError, ValueError):
        table = file.read_row_group(group, columns=list(COLUMNS))
        part, seed, picture, prompt = (table.column(name).to_numpy() for name in COLUMNS)
        # A missing rating is NaN, which is below nothing.
        good = (picture <= MAX_IMAGE_NSFW) & (prompt <= MAX_PROMPT_NSFW)
        return part.astype(np.int32), seed.astype(np.int64), good


@contextlib.contextmanager
def _damage_told(*errors: type[Exception]) -> Iterator[None]:
    """Tell errors of reading as damage; those of the network stay what they are."""
    try:
        yield
    except (UserError, HTTPError, RangeError):
        raise
    except errors:
        raise PairError("damaged") from None


def _prompts(
    archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], name: str
) -> dict[str, tuple[str, int]]:
    """File name → (prompt, seed), of the part's JSON."""
    others = (other for other in entries if other.endswith(".json"))
    chosen = name if name in entries else next(others, "")
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
