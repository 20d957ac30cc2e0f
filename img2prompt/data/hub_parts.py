"""DiffusionDB on the Hugging Face hub: its parts, downloaded as they are needed, and its prompts.

`HubParts` hands `preparation.py` one part after another, as `diffusiondb.LocalParts` does for a
folder. Everything is read at one commit.
"""

import contextlib
import errno
import os
import re
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from huggingface_hub import (
    HfApi,
    constants,
    get_session,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import (
    WeakFileLock,
    build_hf_headers,
    hf_raise_for_status,
    parse_ratelimit_headers,
)

from img2prompt.core.errors import SharedFailureError, UserError
from img2prompt.core.executors import AHEAD, usable_cores
from img2prompt.core.files import (
    atomic_path,
    existing_folder,
    is_web_page,
    readable,
    sha256_of,
    told_when_full,
)
from img2prompt.core.transfers import API_BYTES, limited, login_page
from img2prompt.data.diffusiondb import PARQUET_ERRORS, READ_ERRORS, REPOSITORY
from img2prompt.data.part_names import stem_of
from img2prompt.data.prepared_folder import check_folder, holds_shards
from img2prompt.data.shards import is_whole, origin_of
from img2prompt.data.subsets import DRAW, select

# The hub's client would also tell the hub about this machine; its own switch for that,
# HF_HUB_DISABLE_TELEMETRY, is read before this module is.
constants.HF_HUB_DISABLE_TELEMETRY = True

REVISION = "main"
RAW_FOLDER = ".hub"  # in the prepared folder: zips that go as soon as their shards are whole
PICTURES = 1_000  # of one part, at most

# Seconds before each further try, or longer if a 429 asks for that; counted anew after progress.
WAITS = (1, 2, 4, 8, 16)
LONGEST_WAIT = 310  # seconds: a window of the hub's limits, 300, and a little; longer is told
PATHS_AT_ONCE = 500  # of one request for sizes
COMMIT = re.compile(r"[0-9a-f]{7,40}")
ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")  # git's SHA-1, or the SHA-256 of a large file
BATCH = 65_536  # rows of the table of all pictures in memory at once
READ_AHEAD = 2**23  # bytes of it asked for at once
T = TypeVar("T")


def pinned_revision(out: str | os.PathLike, revision: str | None = None) -> str:
    """The revision to go on with: the commit that `out` was begun with, if it was.

    Args:
        out: the prepared folder, which may not be there yet.
        revision: what the person asked for: a branch, a commit or nothing.

    Raises:
        UserError: the shards in `out` are of another commit than was asked for, or not from the
            hub; or `out` is a file.
    """
    out = Path(out)
    check_folder(out)
    earlier = origin_of(out).get("revision")
    shards = holds_shards(out)
    if earlier is None:
        if shards:
            raise UserError(f"{out} holds shards that are not from the hub; give another --out.")
        return revision or REVISION
    if revision and COMMIT.fullmatch(revision) and not earlier.startswith(revision):
        if not shards:  # nothing of the earlier commit is there to be mixed with
            return revision
        raise UserError(
            f"{out} was begun with commit {earlier[:12]}, not {revision[:12]}; "
            "leave out --revision to go on, or give another --out."
        )
    return earlier


@dataclass(frozen=True)
class _File:
    """A file of the repository; `etag` is its SHA-256 if it is a large one."""

    path: str
    size: int
    etag: str


class HubParts:
    """Parts of DiffusionDB, downloaded when they are asked for. Any number of threads may ask.

    Files lie in the layout of the hub's own cache. A download that was cut off, by the network or
    by the end of the process, goes on where it stopped.

    Args:
        subset, parts: as for `select`.
        revision: a branch or a commit. The commit it names now holds for every file.
        cache_dir: unset, the hub's own (`HF_HOME`). What lies in it stays.
        raw_dir: where parts are downloaded to that go as soon as they are released; unset, they
            are kept in `cache_dir`. A part that `cache_dir` has is read from there.
        endpoint: of the hub; unset, the `HF_ENDPOINT` of the environment or the real one.
        repository: of another copy of DiffusionDB.

    Raises:
        UserError: as `select`; no such revision or part, no access, or no network.
    """

    def __init__(
        self,
        subset: str = "2m",
        parts: str | None = None,
        revision: str = REVISION,
        cache_dir: str | os.PathLike | None = None,
        raw_dir: str | os.PathLike | None = None,
        endpoint: str | None = None,
        repository: str = REPOSITORY,
    ) -> None:
        selection = select(subset, parts)
        if not selection.numbers:
            raise UserError(f"{subset} has prompts alone; fetch them by scripts/fetch_prompts.py.")
        self._cache = Path(cache_dir or constants.HF_HUB_CACHE).expanduser()
        self._raw = Path(raw_dir) if raw_dir else None
        self._repository = repository
        self._endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
        self._collection = selection.collection
        self._lock = threading.Lock()
        self._failed: SharedFailureError | None = None
        self.revision = resolve(revision, repository, self._endpoint)
        self._paths = {stem_of(n): selection.collection.path(n) for n in selection.numbers}
        self.stems = list(self._paths)
        self.origin: dict = {
            "repository": repository,
            "set": selection.collection.name,
            "revision": self.revision,
        }
        if selection.drawn:
            self.origin["draw"] = DRAW
        self._files = self._list([*self._paths.values(), selection.collection.metadata])

    def fetch(self, stem: str) -> Path:
        """The part's zip; downloads what of it is not here yet.

        Raises:
            UserError: it cannot be had, or what came is no zip; then it is deleted. After a
                failure that the next part would share (no network, no access, a full disk) every
                further call fails at once.
        """
        return self._fetch(self._files[self._paths[stem]], self._raw or self._cache)

    def release(self, stem: str) -> None:
        """Delete the part's zip, if it was downloaded to `raw_dir`."""
        if self._raw is None:
            return
        pointer = self._cached(self._paths[stem], self._raw)
        if pointer is not None:
            blob = pointer.resolve()
            pointer.unlink(missing_ok=True)
            blob.unlink(missing_ok=True)

    def release_prepared(self, out: str | os.PathLike) -> None:
        """Release the parts whose shards are in `out`: a killed run could not."""
        for stem in self.stems:
            if is_whole(out, stem):
                self.release(stem)

    def close(self) -> None:
        """All is prepared: delete `raw_dir`."""
        if self._raw is not None:
            shutil.rmtree(self._raw, ignore_errors=True)

    def identity(self, stem: str) -> str:
        return f"{self._repository}@{self.revision}:{self._paths[stem]}"

    def metadata(self) -> Path:
        """The set's table of all pictures; kept in `cache_dir`.

        Raises:
            UserError: as `fetch`.
        """
        return self._fetch(self._files[self._collection.metadata], self._cache)

    def plan(
        self,
        out: str | os.PathLike,
        size: int,
        bandwidth: float = 100.0,
        workers: int | None = None,
    ) -> "Plan":
        """What preparing all parts into `out` costs; asks nothing further of the hub.

        Args:
            size: side of the prepared pictures in pixels.
            bandwidth: in Mbit/s, for the hours.
            workers: as for `prepare`; each has a zip on the disk, beside those fetched ahead.
        """
        todo = [stem for stem in self.stems if not is_whole(out, stem)]
        parts = [self._files[self._paths[stem]] for stem in todo]
        raw = self._raw or self._cache
        here = {file.path: self._here(file, raw) for file in parts}
        missing = {file.path: file.size - here[file.path] for file in parts}
        needs = [(Path(out), len(todo) * shard_bytes(size))]
        if self._raw is None:
            needs.append((raw, sum(missing.values())))
        else:
            at_once = (workers or usable_cores()) + AHEAD
            needs.append((raw, sum(sorted(missing.values(), reverse=True)[:at_once])))
        table = self._files[self._collection.metadata]
        here[table.path] = self._here(table, self._cache)
        missing[table.path] = table.size - here[table.path]
        needs.append((self._cache, missing[table.path]))
        return Plan(
            repository=self._repository,
            revision=self.revision,
            parts=len(self.stems),
            prepared=len(self.stems) - len(todo),
            download=sum(missing.values()),
            cached=sum(here.values()),
            shards=needs[0][1],
            raw=needs[1][1],
            keep=self._raw is None,
            bandwidth=bandwidth,
            disks=_by_disk(needs),
        )

    def _list(self, paths: list[str]) -> dict[str, _File]:
        api = HfApi(endpoint=self._endpoint)
        files: dict[str, _File] = {}
        for start in range(0, len(paths), PATHS_AT_ONCE):
            some = paths[start : start + PATHS_AT_ONCE]
            with _understood(self._endpoint):
                infos = self._patiently(
                    lambda some=some: api.get_paths_info(
                        self._repository, some, revision=self.revision, repo_type="dataset"
                    ),
                    "the list of parts",
                    WAITS[:2],
                )
                for info in infos:
                    if getattr(info, "size", None) is not None:
                        etag = info.lfs.sha256 if info.lfs else info.blob_id
                        # The etag becomes a file's name here.
                        if not ETAG.fullmatch(etag) or type(info.size) is not int or info.size < 0:
                            raise ValueError
                        files[info.path] = _File(info.path, info.size, etag)
        missing = [path for path in paths if path not in files]
        if missing:
            more = f" and {len(missing) - 1:,} more are" if len(missing) > 1 else " is"
            raise UserError(
                f"{missing[0]}{more} not in {self._repository} at {self.revision[:12]}; "
                "choose other parts or another --revision."
            )
        return files

    def _fetch(self, file: _File, folder: Path) -> Path:
        for place in dict.fromkeys((folder, self._cache)):
            found = self._cached(file.path, place)
            if found is not None and found.stat().st_size == file.size:
                return found
            if found is not None and place == folder:  # cut short since it was checked
                found.resolve().unlink(missing_ok=True)
                found.unlink(missing_ok=True)
        with self._lock:
            if self._failed is not None:
                raise SharedFailureError(str(self._failed))
        try:
            return self._download(file, folder)
        except SharedFailureError as error:
            with self._lock:
                self._failed = self._failed or error
            raise

    def _download(self, file: _File, folder: Path) -> Path:
        # hf_hub_download gives each try a file of its own and deletes it when the try fails, so
        # what a killed process had of 800 MB would be lost. So the bytes are fetched here, to
        # where it keeps a blob; it finds that, and makes the rest of its cache's layout.
        store = folder / repo_folder_name(repo_id=self._repository, repo_type="dataset")
        blob = store / "blobs" / file.etag
        partial = _partial(blob)
        locks = folder / ".locks"
        with told_when_full(folder, file.path, lambda: file.size - _size(partial)):
            blob.parent.mkdir(parents=True, exist_ok=True)
            locks.mkdir(parents=True, exist_ok=True)
            with WeakFileLock(locks / f"{file.etag}.parts.lock"):
                if not blob.exists():
                    self._complete(file, partial)
                    os.replace(partial, blob)
                return Path(
                    self._patiently(
                        lambda: hf_hub_download(
                            self._repository,
                            file.path,
                            repo_type="dataset",
                            revision=self.revision,
                            cache_dir=folder,
                            endpoint=self._endpoint,
                        ),
                        file.path,
                    )
                )

    def _complete(self, file: _File, partial: Path) -> None:
        """Download until `partial` holds the whole file, and check it.

        A copy that resumed from bytes of before can be wrong by them, so a wrong one is fetched
        from its start once more.
        """
        for last in (False, True):
            free = shutil.disk_usage(partial.parent).free
            if free < file.size - _size(partial):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._patiently(
                lambda: self._transfer(file, partial), file.path, progress=lambda: _size(partial)
            )
            if len(file.etag) != 64 or sha256_of(partial) == file.etag:
                break
            with partial.open("rb") as handle:
                page = is_web_page(handle.read(1_024))
            partial.unlink()
            if page:
                raise login_page(f"{file.path} of {self._repository}")
            if last:
                raise UserError(
                    f"{file.path} came damaged twice (its SHA-256 is not the hub's); "
                    "the copy is deleted, run this again."
                )
        if file.path.endswith(".zip"):
            try:
                zipfile.ZipFile(partial).close()
            except READ_ERRORS:
                partial.unlink()
                raise UserError(
                    f"{file.path} of {self._repository} at {self.revision[:12]} is not a readable "
                    "zip; the copy is deleted, run this again or leave out this part."
                ) from None

    def _transfer(self, file: _File, partial: Path) -> None:
        url = hf_hub_url(
            self._repository,
            file.path,
            repo_type="dataset",
            revision=self.revision,
            endpoint=self._endpoint,
        )
        headers = build_hf_headers() | {"Accept-Encoding": "identity"}
        start = _size(partial)
        if start > file.size:
            partial.unlink()
            start = 0
        if start:
            headers["Range"] = f"bytes={start}-"
        timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
        if start < file.size or not partial.exists():
            name = f"{file.path} of {self._repository}"
            with (
                limited(name, file.size, start),
                get_session().stream("GET", url, headers=headers, timeout=timeout) as answer,
            ):
                hf_raise_for_status(answer)
                # 200 to a range: the server sends the whole file, so what is here goes.
                with partial.open("ab" if answer.status_code == 206 else "wb") as handle:
                    for chunk in answer.iter_raw():
                        handle.write(chunk)
        if _size(partial) != file.size:
            raise _CutOffError

    def _patiently(
        self,
        call: Callable[[], T],
        name: str,
        waits: Sequence[float] | None = None,
        progress: Callable[[], int] = lambda: 0,
    ) -> T:
        return _patiently(call, name, self._repository, self.revision, waits, progress)

    def _cached(self, path: str, folder: Path) -> Path | None:
        found = try_to_load_from_cache(
            self._repository, path, cache_dir=folder, revision=self.revision, repo_type="dataset"
        )
        return Path(found) if isinstance(found, str) else None

    def _here(self, file: _File, folder: Path) -> int:
        """How many bytes of a file need no download."""
        places = dict.fromkeys((folder, self._cache))
        if any(self._cached(file.path, place) for place in places):
            return file.size
        store = folder / repo_folder_name(repo_id=self._repository, repo_type="dataset")
        return min(file.size, _size(_partial(store / "blobs" / file.etag)))


@dataclass(frozen=True)
class Plan:
    """What a preparation from the hub costs; all sizes in bytes.

    Attributes:
        prepared: how many of the `parts` have their shards already.
        download, cached: of what remains, what has to come and what is here.
        shards, raw: disk space of the shards to come, and of the zips at most at once.
        disks: a folder on each disk that is written to, what it needs and what is free there.
    """

    repository: str
    revision: str
    parts: int
    prepared: int
    download: int
    cached: int
    shards: int
    raw: int
    keep: bool
    bandwidth: float
    disks: tuple[tuple[Path, int, int], ...]

    @property
    def hours(self) -> float:
        """Of the download at the given bandwidth."""
        return self.download * 8 / (self.bandwidth * 1e6) / 3600

    def lines(self) -> list[str]:
        """The plan for a person to read."""
        zips = "all zips are kept" if self.keep else "each zip goes when its shard is whole"
        return [
            f"from        {self.repository} at {self.revision}",
            f"parts       {self.parts:,}, of which {self.prepared:,} are prepared",
            f"to download {readable(self.download)}; {readable(self.cached)} are here already",
            f"time        {self.hours:.1f} hours of download at {self.bandwidth:g} Mbit/s",
            f"shards      {readable(self.shards)}",
            f"zips        {readable(self.raw)} at most at once; {zips}",
            *(
                f"disk        {readable(needed)} needed, {readable(free)} free at {folder}"
                for folder, needed, free in self.disks
            ),
        ]

    def check(self) -> None:
        """Raise UserError unless there is room."""
        for folder, needed, free in self.disks:
            if needed > free:
                raise UserError(
                    f"The disk of {folder} has {readable(free)} free and {readable(needed)} are "
                    "needed; make room, choose fewer parts or a smaller --size."
                )


def shard_bytes(size: int) -> int:
    """Of one full part's pixels at a side of `size` pixels."""
    return PICTURES * size * size * 3


def hub_prompts(
    subset: str = "2m",
    parts: str | None = None,
    revision: str = REVISION,
    columns: Sequence[str] = ("prompt",),
    repository: str = REPOSITORY,
) -> Iterator[pa.Table]:
    """Stream columns of the table of all pictures; of the file only those columns travel.

    The hub is that of `HF_ENDPOINT`.

    Args:
        subset, parts: as for `select`; the rows of other parts are left out.
        revision: a branch or a commit, resolved once.
        columns: names of the table's columns.

    Raises:
        UserError: as `select`; no such revision, file or column, no access, or no network.
    """
    # Takes seconds to import, and nothing else here needs it.
    import datasets

    # It would count every load at the hub.
    datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False
    selection = select(subset, parts)
    collection = selection.collection
    commit = resolve(revision, repository)
    some = 0 < len(selection.numbers) < collection.parts
    wanted = list(columns)
    filters = [("part_id", "in", list(selection.numbers))] if some else None

    def load() -> Iterator[pa.Table]:
        rows = datasets.load_dataset(
            "parquet",
            data_files=f"hf://datasets/{repository}@{commit}/{collection.metadata}",
            split="train",
            streaming=True,
            columns=wanted,
            filters=filters,
            # Else the reader hands over whole row groups, which may hold millions of rows.
            batch_size=BATCH,
            fragment_scan_options=ds.ParquetFragmentScanOptions(
                use_buffered_stream=True, buffer_size=READ_AHEAD, pre_buffer=False
            ),
        )
        if missing := [name for name in wanted if name not in (rows.features or wanted)]:
            raise UserError(f"{collection.metadata} has no column {', '.join(missing)}.")
        return rows.with_format("arrow").iter(batch_size=BATCH)

    try:
        yield from _patiently(load, collection.metadata, repository, commit, WAITS[:2])
    except UserError:
        raise
    except (HTTPError, FileNotFoundError, ConnectionError) as error:
        raise _told(error, collection.metadata, repository, commit) from None
    except PARQUET_ERRORS:
        raise UserError(f"{collection.metadata} of {repository} is not readable parquet.") from None


def write_prompts(
    tables: Iterable[pa.Table],
    out: str | os.PathLike,
    on_rows: Callable[[int], None] = lambda rows: None,
) -> int:
    """Write a stream of tables as one parquet file, atomically.

    Returns:
        The number of rows.

    Raises:
        UserError: no rows, or a full disk; `out` is then as it was.
    """
    rows, writer = 0, None
    with (
        told_when_full(Path(out).parent, Path(out).name),
        atomic_path(out) as temporary,
    ):
        try:
            for table in tables:
                writer = writer or pq.ParquetWriter(temporary, table.schema)
                writer.write_table(table)
                rows += len(table)
                on_rows(len(table))
        finally:
            if writer is not None:
                writer.close()
        if writer is None:
            raise UserError("There are no prompts of these parts.")
    return rows


class _CutOffError(OSError):
    """A transfer ended before its file did."""


def resolve(revision: str, repository: str = REPOSITORY, endpoint: str | None = None) -> str:
    """The commit that a branch or a shortened commit means now.

    Raises:
        UserError: no such revision, no access, or no network.
    """
    if re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    endpoint = endpoint or constants.ENDPOINT
    with _understood(endpoint):
        info = _patiently(
            lambda: HfApi(endpoint=endpoint).dataset_info(
                repository, revision=revision, timeout=30
            ),
            "the repository",
            repository,
            revision,
            WAITS[:2],
        )
    if not re.fullmatch(r"[0-9a-f]{40}", info.sha or ""):  # it becomes a folder's name here
        raise UserError(f"The hub names no commit of {repository} at {revision}.")
    return info.sha


@contextlib.contextmanager
def _understood(endpoint: str) -> Iterator[None]:
    """Tell of an answer that the hub's client does not understand, such as a login page's."""
    try:
        with limited(f"the answer of {endpoint}", API_BYTES):
            yield
    except UserError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise UserError(
            f"What answers at {endpoint} is not the hub; look at the network and at HF_ENDPOINT."
        ) from None


def _patiently(
    call: Callable[[], T],
    name: str,
    repository: str,
    revision: str,
    waits: Sequence[float] | None = None,
    progress: Callable[[], int] = lambda: 0,
) -> T:
    """`call()`, again after what may pass by itself: after each of `waits` (`WAITS`), counted anew
    whenever `progress()` has grown.

    Raises:
        UserError: it does not pass.
    """
    waits = WAITS if waits is None else waits
    done, tries = progress(), 0
    while True:
        try:
            return call()
        except (HTTPError, OSError) as error:
            wait = _wait_of(error)
            if progress() > done:
                done, tries = progress(), 0
            if wait is None or wait > LONGEST_WAIT or tries == len(waits):
                if isinstance(error, OSError) and error.errno is not None:
                    raise  # of this machine: a full disk, a folder that may not be written
                raise _told(error, name, repository, revision) from None
            time.sleep(max(wait, waits[tries]))
            tries += 1


def _wait_of(error: Exception) -> float | None:
    """Seconds to wait at least before another try; None where none would help."""
    if isinstance(error, HfHubHTTPError):
        if error.response.status_code not in (408, 429, 500, 502, 503, 504):
            return None
        if error.response.status_code == 429:
            # The hub's own header goes before the general one, as in its client.
            limit = parse_ratelimit_headers(error.response.headers)
            if limit is not None:
                return limit.reset_in_seconds + 1.0
        asked = error.response.headers.get("Retry-After", "")
        return float(asked) if asked.isdigit() else 0.0
    if isinstance(error, OfflineModeIsEnabled):
        return None
    if isinstance(error, LocalEntryNotFoundError):  # the hub's client: no answer, nothing cached
        cause = error.__cause__
        return _wait_of(cause) if isinstance(cause, HfHubHTTPError) else 0.0
    if isinstance(error, FileNotFoundError) or getattr(error, "errno", None) is not None:
        return None
    return 0.0


def _told(error: Exception, name: str, repository: str, revision: str) -> UserError:
    """What went wrong at the hub, in one sentence."""
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, HfHubHTTPError):
        error = error.__cause__
    short = revision[:12] if re.fullmatch(r"[0-9a-f]{40}", revision) else revision
    again = "run this again later, it goes on where it stopped"
    if isinstance(error, OfflineModeIsEnabled):
        return SharedFailureError("HF_HUB_OFFLINE is set, so nothing can be downloaded; unset it.")
    if isinstance(error, RevisionNotFoundError):
        return SharedFailureError(f"{repository} has no revision {short}; give another.")
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        if status in (401, 403):
            return SharedFailureError(
                f"The hub refuses {name} of {repository} ({status}): it is private, gated or "
                "not there; log in by `hf auth login` with an account that may read it."
            )
        if status in (404, 410):
            return UserError(
                f"{name} is not in {repository} at {short} ({status}); "
                "choose other parts or another --revision."
            )
        if status == 429:
            return SharedFailureError(f"The hub has had too many requests from here; {again}.")
        return SharedFailureError(f"The hub has a fault at {name} ({status}); {again}.")
    if isinstance(error, FileNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
        return UserError(f"{name} is not in {repository} at {short}; give another --revision.")
    return SharedFailureError(f"The hub cannot be reached for {name}: is there a network? {again}.")


def _partial(blob: Path) -> Path:
    return blob.with_name(f"{blob.name}.incomplete")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _by_disk(needs: list[tuple[Path, int]]) -> tuple[tuple[Path, int, int], ...]:
    disks: dict[int, list] = {}
    for folder, needed in needs:
        place = existing_folder(folder)
        entry = disks.setdefault(place.stat().st_dev, [folder, 0, shutil.disk_usage(place).free])
        entry[1] += needed
    return tuple(tuple(entry) for entry in disks.values())
