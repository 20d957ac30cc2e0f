"""Writing files so that nothing half-written is ever left under its final name."""

import contextlib
import datetime
import errno
import hashlib
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from img2prompt.errors import SharedFailureError, UserError

PROVENANCE_FILE = "made.json"  # in a run's folder: what made its model


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it over `path` when the block succeeds.

    The temporary name keeps the suffix, because Keras and numpy choose the format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


class DiskFullError(SharedFailureError):
    """A disk is full; the sentence says which, and how much is needed and free."""


@contextlib.contextmanager
def told_when_full(
    folder: str | os.PathLike, name: str, needed: Callable[[], int] | None = None
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
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFullError(
            f"The disk of {folder} is full: {name} needs "
            f"{readable(needed()) if needed else 'more'} and "
            f"{readable(shutil.disk_usage(existing_folder(folder)).free)} are free; "
            "make room and run this again, it goes on where it stopped."
        ) from None


def existing_folder(path: str | os.PathLike) -> Path:
    """`path`, or the nearest folder above it that is there."""
    path = Path(path).absolute()
    return next(place for place in (path, *path.parents) if place.is_dir())


def readable(count: int) -> str:
    """1234567 bytes → `1.2 MB`."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:,.0f} {unit}" if unit == "bytes" else f"{value:,.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write `value` as readable UTF-8 JSON, atomically."""
    with atomic_path(path) as temporary:
        text = json.dumps(value, ensure_ascii=False, indent=2)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | os.PathLike) -> Any:
    """Read a JSON file; raise :class:`UserError` where it is missing or not JSON."""
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"There is no file {path}.") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise UserError(f"{path} is not a JSON file.") from None


def sha256_of(path: str | os.PathLike) -> str:
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
