"""The page's private folder: what visitors upload, who may use it, and when it goes.

Every start of the page has a folder of its own below one root folder of this user. An upload lies
there under a random name that nobody can guess, so its path works like a key. Only paths that
this server handed out are taken back, and only from the session that used them first.
"""

import asyncio
import atexit
import contextlib
import os
import secrets
import shutil
import stat
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from gradio import processing_utils
from gradio.route_utils import API_PREFIX
from gradio.utils import get_upload_folder
from gradio_client.utils import is_http_url_like

from img2prompt.core.errors import UserError
from img2prompt.ui.server.stop import at_stop

HOUR = 3600.0
MAX_AGE = HOUR  # seconds that an upload is kept
SWEEP_SECONDS = 600.0  # so an upload is gone after 70 minutes at the latest
REMEMBERED = 24 * HOUR  # seconds that a deleted upload is known, to say "no longer here"
# A class of thirty shares one address on the internet, and a batch has up to 2,000 pictures.
CLIENT_BYTES = 2 * 2**30
CLIENT_FILES = 4_000
ALL_BYTES = 8 * 2**30
ALL_FILES = 20_000
FREE_BYTES = 2**30  # stays free on the disk, whatever the limits above allow

# Where a request's scope tells whose share of the folder it uses.
VISITOR = "img2prompt.visitor"

_MINE = "uploads"  # below a start's folder: what visitors sent
_LENT = "lent"  # beside it: pictures of ours that any visitor may use
_PRIVATE = 0o700


class Refused(UserError):
    """What the server does not take in.

    Args:
        status: of the HTTP answer.
        key: of the sentence in the locales, below `gate`.
        values: for the sentence's placeholders.
    """

    def __init__(self, status: int, key: str, **values: object) -> None:
        super().__init__(f"gate.{key}", **values)
        self.status = status


@dataclass
class _Upload:
    """A file that a visitor sent: its size in bytes (None once deleted), and whose it is."""

    size: int | None
    client: str
    since: float
    session: str | None = None


@dataclass
class Delivery:
    """One request's files while they arrive.

    Attributes:
        client: who sends them.
        folder: where they are written, under a name that nobody can guess.
        size: bytes that arrived.
        files: how many files began to arrive.
        kept: the paths that the client may name, and their bytes, once all arrived.
    """

    client: str
    folder: Path
    size: int = 0
    files: int = 0
    kept: dict[str, int] = field(default_factory=dict)


class Uploads:
    """The files that visitors sent to this server since it started.

    Args:
        folder: the start's private folder; see `private_folder`.

    Attributes:
        folder: where uploads lie, each below a random folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / _MINE
        self._root = folder.parent
        self._lent = folder / _LENT
        self._files: dict[str, _Upload] = {}
        self._deliveries: list[Delivery] = []
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def delivery(self, client: str) -> Iterator[Delivery]:
        """Room for one request's files; what is not kept when the block ends is deleted.

        Args:
            client: who sends them; limits count by it.
        """
        arriving = Delivery(client, self.folder / secrets.token_urlsafe(24))
        arriving.folder.mkdir(mode=_PRIVATE, parents=True)
        with self._lock:
            self._deliveries.append(arriving)
        try:
            yield arriving
        finally:
            with self._lock:
                self._deliveries.remove(arriving)
                for path, size in arriving.kept.items():
                    self._files[path] = _Upload(size, client, time.time())
            if not arriving.kept:
                shutil.rmtree(arriving.folder, ignore_errors=True)

    def count(self, arriving: Delivery, size: int = 0, files: int = 0) -> None:
        """Count bytes and files that are about to be written for a delivery.

        Raises:
            Refused: the client's share, the folder or the disk has no room for them.
        """
        with self._lock:
            arriving.size += size
            arriving.files += files
            # (client, files, bytes) of all that is stored or on its way.
            stored = [(u.client, 1, u.size) for u in self._files.values() if u.size is not None]
            stored += [(d.client, d.files, d.size) for d in self._deliveries]
            mine = [one for one in stored if one[0] == arriving.client]
            if (
                sum(files for _, files, _ in mine) > CLIENT_FILES
                or sum(files for _, files, _ in stored) > ALL_FILES
                or sum(size for *_, size in mine) > CLIENT_BYTES
                or sum(size for *_, size in stored) > ALL_BYTES
                or shutil.disk_usage(self._root).free < FREE_BYTES
            ):
                raise Refused(507, "full")

    def keep(self, data: bytes, client: str) -> str:
        """Write a file that came within a call; its address on this server.

        Raises:
            Refused: there is no room for it.
        """
        with self.delivery(client) as arriving:
            self.count(arriving, size=len(data), files=1)
            path = arriving.folder / "file"
            path.write_bytes(data)
            arriving.kept[str(path)] = len(data)
        return f"http://localhost{API_PREFIX}/file={quote(str(path))}"

    def resolve(self, named: str, session: str | None) -> str | None:
        """The path of an upload that a call names, or None where it names anything else.

        The first session that uses an upload keeps it: another session's call is refused.

        Args:
            named: the path as this server gave it, or its address on this server. The host of an
                address doesn't count: nobody is asked.
            session: the caller's session, None for a call without one.
        """
        path = local_path(named)
        if path is None or (path not in self._files and not self._is_lent(path)):
            return None
        with self._lock:
            upload = self._files.get(path)
            if upload is None:
                return path  # one of ours
            if upload.session is None:
                upload.session = session
            return path if upload.session == session else None

    def is_foreign(self, named: str, session: str | None) -> bool:
        """Whether a text names a file in this server's folder that this session may not use."""
        path = local_path(named)
        inside = path is not None and path.startswith(f"{self._root}{os.sep}")
        return inside and self.resolve(named, session) is None

    def sweep(self, now: float | None = None) -> None:
        """Delete all files of the root folder that are older than `MAX_AGE`, of any start."""
        now = time.time() if now is None else now
        _sweep(self._root, now)
        with self._lock:
            for path, upload in list(self._files.items()):
                if now - upload.since > REMEMBERED:
                    del self._files[path]
                elif upload.size is not None and not Path(path).exists():
                    upload.size = None

    def clear(self) -> None:
        """Delete every upload of this start."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Any) -> AsyncIterator[None]:
        """Sweep at the server's start and every `SWEEP_SECONDS`; clear at its end."""

        async def keep_sweeping() -> None:
            while True:
                await asyncio.to_thread(self.sweep)
                await asyncio.sleep(SWEEP_SECONDS)

        task = asyncio.create_task(keep_sweeping())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            self.clear()

    def _is_lent(self, path: str) -> bool:
        return path.startswith(f"{self._lent}{os.sep}") and is_private_file(path)


