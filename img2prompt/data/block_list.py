"""Words that a class should not meet: the published block list, and a mask for free text.

The list, `blocked_words.txt` beside this module, is our own. `WordVectors.hiding` keeps its words
out of every answer; a text that a person or a file brought is shown through `mask`.
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

    Words are those that `text.words` finds, so case, punctuation and underscores around a word
    hide nothing, and a longer word that contains a hidden one ("Sussex") stays. Neither do
    characters that nobody sees, soft hyphens and zero-width spaces say, in the middle of one. A
    text without hidden words comes back as it is; one with them in Unicode's NFKC form.

    Args:
        text: any text, a prompt say.
        hidden: words as `text.words` gives them, lower case.

    >>> mask("A NUDE_study, Sussex", {"nude", "sex"})
    'A •••_study, Sussex'
    """
    normal = unicodedata.normalize("NFKC", text)
    places = [at for at, letter in enumerate(normal) if unicodedata.category(letter) != "Cf"]
    seen = "".join(normal[at] for at in places)
    parts, end = [], 0
    for found in WORD.finditer(seen):
        start, stop = places[found.start()], places[found.end() - 1] + 1
        # Unseen characters may stand in a word or between two: both readings count. Lower case
        # can split a word ("İ" is two characters), and `text.words` splits after it.
        read = found[0].lower() + " " + normal[start:stop].lower()
        if any(word in hidden for word in WORD.findall(read)):
            parts += [normal[end:start], MASK]
            end = stop
    return "".join([*parts, normal[end:]]) if parts else text
