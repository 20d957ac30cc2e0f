"""Writing files so that nothing half-written is ever left under its final name.

What is being written has a hidden name beside its target, and so has a file that the writing
process keeps locked. The lock ends with the process, however that ends. So whoever comes next can
tell what a killed process left from what a living one is writing, and sweeps it away.
"""

import contextlib
import datetime
import errno
import hashlib
import json
import os
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PureWindowsPath
from typing import IO, TYPE_CHECKING, Any

from img2prompt.core.errors import SharedFailureError, UserError
from img2prompt.core.printable import excerpt

if TYPE_CHECKING:
    from pydantic import BaseModel

MAX_JSON = 2**26  # bytes of one JSON file
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
QUOTED = 80  # characters of a foreign text that a sentence quotes
PROVENANCE_FILE = "made.json"  # in a run's folder: what made its model

# Beside `.NAME.TOKEN.tmp.SUFFIX` there is this; it holds the name of the machine that writes.
_LOCK = re.compile(r"(\..*\.[0-9a-f]{16}\.tmp)\.writer")
# Some network disks keep locks to each machine. What another machine wrote is swept only when
# nobody has touched it for so long (seconds).
OTHER_MACHINES_WAIT = 24 * 3600
# Earlier versions wrote beside the target, under a name that tells the process.
_EARLIER = re.compile(r"\..*\.(\d+)\.tmp(\.\w+)?")

_swept: set[Path] = set()  # folders that this process has swept


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it over `path` when the block succeeds.

    The temporary name keeps the suffix, because Keras and numpy choose the format by it.
    """
    path = Path(path)
    with _temporary(path) as temporary:
        yield temporary
        os.replace(temporary, path)


@contextlib.contextmanager
def scratch_folder(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a new hidden folder in `folder`; it is deleted when the block ends."""
    with _temporary(Path(folder) / "scratch") as scratch:
        scratch.mkdir()
        yield scratch


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """Yield a hidden name beside `path`; what is there when the block ends is deleted.

    The first time that a process writes in a folder, it sweeps it first.
    """
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    if (place := folder.absolute()) not in _swept:
        _swept.add(place)
        sweep(folder)
    suffix = "".join(path.suffixes)  # all of them: Keras asks for `.weights.h5`
    stem, lock = path.name.removesuffix(suffix), None
    while lock is None:  # somebody may sweep it in the moment before it is locked
        base = path.with_name(f".{stem}.{secrets.token_hex(8)}.tmp")
        lock = _lock(base.with_name(base.name + ".writer"), "wb")
    temporary = base.with_name(base.name + suffix)
    try:
        lock.write(socket.gethostname().encode())
        lock.flush()
        yield temporary
    finally:
        _delete(temporary)
        with contextlib.suppress(OSError):  # a full disk has no room for the machine's name
            lock.close()
        base.with_name(base.name + ".writer").unlink(missing_ok=True)


def sweep(folder: str | os.PathLike[str], earlier_versions: bool = False) -> None:
    """Remove what killed processes left half-written in a folder, never what a living one writes.

    Args:
        folder: need not be there.
        earlier_versions: also remove the files of earlier versions, which tell only the number of
            their process. Safe where no process of another machine writes, so for a folder that
            this process has `locked`.
    """
    folder = Path(folder)
    for lock in folder.glob(".*.tmp.writer"):
        if found := _LOCK.fullmatch(lock.name):
            with contextlib.suppress(OSError):  # another user's, or swept by others meanwhile
                _sweep(lock, found[1])
    for leftover in folder.glob(".*.tmp*") if earlier_versions else ():
        found = _EARLIER.fullmatch(leftover.name)
        if found and not _is_alive(int(found[1])):
            leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder: str | os.PathLike[str], name: str) -> Iterator[None]:
    """Hold a folder for one run; where nothing was written in it, it is gone afterwards.

    Args:
        folder: made if need be.
        name: of the file in it that is locked, and deleted afterwards.

    Raises:
        UserError: another run holds it.
    """
    folder = Path(folder)
    made = [place for place in (folder, *folder.absolute().parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = _lock(folder / name, "ab")
    if lock is None:
        raise UserError("core.other_run", folder=folder)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows deletes no open file
            (folder / name).unlink(missing_ok=True)
        lock.close()
        for place in dict.fromkeys((folder, *made)):
            with contextlib.suppress(OSError):
                place.rmdir()  # only if empty


def _sweep(path: Path, name: str) -> None:
    """Remove the files that a lock's file stands for, and itself, unless it is locked."""
    belonging = [place for place in path.parent.glob(".*") if place.name.startswith(name)]
    if path.read_bytes() not in (b"", socket.gethostname().encode()):
        touched = max(place.stat().st_mtime for place in belonging)
        if time.time() - touched < OTHER_MACHINES_WAIT:
            return
    lock = _lock(path, "r+b", needed=True)
    if lock is None:
        return
    for place in belonging:
        if place != path:
            _delete(place)
    path.unlink(missing_ok=True)  # the last, so that whoever is killed here leaves it to the next
    lock.close()


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _lock(path: Path, mode: str, needed: bool = False) -> IO[bytes] | None:
    """Open a file and lock it; None where another process holds it.

    Args:
        path: the file.
        mode: how it is opened.
        needed: raise `OSError` where files cannot be locked, instead of going on without.
    """
    while True:
        file = path.open(mode)
        try:
            _lock_open(file)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                file.close()
                return None
            if needed:
                file.close()
                raise
            return file  # a file system without locks
        # Whoever held it may have deleted it between our opening and our locking.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()


def _lock_open(file: IO[bytes]) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: nothing is locked there, and so nothing is swept
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK)) from None
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return process != os.getpid()


