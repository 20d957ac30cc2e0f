"""What the 1,000 ImageNet classes are called, and which prompts name one of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from img2prompt.data import text
from img2prompt.embedding.vectors import WordVectors

# The 1,000 classes of ILSVRC 2012 in their order (Russakovsky et al. 2015, arXiv 1409.0575), one a
# line: its synset in WordNet 3.0, its name, and behind a semicolon the kind it belongs to where a
# prompt would rather use that ("n02105505 komondor; dog"). Words in quotes count only together.
CLASS_NAMES = Path(__file__).with_name("imagenet_classes.txt")


@dataclass(frozen=True)
class ClassName:
    """The name of a class.

    A prompt names the class by its head noun, the last word of the name ("grouse" of "black
    grouse"), by the whole name in a row, or by the kind; a modifier alone ("black") names nothing.

    Attributes:
        name: in lower case; brackets tell namesakes apart and name nothing ("crane (bird)").
        kind: what a prompt would rather say, or "".
        together: the last word alone means something else ("hot dog", "traffic light"), so only
            the whole name counts.
        synset: WordNet 3.0, "n" and the eight digits of its place in the file; "" if unknown.
    """

    name: str
    kind: str = ""
    together: bool = False
    synset: str = ""

    @property
    def words(self) -> list[str]:
        """All words of the name, in order."""
        return text.words(self.name.partition("(")[0])

    @property
    def head(self) -> str | None:
        """The word that names the class alone; None where none does."""
        words = self.words
        if self.together or not text.is_content_word(words[-1]):
            return None
        return words[-1]

    def called(self, vectors: WordVectors) -> list[int]:
        """Positions in the vocabulary of the words that the class *is*: distinct, maybe none.

        Those of the whole name where the vocabulary has them all, else the head's; and the kind's.
        The words of a name in quotes mean other things, so a kind, where there is one, stands
        alone. Of a name that ends in a stop word ("milk can") the rest would be a modifier.
        """
        kind = vectors.prompt_positions(self.kind).tolist()
        if self.together and kind:
            return kind
        said = [word for word in dict.fromkeys(self.words) if word not in text.STOP_WORDS]
        if self.words[-1] not in said or not all(word in vectors for word in said):
            said = [self.head] if self.head is not None else []
        return list(dict.fromkeys(vectors.positions(said).tolist() + kind))


class NamedClasses:
    """Finds the classes that a prompt names.

    Args:
        classes: their names, in the order of a classifier's outputs.
    """

    def __init__(self, classes: Iterable[ClassName]) -> None:
        self._classes = list(classes)
        self._alone: dict[str, set[int]] = {}  # word → classes that it names
        self._whole: dict[str, list[tuple[str, int]]] = {}  # last word → whole names that end so
        for number, row in enumerate(self._classes):
            alone = text.content_words(row.kind)
            alone += [row.head] if row.head is not None else []
            for word in alone:
                self._alone.setdefault(word, set()).add(number)
            if len(row.words) > 1:
                whole = f" {' '.join(row.words)} "
                self._whole.setdefault(row.words[-1], []).append((whole, number))

    def named(self, prompt: str) -> Iterator[tuple[int, bool]]:
        """(class, whether by its whole name) of each class that a prompt names, none twice.

        The dog of a hot dog names no dog.
        """
        spoken = text.words(text.without_commands(prompt))
        held = set(spoken)
        line = f" {' '.join(spoken)} "
        ends = [pair for word in held for pair in self._whole.get(word, ())]
        whole = {number for name, number in ends if name in line}
        for number in whole:
            if self._classes[number].together:
                held.difference_update(self._classes[number].words)
        alone = {number for word in held for number in self._alone.get(word, ())}
        yield from ((number, True) for number in sorted(whole))
        yield from ((number, False) for number in sorted(alone - whole))


def read_class_names() -> list[ClassName]:
    """The names of the 1,000 ImageNet classes, in the order of a classifier's outputs."""
    rows = []
    for line in CLASS_NAMES.read_text(encoding="utf-8").splitlines():
        synset, _, called = line.partition(" ")
        name, _, kind = called.partition(";")
        together = name.startswith('"')
        rows.append(ClassName(name.strip(' "'), kind.strip(), together, synset))
    return rows
