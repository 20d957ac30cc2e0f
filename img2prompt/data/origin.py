"""Where the shards of a prepared folder come from: one folder never mixes origins or commits."""

import os
import re
from pathlib import Path
from typing import Any

from img2prompt.core.errors import UserError
from img2prompt.core.files import write_json
from img2prompt.core.hub import MAIN, SHORT
from img2prompt.data.shards import ORIGIN_FILE, origin_of

_START_OF_COMMIT = re.compile(r"[0-9a-f]{7,40}")


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
    if out.exists() and not out.is_dir():
        raise UserError("data.out_is_file", path=out)
    origin = origin_of(out)
    earlier = origin.get("revision") if isinstance(origin, dict) else None
    shards = any(out.glob("part-*.parquet"))
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


def remember_origin(out: str | os.PathLike[str], origin: dict[str, Any]) -> None:
    """Write the origin beside the shards before the first one, so a killed run goes on with it.

    Raises:
        UserError: there are shards of another origin.
    """
    out = Path(out)
    if origin_of(out) == origin:
        return
    if any(out.glob("part-*.parquet")):
        raise UserError("data.another_origin", folder=out, file=ORIGIN_FILE)
    write_json(out / ORIGIN_FILE, origin)
