"""DiffusionDB's two sets, their parts, and the names of subsets that people know.

Folders, numbers of parts and names are those of the dataset (Wang et al. 2022, arXiv 2210.14896)
and of its own loading script.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from img2prompt.core.errors import UserError
from img2prompt.data.diffusiondb import METADATA_NAMES
from img2prompt.data.part_names import stem_of

# Decides the parts of a `random` subset: always the same ones, on every machine.
DRAW_SEED = 0
DRAW = (
    f"the parts with the lowest BLAKE2b of 'seed:part', seed {DRAW_SEED}; a smaller draw lies "
    "within a larger one. DiffusionDB's own loader draws unseeded, other parts every time."
)


@dataclass(frozen=True)
class Collection:
    """One of the two sets: its name, how many parts it has and its table of all pictures."""

    name: str
    parts: int
    metadata: str

    def path(self, number: int) -> str:
        """Where a part lies in the repository."""
        if self.name == "2m":
            folder = "images"
        else:
            folder = f"diffusiondb-large-part-{1 if number <= 10_000 else 2}"
        return f"{folder}/{stem_of(number)}.zip"


COLLECTIONS = {
    "2m": Collection("2m", 2_000, METADATA_NAMES[0]),
    "large": Collection("large", 14_000, METADATA_NAMES[1]),
}
# Thousands of pictures, and so parts, that the loading script knows names for.
COUNTS = {"1k": 1, "5k": 5, "10k": 10, "50k": 50, "100k": 100, "500k": 500, "1m": 1_000}
LARGE_COUNTS = {**COUNTS, "5m": 5_000, "10m": 10_000}


@dataclass(frozen=True)
class Selection:
    """Chosen parts of one set: their numbers, ascending, and whether they were drawn.

    `numbers` is empty for `text_only`.
    """

    collection: Collection
    numbers: tuple[int, ...]
    drawn: bool = False


def subset_names() -> list[str]:
    """Every name `select` knows: the two sets, and the loading script's names."""
    names = []
    for name in COLLECTIONS:
        counts = COUNTS if name == "2m" else LARGE_COUNTS
        names += [name, f"{name}_all", f"{name}_text_only"]
        names += [f"{name}_{kind}_{count}" for kind in ("first", "random") for count in counts]
    return names


def select(subset: str, parts: str | None = None) -> Selection:
    """The parts that a subset means.

    Args:
        subset: `2m` or `large`, or a name of DiffusionDB's loading script: `2m_first_10k`,
            `large_random_1m`, `2m_all`, `2m_text_only` … `first_10k` is parts 1 to 10, as the name
            says; the script itself takes parts 2 to 11 for it, which `parts="2-11"` gives.
        parts: numbers such as `1-10,50,90-95`; only with `2m` and `large`.

    Raises:
        UserError: no such subset, or numbers that are none or that the set does not have.
    """
    if subset not in subset_names():
        raise UserError("data.no_subset", subset=subset)
    name, _, rest = subset.partition("_")
    collection = COLLECTIONS[name]
    every = range(1, collection.parts + 1)
    if parts is not None:
        if rest:
            raise UserError("data.parts_twice", subset=subset)
        numbers = parse_parts(parts)
        if numbers[-1] > collection.parts:
            raise UserError(
                "data.beyond_parts",
                subset=name,
                most=f"{collection.parts:,}",
                part=f"{numbers[-1]:,}",
            )
        return Selection(collection, numbers)
    if rest == "text_only":
        return Selection(collection, ())
    if rest in ("", "all"):
        return Selection(collection, tuple(every))
    kind, count = rest.split("_")
    n = LARGE_COUNTS[count]
    if kind == "first":
        return Selection(collection, tuple(every[:n]))
    return Selection(collection, tuple(sorted(sorted(every, key=_draw_key)[:n])), drawn=True)


def parse_parts(text: str) -> tuple[int, ...]:
    """Parse numbers of parts: `1-3,7` → (1, 2, 3, 7), ascending and each once.

    Raises:
        UserError: the text has another form.
    """
    numbers: set[int] = set()
    for piece in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,6})\s*(?:-\s*(\d{1,6})\s*)?", piece)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 1 <= first <= last:
            raise UserError("data.no_part_numbers", text=text)
        numbers.update(range(first, last + 1))
    return tuple(sorted(numbers))


def format_parts(numbers: Iterable[int]) -> str:
    """The inverse of `parse_parts`: (1, 2, 3, 7) → `1-3,7`."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def _draw_key(number: int) -> bytes:
    return hashlib.blake2b(f"{DRAW_SEED}:{number}".encode(), digest_size=8).digest()
