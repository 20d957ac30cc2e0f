"""Where pairs come from: any folder in DiffusionDB's layout.

DiffusionDB (Wang et al. 2022, arXiv 2210.14896) keeps `images/part-000001.zip` …, each with up to
1,000 pictures and `part-000001.json`: file name → {"p": prompt, "se": seed, "c": cfg, "st": steps,
"sa": sampler}; the Large set has `diffusiondb-large-part-1/` and `-part-2/`. Beside them lies
`metadata.parquet` (or `metadata-large.parquet`).
"""

import contextlib
import json
import lzma
import os
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from img2prompt.core.errors import UserError
from img2prompt.core.printable import encodable
from img2prompt.data.images import MAX_BYTES
from img2prompt.data.part_names import STEM, zips_in

REPOSITORY = "poloclub/diffusiondb"  # on the hub
PART_FOLDERS = ("images", "diffusiondb-large-part-1", "diffusiondb-large-part-2", ".")
METADATA_NAMES = ("metadata.parquet", "metadata-large.parquet")
# What `ZipFile.read` raises on a damaged, encrypted or unsupported member.
READ_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    OSError,
    EOFError,
    OverflowError,
    RuntimeError,
    ValueError,
)
PARQUET_ERRORS = (pa.ArrowException, OSError, UnicodeDecodeError)
IMAGE_SUFFIXES = (".png", ".webp", ".jpg", ".jpeg")
READ_BYTES = 2**20  # of a parquet column, held at once
MAX_JSON_BYTES = 64 * 2**20  # a thousand prompts have less than one; a zip can claim anything