@cache
def private_folder() -> Path:
    """This process's folder for uploads and answers, made once and removed at exit.

    Gradio is told to keep everything there. It lies below GRADIO_TEMP_DIR where that is set, else
    below the system's folder for temporary files.
    """
    root = _root()
    folder = Path(tempfile.mkdtemp(prefix="start-", dir=root))
    # Gradio reads the first at every use; its MCP server read it once, when it was imported.
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    if (mcp := sys.modules.get("gradio.mcp")) is not None:
        vars(mcp)["DEFAULT_TEMP_DIR"] = str(folder)
    # A file that another thread still writes is no reason to fail.
    remove = partial(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(remove)
    at_stop(remove)
    return folder


def lend(path: str | os.PathLike[str]) -> str:
    """A copy of one of our own pictures where every visitor may name it; its path."""
    folder = Path(get_upload_folder()) / _LENT
    copy = str(processing_utils.save_file_to_cache(path, str(folder)))
    os.utime(copy)  # its age counts from now, not from when the picture was made
    return copy


def is_private_file(path: str | os.PathLike[str]) -> bool:
    """Whether a path is that of a plain file in the private folder, without links or detours."""
    try:
        real = os.path.realpath(path)
        return (
            real == str(path)
            and real.startswith(os.path.realpath(get_upload_folder()) + os.sep)
            and stat.S_ISREG(Path(real).stat().st_mode)
        )
    except (OSError, ValueError):  # not there, a name too long, or with a null byte
        return False


def local_path(named: str) -> str | None:
    """The path in an address on this server, or the path itself; None for an address of others."""
    if not is_http_url_like(named):
        return named
    try:
        _, found, path = unquote(urlsplit(named).path).partition(f"{API_PREFIX}/file=")
    except ValueError:  # an address that is none ("http://[::1/")
        return None
    return path if found else None


def _root() -> Path:
    """The folder that all starts of this user share; nobody else may look into it."""
    parent = Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    user = os.getuid() if hasattr(os, "getuid") else ""
    root = parent.resolve() / f"img2prompt-{user}"
    root.mkdir(mode=_PRIVATE, exist_ok=True)
    found = root.lstat()
    if stat.S_ISDIR(found.st_mode) and (not hasattr(os, "getuid") or found.st_uid == os.getuid()):
        root.chmod(_PRIVATE)
        return root
    # Somebody else made a folder or a link of that name: it is not ours to use.
    return Path(tempfile.mkdtemp(prefix="img2prompt-", dir=parent))


def _sweep(root: Path, now: float) -> None:
    for folder, _, names in os.walk(root, topdown=False):  # follows no links
        for name in names:
            path = Path(folder) / name
            with contextlib.suppress(OSError):  # another start's sweep was faster
                if now - path.lstat().st_mtime > MAX_AGE:
                    path.unlink()
        with contextlib.suppress(OSError):  # not empty, or in use
            if Path(folder) != root and now - Path(folder).stat().st_mtime > MAX_AGE:
                Path(folder).rmdir()
