"""Who may write into a prepared folder: one run at a time, of one origin and with one filter."""

import contextlib
import dataclasses
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from img2prompt.core import files
from img2prompt.core.errors import UserError
from img2prompt.core.files import write_json
from img2prompt.core.hub import MAIN, SHORT
from img2prompt.data.shards import (
    ORIGIN_FILE,
    SETTINGS_FILE,
    PrepareSettings,
    origin_of,
    settings_of,
)

LOCK_FILE = ".prepare.lock"
_START_OF_COMMIT = re.compile(r"[0-9a-f]{7,40}")


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold a prepared folder for one run; leave none behind in which nothing was written.

    Raises:
        UserError: another run holds it, or it is a file.
    """
    check_folder(out)
    with files.locked(out, LOCK_FILE):
        yield


def check_folder(out: Path) -> None:
    """Raise :class:`UserError` where a file has the folder's name."""
    if out.exists() and not out.is_dir():
        raise UserError("data.out_is_file", path=out)


def holds_shards(out: Path) -> bool:
    """Whether a folder holds rows of any shard."""
    return any(out.glob("part-*.parquet"))


def clean(out: Path) -> None:
    """Remove what killed runs left half-written, but nothing that a living process writes."""
    files.sweep(out, earlier_versions=True)


def check_claim(out: Path, settings: PrepareSettings, origin: dict[str, Any]) -> None:
    """Check that shards in `out` were made with these settings, of this origin.

    Raises:
        UserError: they were not, or nothing tells.
    """
    if not holds_shards(out):
        return
    if not (out / SETTINGS_FILE).exists():
        raise UserError("data.no_settings", out=out, file=SETTINGS_FILE)
    if settings_of(out) != settings:
        raise UserError("data.other_settings", out=out, file=SETTINGS_FILE)
    check_origin(out, origin)


def check_origin(out: Path, origin: dict[str, Any]) -> None:
    """Raise :class:`UserError` where `out` holds shards of another origin."""
    earlier = origin_of(out)
    if holds_shards(out) and earlier != json.loads(json.dumps(origin)):
        raise UserError("data.other_origin", out=out, earlier=_told(earlier), origin=_told(origin))


def claim(out: Path, settings: PrepareSettings, origin: dict[str, Any]) -> None:
    """Write what is prepared here, unless shards and so a claim are there."""
    if holds_shards(out):
        return
    write_json(out / SETTINGS_FILE, dataclasses.asdict(settings))
    claim_origin(out, origin)


def claim_origin(out: str | os.PathLike[str], origin: dict[str, Any]) -> None:
    """Write where the parts come from before the first shard, so a killed run goes on with it.

    Raises:
        UserError: there are shards of another origin.
    """
    out = Path(out)
    check_origin(out, origin)
    if not origin:
        (out / ORIGIN_FILE).unlink(missing_ok=True)
    elif origin_of(out) != origin:
        write_json(out / ORIGIN_FILE, origin)


def pinned_revision(out: str | os.PathLike[str], revision: str | None = None) -> str:
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
            raise UserError("data.not_from_hub", folder=out)
        return revision or MAIN
    if revision and _START_OF_COMMIT.fullmatch(revision) and not earlier.startswith(revision):
        if not shards:  # nothing of the earlier commit is there to be mixed with
            return revision
        raise UserError(
            "data.another_commit", folder=out, earlier=earlier[:SHORT], asked=revision[:SHORT]
        )
    return str(earlier)


def _told(origin: dict[str, Any]) -> str | UserError:
    told = ", ".join(f"{key} {value}" for key, value in origin.items())
    return told or UserError("data.a_folder")