TYPES = {
    str: (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    float: (pa.types.is_floating, pa.types.is_integer, pa.types.is_null),
}


@dataclass(frozen=True)
class Pair:
    """One picture and its prompt as they lie in a part; bytes are not decoded yet."""

    name: str
    data: bytes
    prompt: str


@dataclass(frozen=True)
class Skipped:
    """A picture that cannot be paired, and why: `missing prompt`, `empty prompt`, `too large`,
    `unreadable`, `repeated name` for each of several pictures of one name, of which nobody knows
    which one was scored, or `missing picture` for a name that only the JSON has."""

    name: str
    reason: str


class Parts(Protocol):
    """Parts to prepare, wherever they lie: `LocalParts` in a folder, `hub.HubParts` on the hub.

    Attributes:
        stems: names of the parts in order, `part-000001` …
        origin: where they come from, as JSON holds it; {} for a folder. Written beside the shards,
            which never mix origins.
    """

    stems: list[str]
    origin: dict

    def fetch(self, stem: str) -> Path:
        """The part's zip on this machine; may download. Several threads may call it.

        Raises:
            UserError: it cannot be had.
        """
        ...

    def release(self, stem: str) -> None:
        """The part is prepared, or cannot be read: its zip is no longer needed."""
        ...

    def identity(self, stem: str) -> str:
        """What a shard remembers of its part, so that another part 1 does not pass for it."""
        ...

    def metadata(self) -> Path | None:
        """The parquet file of all pictures, if there is one; may download."""
        ...


class LocalParts:
    """The parts of a folder in DiffusionDB's layout.

    Raises:
        UserError: as `find_parts`.
    """

    def __init__(self, root: str | os.PathLike) -> None:
        self._root = Path(root)
        self._paths = {path.stem: path for path in find_parts(root)}
        self.stems = list(self._paths)
        self.origin: dict = {}

    def fetch(self, stem: str) -> Path:
        return self._paths[stem]

    def release(self, stem: str) -> None:
        """Nothing: a person's own files stay."""

    def identity(self, stem: str) -> str:
        return str(self._paths[stem].stat().st_size)

    def metadata(self) -> Path | None:
        return find_metadata(self._root)


def find_parts(root: str | os.PathLike) -> list[Path]:
    """The part zips below `root` in order.

    Raises:
        UserError: `root` is missing, not a folder, or holds no part; a part there has another name,
            lies there twice, or is unpacked.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"There is no folder {root}; give the folder that holds images/part-*.zip.")
    for folder in PART_FOLDERS:
        parts = zips_in(root / folder)
        if folder == "diffusiondb-large-part-1":
            parts += zips_in(root / "diffusiondb-large-part-2")
        for stem, times in Counter(path.stem for path in parts).items():
            if times > 1:
                raise UserError(f"{root} holds {stem}.zip twice; delete one of the two.")
        if parts:
            return parts
    raise UserError(f"{root} holds no images/part-*.zip; give a folder in DiffusionDB's layout.")


def find_metadata(root: str | os.PathLike) -> Path | None:
    """`metadata.parquet` or `metadata-large.parquet` below `root`, whichever fits its parts."""
    # The hub's repository holds both sets and both files; the parts that are read decide.
    first, large_first = (any((Path(root) / name).glob("part-*.zip")) for name in PART_FOLDERS[:2])
    large = large_first and not first
    for name in reversed(METADATA_NAMES) if large else METADATA_NAMES:
        path = Path(root) / name
        if path.exists():
            return path
    return None


def read_part(path: str | os.PathLike) -> Iterator[Pair | Skipped]:
    """Go through one part in the zip's order, one picture in memory at a time.

    Raises:
        UserError: the zip is damaged, holds no readable JSON of prompts, or is another part under
            this one's name.
    """
    path = Path(path)
    with _opened(path) as (archive, pictures, prompts), path.open("rb") as raw:
        seen = Counter(name for name, _ in pictures)
        for name, entry in pictures:
            if seen[name] > 1:
                yield Skipped(name, "repeated name")
            elif name not in prompts:
                yield Skipped(name, "missing prompt")
            elif not prompts[name].strip():
                yield Skipped(name, "empty prompt")
            elif entry.file_size > MAX_BYTES:
                yield Skipped(name, "too large")
            else:
                try:
                    data = _read_stored(raw, entry) or archive.read(entry)
                except READ_ERRORS:
                    yield Skipped(name, "unreadable")
                    continue
                yield Pair(name, data, prompts[name])
        for name in prompts:
            if name not in seen:
                yield Skipped(name, "missing picture")


def read_prompts(path: str | os.PathLike) -> dict[str, str]:
    """The prompts of a part's pictures, by name, without reading a picture.

    Raises:
        UserError: as `read_part`.
    """
    with _opened(Path(path)) as (_, pictures, prompts):
        seen = Counter(name for name, _ in pictures)
        return {n: prompts[n] for n in seen if seen[n] == 1 and prompts.get(n, "").strip()}


def iter_prompts(path: str | os.PathLike, batch_rows: int = 65_536) -> Iterator[tuple[str, bool]]:
    """Stream (prompt, written) from a parquet file (column `prompt`) or a text file (one a line).

    `written` is False where the pack's column `prompt_exact` says that the prompt was rebuilt
    from a template ("a dog by ARTIST") rather than written by a person.

    Raises:
        UserError: missing file, wrong column names, or not UTF-8 text.
    """
    for prompt, written, _ in iter_sourced_prompts(path, batch_rows):
        yield prompt, written


def iter_sourced_prompts(
    path: str | os.PathLike, batch_rows: int = 65_536
) -> Iterator[tuple[str, bool, str]]:
    """As `iter_prompts`, with the column `source`; "" where the file has none.

    Raises:
        UserError: as `iter_prompts`.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no file {path}; give parquet or text files of prompts.")
    if path.suffix == ".parquet":
        found = check_columns(path, {"prompt": str})
        columns = ["prompt", *(name for name in ("prompt_exact", "source") if name in found)]
        with readable(path), open_parquet(path) as file:
            for batch in file.iter_batches(batch_rows, columns=columns):
                rows = batch.to_pydict()
                n = len(rows["prompt"])
                written = rows.get("prompt_exact") or [True] * n
                sources = rows.get("source") or [""] * n
                for prompt, exact, source in zip(rows["prompt"], written, sources, strict=True):
                    if prompt:
                        yield prompt, exact is not False, source or ""
    else:
        try:
            with path.open(encoding="utf-8-sig") as lines:  # Windows editors write the mark
                for line in lines:
                    if line.strip():
                        yield line.strip(), True, ""
        except UnicodeDecodeError:
            raise UserError(f"{path} is not UTF-8 text; give one prompt a line.") from None


def open_parquet(path: Path) -> pq.ParquetFile:
    """Open a file to be read in small pieces: one row group may hold all of 14 million prompts."""
    return pq.ParquetFile(path, buffer_size=READ_BYTES, pre_buffer=False)


def check_columns(path: Path, required: dict[str, type]) -> set[str]:
    """The names of a parquet file's columns.

    Args:
        path: the file.
        required: column → `str` or `float` (any number).

    Raises:
        UserError: it is not parquet, or a required column is missing or of another type.
    """
    try:
        schema = pq.read_schema(path)
        columns = set(schema.names)
    except PARQUET_ERRORS:
        raise UserError(f"{path} is not a parquet file.") from None
    for name in sorted(columns):
        if schema.names.count(name) > 1:
            raise UserError(f"{path} has two columns {name}, and nobody knows which counts.")
    missing = [name for name in required if name not in columns]
    if missing:
        raise UserError(
            f"{path} lacks the column {', '.join(missing)}; it has {', '.join(sorted(columns))}."
        )
    for name, kind in required.items():
        found = schema.field(name).type
        plain = found.value_type if pa.types.is_dictionary(found) else found
        if not any(fits(plain) for fits in TYPES[kind]):
            wanted = "text" if kind is str else "numbers"
            raise UserError(f"The column {name} of {path} holds {found}; it must hold {wanted}.")
    return columns


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises on a damaged file into one sentence."""
    try:
        yield
    except PARQUET_ERRORS:
        raise UserError(f"{path} is damaged; download it again.") from None


def _read_stored(raw: BinaryIO, entry: zipfile.ZipInfo) -> bytes | None:
    """A member that is not compressed, if its checksum is right; else None, for zipfile to judge.

    Pictures are stored as they are, and zipfile's own way to a small one takes a twentieth of the
    time that decoding it does.
    """
    if entry.compress_type != zipfile.ZIP_STORED or not 0 <= entry.header_offset < 2**62:
        return None
    raw.seek(entry.header_offset)
    header = raw.read(30)  # its last four bytes: the lengths of name and extra field
    if len(header) < 30 or not header.startswith(b"PK\x03\x04"):
        return None
    raw.seek(sum(struct.unpack_from("<HH", header, 26)), os.SEEK_CUR)
    data = raw.read(entry.file_size)
    return data if zlib.crc32(data) == entry.CRC and len(data) == entry.file_size else None


@contextlib.contextmanager
def _opened(
    path: Path,
) -> Iterator[tuple[zipfile.ZipFile, list[tuple[str, zipfile.ZipInfo]], dict[str, str]]]:
    """A part's archive, its pictures in order, and its prompts by name."""
    try:
        archive = zipfile.ZipFile(path)
    except READ_ERRORS:
        raise UserError(f"{path.name} is not a readable zip; download it again.") from None
    with archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        prompts = _read_prompts(archive, entries, path)
        # Not pathlib, which takes a tenth of the time that decoding a small picture does.
        named = [(entry.filename.rpartition("/")[2], entry) for entry in entries]
        pictures = [(n, entry) for n, entry in named if n.lower().endswith(IMAGE_SUFFIXES)]
        yield archive, pictures, prompts


def _read_prompts(archive: zipfile.ZipFile, entries: list, path: Path) -> dict[str, str]:
    names = [
        entry.filename
        for entry in entries
        if entry.filename.endswith(".json") and entry.file_size <= MAX_JSON_BYTES
    ]
    preferred = [name for name in names if PurePosixPath(name).stem == path.stem]
    if not names:
        raise UserError(f"{path.name} holds no JSON of prompts; it is not a DiffusionDB part.")
    others = [stem for name in names if STEM.fullmatch(stem := PurePosixPath(name).stem)]
    if others and not preferred and STEM.fullmatch(path.stem):
        # The metadata would be asked for another part's pictures.
        raise UserError(
            f"{path.name} holds {others[0]}.json: it is {others[0]} under another part's name; "
            f"name it {others[0]}.zip, or delete it if that is there too."
        )
    try:
        raw = json.loads(archive.read((preferred or names)[0])).items()
    except (*READ_ERRORS, AttributeError):
        raise UserError(f"The JSON of prompts in {path.name} cannot be read.") from None
    prompts = {}
    for name, value in raw:
        prompt = value.get("p") if isinstance(value, dict) else value
        if isinstance(prompt, str):
            prompts[encodable(name.rpartition("/")[2])] = encodable(prompt)
    return prompts