class DiskFullError(SharedFailureError):
    """A disk is full; the sentence says which, and how much is needed and free."""


@contextlib.contextmanager
def told_when_full(
    folder: str | os.PathLike[str], name: str, needed: Callable[[], int] | None = None
) -> Iterator[None]:
    """Turn a full disk into one sentence.

    Args:
        folder: what is written to.
        name: of what is written.
        needed: how many bytes are still to be written there, if that is known; asked when it is
            full.

    Raises:
        DiskFullError: it was.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        free = format_bytes(shutil.disk_usage(existing_folder(folder)).free)
        values = {"folder": folder, "name": name, "free": free}
        if needed is None:
            raise DiskFullError("core.disk_full", **values) from None
        raise DiskFullError("core.disk_full_of", needed=format_bytes(needed()), **values) from None


def existing_folder(path: str | os.PathLike[str]) -> Path:
    """`path`, or the nearest folder above it that is there."""
    path = Path(path).absolute()
    return next(place for place in (path, *path.parents) if place.is_dir())


def format_bytes(count: int, base: int = 1000) -> str:
    """1234567 bytes → `1.2 MB`; limits of ours are powers of 2 and read best with `base` 1024."""
    value, units = float(count), ["bytes", "kB", "MB", "GB", "TB"]
    while value >= base and len(units) > 1:
        value /= base
        del units[0]
    digits = 0 if units[0] == "bytes" or (base == 1024 and value.is_integer()) else 1
    return f"{value:,.{digits}f} {units[0]}"


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as readable UTF-8 JSON, atomically."""
    with atomic_path(path) as temporary:
        text = json.dumps(value, ensure_ascii=False, indent=2)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | os.PathLike[str], form: type["BaseModel"] | None = None) -> Any:
    """Read a JSON file.

    Args:
        path: UTF-8, with or without a byte order mark, of at most `MAX_JSON` bytes.
        form: one of `forms`, that the value must have; it is returned as plain data all the same.

    Raises:
        UserError: missing, a folder, too large, not JSON (or a key twice, numbers or nesting
            beyond all use), or of another form.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_JSON + 1)
    except FileNotFoundError:
        raise UserError("core.no_file", path=path) from None
    except IsADirectoryError:
        raise UserError("core.json_folder", path=path) from None
    try:
        value = parse_json(data)
    except UserError as error:
        raise UserError("core.not_json", path=path, reason=error) from None
    if form is not None and (reason := misfit(value, form)):
        raise UserError("core.json_misfit", path=path, reason=reason)
    return value


def parse_json(data: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        UserError: it is none, or none that we read; it says why in a few words.
    """
    if len(data) > MAX_JSON:
        raise UserError("core.json_large", most=format_bytes(MAX_JSON))
    if is_web_page(data):
        raise UserError("core.web_page")
    try:
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=_without_repeats)
    except json.JSONDecodeError as error:
        key = "core.json_line" if data.strip() else "core.json_empty"
        raise UserError(key, line=error.lineno) from None
    except UnicodeDecodeError:
        raise UserError("core.json_not_utf8") from None
    except RecursionError:
        raise UserError("core.json_deep") from None
    except UserError:
        raise
    except ValueError:  # Python's limit on digits
        raise UserError("core.json_digits") from None


def nests_deeper(value: Any, most: int) -> bool:
    """Whether lists and tables of a JSON value lie deeper within each other than `most` levels.

    Not by recursion, which a deep one would stop.
    """
    level = [value]
    for _ in range(most):
        inner: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                inner += one.values()
            elif isinstance(one, list | tuple):
                inner += one
        if not inner:
            return False
        level = inner
    return True


def misfit(value: Any, form: type["BaseModel"]) -> str:
    """Where a JSON value first differs from a form, in a few words; "" where it does not."""
    from pydantic import ValidationError

    try:
        form.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = " › ".join(excerpt(str(step), QUOTED) for step in first["loc"])
        told = excerpt(first["msg"][:1].lower() + first["msg"][1:], QUOTED)
        return f"at {place}: {told}" if place else told
    return ""


def is_plain(name: str) -> bool:
    """Whether a name is a visible file's in the folder itself, on every system."""
    hidden = not name or name.startswith(".") or len(name) > 200
    return name.isprintable() and not hidden and PureWindowsPath(name).name == name


def is_web_page(data: bytes) -> bool:
    """Whether a file begins as HTML does: what a network that wants a login sends for anything."""
    head = data[:1_024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return head.startswith((b"<!doctype html", b"<html", b"<head", b"<script", b"<body", b"<!--"))


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise UserError("core.json_twice", key=excerpt(twice, QUOTED))
    return table


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The file's SHA-256 as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def provenance(command: Sequence[str]) -> dict[str, str | None]:
    """What made a file: the command, the commit it ran at and the day."""
    return {
        "made_by": shlex.join(command),
        "commit": _commit(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def _commit() -> str | None:
    folder = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None  # an installed package has no history
    return done.stdout.strip()
