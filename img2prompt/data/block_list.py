"""The block list of words unsuitable for a class, and a mask for free text.

`blocked_words.txt` beside this module was written for this project. `WordVectors.hiding` keeps its
words out of every answer; `mask` hides them in texts that come from a person or a file.
"""

import unicodedata
from collections.abc import Container
from pathlib import Path

from img2prompt.data.text import WORD

BLOCK_LIST = Path(__file__).with_name("blocked_words.txt")
MASK = "•••"


def _read(path: Path) -> frozenset[str]:
    lines = (line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines())
    return frozenset(line for line in lines if line)


BLOCKED_WORDS = _read(BLOCK_LIST)


def mask(text: str, hidden: Container[str]) -> str:
    """A text with every hidden word replaced by "•••".

    Words are split as `text.words` does, so a hidden word is found in any case and between
    punctuation and underscores, but not inside a longer word ("Sussex"). Invisible characters in a
    word (soft hyphens, zero-width spaces) are ignored.

    Args:
        text: any text, for example a prompt.
        hidden: words as `text.words` gives them, lower case.

    Returns:
        The text unchanged where nothing is hidden, else in Unicode's NFKC form.

    >>> mask("A NUDE_study, Sussex", {"nude", "sex"})
    'A •••_study, Sussex'
    """
    normal = unicodedata.normalize("NFKC", text)
    places = [at for at, letter in enumerate(normal) if unicodedata.category(letter) != "Cf"]
    seen = "".join(normal[at] for at in places)
    parts, end = [], 0
    for found in WORD.finditer(seen):
        start, stop = places[found.start()], places[found.end() - 1] + 1
        # An invisible character may be inside a word or between two: both readings count. Lower
        # case can split a word ("İ" becomes two characters), so it comes before the splitting.
        read = found[0].lower() + " " + normal[start:stop].lower()
        if any(word in hidden for word in WORD.findall(read)):
            parts += [normal[end:start], MASK]
            end = stop
    return "".join([*parts, normal[end:]]) if parts else text
