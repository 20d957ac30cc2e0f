"""The artists that a prompt names: what follows "by", "style of" or "work of"."""

import re
from collections import Counter
from collections.abc import Sequence

from img2prompt.data import text

NAME_WORDS = 4  # a longer name after "by" is a sentence
# A full stop ends a name, but not after an initial: "by E. H. Shepard".
_PHRASE = re.compile(r"(?:\b[^\W\d_]\.|[^,.;:()\[\]|])+")
_BY = re.compile(rf"\b(?:by|style of|works? of)\s+({_PHRASE.pattern})", re.IGNORECASE)
_AND = re.compile(r"\s+and\s+|\s*&\s*", re.IGNORECASE)
_NO_NAMES = frozenset(
    "artist artists unknown various night day hand itself himself herself".split()
)


def after_by(prompt: str) -> list[str]:
    """What follows each "by", "style of" or "work of", up to the end of the phrase."""
    return _BY.findall(prompt)


def artists_of(prompts: Sequence[str]) -> list[list[str]]:
    """The artists each prompt names, lower case, each once.

    What follows "by", "style of" or "work of" up to a comma, of at most four words ("art by Claude
    Monet and Degas" names two); and, because lists go on ("by Greg Rutkowski, Alphonse Mucha"),
    every phrase between commas that is a name of two words or more which other prompts of these put
    after "by" at least twice. There is no list of artists behind it: "by candlelight" counts too.
    """
    named = [[name for phrase in after_by(prompt) for name in _names(phrase)] for prompt in prompts]
    times = Counter(name for names in named for name in set(names))
    known = {name for name, count in times.items() if count > 1 and " " in name}
    result = []
    for prompt, names in zip(prompts, named, strict=True):
        listed = [
            name for phrase in _PHRASE.findall(prompt) for name in _names(phrase) if name in known
        ]
        result.append(list(dict.fromkeys([*names, *listed])))
    return result


def _names(phrase: str) -> list[str]:
    return [name for name in map(_name, _AND.split(phrase)) if name]


def _name(phrase: str) -> str:
    """A name as words in lower case; "" where a phrase is none."""
    words = text.words(phrase)
    while words and words[0] in ("the", "attributed", "to", "by", "an", "a"):
        words = words[1:]
    if not 0 < len(words) <= NAME_WORDS or not any(map(text.is_content_word, words)):
        return ""
    return "" if _NO_NAMES.intersection(words) else " ".join(words)
