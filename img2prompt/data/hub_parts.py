"""DiffusionDB's parts on the Hugging Face hub, downloaded as they are needed, all of one commit.

`HubParts` hands `prepare.py` one part after another, as `diffusiondb.LocalParts` does for a folder.
"""

import errno
import functools
import os
import re
import shutil
import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import (
    HfApi,
    constants,
    get_session,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import WeakFileLock, build_hf_headers, hf_raise_for_status

from img2prompt.core.errors import SharedFailureError, UserError
from img2prompt.core.executors import AHEAD, usable_cores
from img2prompt.core.files import (
    is_web_page,
    sha256_of,
    told_when_full,
)
from img2prompt.core.hub import MAIN, Asked, dataset_commit, retried, shortened, understood
from img2prompt.core.transfers import limited, login_page
from img2prompt.data.diffusiondb import READ_ERRORS, REPOSITORY
from img2prompt.data.download_plan import DownloadPlan, by_disk, shard_bytes
from img2prompt.data.part_names import stem_of
from img2prompt.data.shards import is_whole
from img2prompt.data.subsets import DRAW, select

RAW_FOLDER = ".hub"  # in the prepared folder: zips that go as soon as their shards are whole
PATHS_AT_ONCE = 500  # of one request for sizes
ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")  # git's SHA-1, or the SHA-256 of a large file


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

    Attributes:
        stems, origin: as for `diffusiondb.Parts`.
        revision: the commit, 40 hexadecimal digits.

    Raises:
        UserError: as `select`; no such revision or part, no access, or no network.
    """

    def __init__(
        self,
        subset: str = "2m",
        parts: str | None = None,
        revision: str = MAIN,
        cache_dir: str | os.PathLike[str] | None = None,
        raw_dir: str | os.PathLike[str] | None = None,
        endpoint: str | None = None,
    ) -> None:
        selection = select(subset, parts)
        if not selection.numbers:
            raise UserError("data.prompts_alone", subset=subset)
        self._cache = Path(cache_dir or constants.HF_HUB_CACHE).expanduser()
        self._raw = Path(raw_dir) if raw_dir else None
        self._endpoint = endpoint
        self._collection = selection.collection
        self._lock = threading.Lock()
        self._failed: SharedFailureError | None = None
        self.revision = dataset_commit(REPOSITORY, revision, endpoint)
        self._paths = {stem_of(n): selection.collection.path(n) for n in selection.numbers}
        self.stems = list(self._paths)
        self.origin: dict[str, Any] = {
            "repository": REPOSITORY,
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

    def release_prepared(self, out: str | os.PathLike[str]) -> None:
        """Release the parts whose shards are in `out`: a killed run could not."""
        for stem in self.stems:
            if is_whole(out, stem):
                self.release(stem)

    def close(self) -> None:
        """All is prepared: delete `raw_dir`."""
        if self._raw is not None:
            shutil.rmtree(self._raw, ignore_errors=True)

    def identity(self, stem: str) -> str:
        return f"{REPOSITORY}@{self.revision}:{self._paths[stem]}"

    def metadata(self) -> Path:
        """The set's table of all pictures; kept in `cache_dir`.

        Raises:
            UserError: as `fetch`.
        """
        return self._fetch(self._files[self._collection.metadata], self._cache)

    def plan(
        self,
        out: str | os.PathLike[str],
        size: int,
        bandwidth: float = 100.0,
        workers: int | None = None,
    ) -> DownloadPlan:
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
        return DownloadPlan(
            repository=REPOSITORY,
            revision=self.revision,
            parts=len(self.stems),
            prepared=len(self.stems) - len(todo),
            download=sum(missing.values()),
            cached=sum(here.values()),
            shards=needs[0][1],
            raw=needs[1][1],
            keep=self._raw is None,
            bandwidth=bandwidth,
            disks=by_disk(needs),
        )

    def _list(self, paths: list[str]) -> dict[str, _File]:
        api = HfApi(endpoint=self._endpoint)
        files: dict[str, _File] = {}
        for start in range(0, len(paths), PATHS_AT_ONCE):
            some = paths[start : start + PATHS_AT_ONCE]
            with understood(REPOSITORY):
                infos = retried(
                    functools.partial(
                        api.get_paths_info,
                        REPOSITORY,
                        some,
                        revision=self.revision,
                        repo_type="dataset",
                    ),
                    self._asked(UserError("hub.list_of_parts")),
                    tries=2,
                )
                for info in infos:
                    if isinstance(info, RepoFile):
                        etag = info.lfs.sha256 if info.lfs else info.blob_id
                        # The etag becomes a file's name here.
                        if not ETAG.fullmatch(etag) or type(info.size) is not int or info.size < 0:
                            raise ValueError
                        files[info.path] = _File(info.path, info.size, etag)
        missing = [path for path in paths if path not in files]
        if missing:
            raise UserError(
                "hub.missing_parts" if len(missing) > 1 else "hub.missing_part",
                name=missing[0],
                more=f"{len(missing) - 1:,}",
                repo=REPOSITORY,
                revision=shortened(self.revision),
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
                raise SharedFailureError(self._failed.key, **self._failed.values)
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
        store = folder / repo_folder_name(repo_id=REPOSITORY, repo_type="dataset")
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
                    retried(
                        lambda: hf_hub_download(
                            REPOSITORY,
                            file.path,
                            repo_type="dataset",
                            revision=self.revision,
                            cache_dir=folder,
                            endpoint=self._endpoint,
                        ),
                        self._asked(file.path),
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
            retried(
                lambda: self._transfer(file, partial),
                self._asked(file.path),
                progress=lambda: _size(partial),
            )
            if len(file.etag) != 64 or sha256_of(partial) == file.etag:
                break
            with partial.open("rb") as handle:
                page = is_web_page(handle.read(1_024))
            partial.unlink()
            if page:
                raise login_page(self._asked(file.path).file)
            if last:
                raise UserError("hub.damaged_twice", name=file.path)
        if file.path.endswith(".zip"):
            try:
                zipfile.ZipFile(partial).close()
            except READ_ERRORS:
                partial.unlink()
                raise UserError("hub.no_zip", name=self._asked(file.path).file) from None

    def _transfer(self, file: _File, partial: Path) -> None:
        url = hf_hub_url(
            REPOSITORY,
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
            with (
                limited(self._asked(file.path).file, file.size, start),
                get_session().stream("GET", url, headers=headers, timeout=timeout) as answer,
            ):
                hf_raise_for_status(answer)
                # 200 to a range: the server sends the whole file, so what is here goes.
                with partial.open("ab" if answer.status_code == 206 else "wb") as handle:
                    for chunk in answer.iter_raw():
                        handle.write(chunk)
        if _size(partial) != file.size:
            raise _CutOffError

    def _asked(self, name: str | UserError) -> Asked:
        return Asked(REPOSITORY, name, self.revision, "data")

    def _cached(self, path: str, folder: Path) -> Path | None:
        found = try_to_load_from_cache(
            REPOSITORY, path, cache_dir=folder, revision=self.revision, repo_type="dataset"
        )
        return Path(found) if isinstance(found, str) else None

    def _here(self, file: _File, folder: Path) -> int:
        """How many bytes of a file need no download."""
        places = dict.fromkeys((folder, self._cache))
        if any(self._cached(file.path, place) for place in places):
            return file.size
        store = folder / repo_folder_name(repo_id=REPOSITORY, repo_type="dataset")
        return min(file.size, _size(_partial(store / "blobs" / file.etag)))


class _CutOffError(OSError):
    """A transfer ended before its file did."""


def _partial(blob: Path) -> Path:
    return blob.with_name(f"{blob.name}.incomplete")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
