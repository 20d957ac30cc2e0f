"""The names of a data set's parts, and errors about files with names that are almost right.

The metadata refers to pictures by the number of their part. So a name that is not exactly a part's
(`part-000001 (1).zip`, `part-1.zip`) is refused: its pictures would miss the NSFW filter, or be
counted twice.
"""

import re
from pathlib import Path

from img2prompt.core.errors import UserError

STEM = re.compile(r"part-(\d{6})", re.ASCII)
# Names that downloads and people give a part: `Part-1.ZIP`, `part-000001-copy.zip`,
# `part-000001.zip.part`, `part-000001.zip.crdownload`, `Copy of part-000001.zip`.
_MEANT = re.compile(r"(.*\W)?part[\W_]*\d.*\.zip(\W.*)?", re.IGNORECASE | re.DOTALL)
_UNPACKED = re.compile(r"part-\d{6}(\.zip)?", re.ASCII)
_PICTURES = (".png", ".webp", ".jpg", ".jpeg")


def stem_of(number: int) -> str:
    """7 → `part-000007`."""
    return f"part-{number:06d}"


def number_of(stem: str) -> int:
    """`part-000007` → 7.

    Raises:
        UserError: not the name of a part, such as a copy's "part-000007 (1)".
    """
    found = STEM.fullmatch(stem)
    if not found:
        raise UserError("data.no_part_name", name=stem)
    return int(found[1])


def zips_in(folder: Path) -> list[Path]:
    """The zips of parts that lie in a folder, in order; none where there is no such folder.

    Raises:
        UserError: a file that is meant to be a part has another name, or a part lies there
            unpacked.
    """
    if not folder.is_dir():
        return []
    seen = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    zips = [
        path
        for path in seen
        if path.suffix == ".zip" and STEM.fullmatch(path.stem) and not path.is_dir()
    ]
    for path in seen:
        if path not in zips and not path.is_dir() and _MEANT.fullmatch(path.name):
            raise UserError("data.unknown_part_file", path=path)
    _check_unpacked(seen, {path.stem for path in zips})
    return zips


def _check_unpacked(seen: list[Path], zipped: set[str]) -> None:
    """Raise where a part lies among these files unpacked, without its zip beside it."""
    for path in seen:
        stem = path.name.removesuffix(".zip") if path.is_dir() else path.stem
        folder = path.is_dir() and _UNPACKED.fullmatch(path.name)
        table = path.suffix == ".json" and STEM.fullmatch(path.stem)
        if (folder or table) and stem not in zipped:
            key = "data.unpacked_folder" if folder else "data.unpacked_table"
            zipped_path = path.with_name(f"{stem}.zip")
            raise UserError(key, path=path, name=path.name, zip=zipped_path)
    if not zipped and (picture := next(filter(_is_picture, seen), None)):
        raise UserError("data.loose_pictures", folder=picture.parent, picture=picture.name)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in _PICTURES and path.is_file()
