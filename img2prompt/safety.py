"""Words that a class should not meet: the published block list, and a mask for free text.

The list, `blocked_words.txt` beside this module, is our own. `WordVectors.hiding` keeps its words
out of every answer; a text that a person or a file brought is shown through `mask`.
"""

import re
import unicodedata
from collections.abc import Container
from pathlib import Path

from img2prompt.text import WORD

BLOCK_LIST = Path(__file__).with_name("blocked_words.txt")
MASK = "•••"


def _read(path: Path) -> frozenset[str]:
    lines = (line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines())
    return frozenset(line for line in lines if line)


BLOCKED_WORDS = _read(BLOCK_LIST)


def mask(text: str, hidden: Container[str]) -> str:
    """A text with every hidden word replaced by "•••".

    Words are those that `text.words` finds, so case, punctuation and underscores around a word
    hide nothing, and a longer word that contains a hidden one ("Sussex") stays. A text without
    hidden words comes back as it is; one with them in Unicode's NFKC form.

    Args:
        text: any text, a prompt say.
        hidden: words as `text.words` gives them, lower case.

    >>> mask("A NUDE_study, Sussex", {"nude", "sex"})
    'A •••_study, Sussex'
    """

    def shown(found: re.Match) -> str:
        # Lower case can split a word ("İ" is two characters), and `text.words` splits after it.
        return MASK if any(word in hidden for word in WORD.findall(found[0].lower())) else found[0]

    normal = unicodedata.normalize("NFKC", text)
    masked = WORD.sub(shown, normal)
    return text if masked == normal else masked
