"""Which pairs of a folder in DiffusionDB's layout a gallery may show, and those pairs' pictures.

Shown are natural prompts of the training split, under an allowed licence, one picture of
near-duplicate prompts; `GalleryRules` and `gallery_sources.toml` say all of it. `metadata.parquet`
is streamed, and of all that passes the `POOL` with the smallest hashes is held.
"""

import collections
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from img2prompt.core.errors import UserError
from img2prompt.core.printable import one_line
from img2prompt.data import text
from img2prompt.data.block_list import BLOCKED_WORDS, mask
from img2prompt.data.diffusiondb import LocalParts, Pair, read_part
from img2prompt.data.filters import PairFilter
from img2prompt.data.licences import allowed_licence
from img2prompt.data.parquet import check_columns, open_parquet, reading_parquet
from img2prompt.data.part_names import number_of
from img2prompt.data.shards import PrepareSettings
from img2prompt.data.splits import hash64, near_duplicate_key

SOURCES_FILE = Path(__file__).with_name("gallery_sources.toml")
MOST_PAIRS = 4_000
POOL = 25 * MOST_PAIRS  # rows held while the metadata is read
MIN_WORDS = 3  # a prompt of fewer tells too little
# Words in a row that are a phrase, if so many can describe a picture ("in the style of" is none).
PHRASE, PHRASE_CONTENT = 4, 3
MOST_OF_PHRASE = 12  # pictures whose prompts share one
LATIN_SHARE = 0.9  # of a prompt's letters: the block list cannot read other scripts
BATCH = 8_192  # rows of the metadata read at once
_OF_HUB = re.compile(r"[A-Za-z0-9-]+/(?!\.)[A-Za-z0-9._-]+")  # `owner/name` on GitHub
_COLUMNS = ("image_name", "prompt", "part_id", "image_nsfw", "prompt_nsfw")


@dataclass(frozen=True)
class GalleryRules:
    """What decides which pairs a gallery shows.

    Attributes:
        licence: the licence of all pictures where the metadata has no column `license`.
        most: how many pairs at most.
        repositories: source → `owner/name` on GitHub, of sources that are not called so.
        left_out: source → why its pictures are not shown.
    """

    licence: str | None
    most: int
    repositories: dict[str, str]
    left_out: dict[str, str]

    @classmethod
    def read(
        cls,
        path: str | os.PathLike[str] = SOURCES_FILE,
        licence: str | None = None,
        most: int = MOST_PAIRS,
    ) -> "GalleryRules":
        """The rules with the sources of a TOML file like `gallery_sources.toml`.

        Raises:
            UserError: not such a file, a licence that does not allow it, or `most` out of range.
        """
        if licence is not None and allowed_licence(licence) is None:
            raise UserError("data.licence_not_allowed", licence=licence)
        if not 1 <= most <= MOST_PAIRS:
            raise UserError("data.gallery_size", most=MOST_PAIRS, pairs=most)
        try:
            told = tomllib.loads(Path(path).read_text("utf-8"))
            left_out = {s: row["reason"] for row in told["left_out"] for s in row["sources"]}
            return cls(licence, most, dict(told["repositories"]), left_out)
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError("data.unfit_gallery_sources", path=path) from None


@dataclass(frozen=True)
class GalleryRow:
    """A pair that is to be shown.

    Attributes:
        name: the picture's file name.
        part: number of its part.
        prompt: on one line.
        source: as the metadata names it.
        licence: as `allowed_licence` names it.
        address: the source's page; "" where it has none.
    """

    name: str
    part: int
    prompt: str
    source: str
    licence: str
    address: str


def choose_pairs(
    data: str | os.PathLike[str], rules: GalleryRules
) -> tuple[list[GalleryRow], dict[str, int]]:
    """The pairs of a folder that the rules let pass, and how many each rule left out.

    In the order of their hashes; where there are too many, every source gives equally many.

    Raises:
        UserError: no metadata, or none of its rows may be shown.
    """
    path = LocalParts(data).metadata()
    if path is None:
        raise UserError("data.gallery_needs_metadata", folder=data)
    columns = check_columns(path, {"image_name": str, "prompt": str, "part_id": float})
    told = {"source": str, "license": str, "image_nsfw": float, "prompt_nsfw": float}
    check_columns(path, {name: kind for name, kind in told.items() if name in columns})
    if "license" not in columns and rules.licence is None:
        raise UserError("data.no_licences", path=path)
    counts: collections.Counter[str] = collections.Counter()
    pool: dict[int, tuple[int, GalleryRow]] = {}  # near-duplicate key → hash, row
    for row in _passing(path, columns, rules, counts):
        key, place = near_duplicate_key(row.prompt), hash64(row.name)
        if key in pool:
            counts["near-duplicate prompt"] += 1
        if key not in pool or place < pool[key][0]:
            pool[key] = (place, row)
        if len(pool) > 2 * POOL:
            pool = dict(sorted(pool.items(), key=lambda item: item[1][0])[:POOL])
    ordered = [row for _, row in sorted(pool.values(), key=lambda item: item[0])]
    chosen = list(_evenly(_without_repeats(ordered, counts), rules.most))
    if not chosen:
        raise UserError("data.no_gallery_pairs", path=path)
    return chosen, dict(counts)


def read_pairs(
    data: str | os.PathLike[str], rows: Sequence[GalleryRow]
) -> Iterator[tuple[GalleryRow, bytes]]:
    """The rows with their pictures as they lie in the parts, part by part.

    Missing ones are left out, and those that have another prompt in the part.
    """
    wanted: dict[int, dict[str, GalleryRow]] = collections.defaultdict(dict)
    for row in rows:
        wanted[row.part][row.name] = row
    parts = LocalParts(data)
    for stem in parts.stems:
        named = wanted.get(number_of(stem))
        if not named:
            continue
        for pair in read_part(parts.fetch(stem)):
            if isinstance(pair, Pair) and pair.name in named:
                row = named[pair.name]
                if one_line(pair.prompt) == row.prompt:
                    yield row, pair.data


def _passing(
    path: Path, columns: set[str], rules: GalleryRules, counts: collections.Counter[str]
) -> Iterator[GalleryRow]:
    read = [name for name in (*_COLUMNS, "source", "license") if name in columns]
    pairs = PairFilter(PrepareSettings(train_only=True, min_words=MIN_WORDS))
    nan = float("nan")
    with reading_parquet(path), open_parquet(path) as file:
        for batch in file.iter_batches(BATCH, columns=read, use_threads=False):
            for told in batch.to_pylist():
                prompt = one_line(told["prompt"] or "")
                source = one_line(told.get("source") or "diffusiondb")
                part = told["part_id"]
                licence = allowed_licence(told.get("license", rules.licence))
                if source in rules.left_out:
                    reason: str | None = f"source: {rules.left_out[source]}"
                elif not told["image_name"] or part is None or not 0 <= part < 2**31:
                    reason = "no picture named"
                elif licence is None:
                    reason = "licence unknown or not allowed"
                else:
                    scores = (told.get(name) for name in ("image_nsfw", "prompt_nsfw"))
                    reason = pairs.reason(prompt, *(nan if s is None else s for s in scores))
                    reason = reason or _unfit(prompt)
                if reason is not None:
                    counts[reason] += 1
                    continue
                assert licence is not None
                repository = rules.repositories.get(source, source if "/" in source else "")
                address = (
                    f"https://github.com/{repository}" if _OF_HUB.fullmatch(repository) else ""
                )
                name = told["image_name"]
                yield GalleryRow(name, int(part), prompt, source, licence, address)


def _unfit(prompt: str) -> str | None:
    letters = [letter for letter in prompt if letter.isalpha()]
    if sum(letter.isascii() for letter in letters) < LATIN_SHARE * len(letters):
        return "another script"
    return "block list" if mask(prompt, BLOCKED_WORDS) != prompt else None


def _without_repeats(
    rows: Iterable[GalleryRow], counts: collections.Counter[str]
) -> list[GalleryRow]:
    """The rows, of each phrase only the first `MOST_OF_PHRASE`."""
    seen: collections.Counter[tuple[str, ...]] = collections.Counter()
    kept = []
    for row in rows:
        phrases = _phrases(row.prompt)
        if any(seen[phrase] >= MOST_OF_PHRASE for phrase in phrases):
            counts["phrase of many"] += 1
            continue
        seen.update(phrases)
        kept.append(row)
    return kept


def _phrases(prompt: str) -> set[tuple[str, ...]]:
    words = text.words(prompt)
    rows = {tuple(words[at : at + PHRASE]) for at in range(len(words) - PHRASE + 1)}
    return {row for row in rows if sum(map(text.is_content_word, row)) >= PHRASE_CONTENT}


def _evenly(rows: Sequence[GalleryRow], most: int) -> Iterator[GalleryRow]:
    """At most so many rows, in order, of every source equally many while it has any."""
    rank: collections.Counter[str] = collections.Counter()
    ranked = []
    for place, row in enumerate(rows):
        ranked.append((rank[row.source], place, row))
        rank[row.source] += 1
    for _, _, row in sorted(sorted(ranked)[:most], key=lambda item: item[1]):
        yield row
