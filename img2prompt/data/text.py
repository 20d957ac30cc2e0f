"""Prompt → words: one tokenizer for the embedding, the targets and the metrics.

The original project replaced symbols by spaces, split with NLTK and kept case. Here a regular
expression does the same, and words are lower case.
"""

import re
import unicodedata

WORD = re.compile(r"[^\W_]+", re.UNICODE)
# `<lora:name:0.8>` and other tags are commands to a web user interface. The name ends at the first
# colon, so that a prompt of only colons takes linear time.
_TAG = re.compile(r"<[^<>\s:]*:[^<>]*>")
# Further commands: BREAK and AND split a prompt into parts, ADDCOMM and similar words into regions
# (all only in capitals); "embedding:name" names a file.
_COMMANDS = re.compile(
    r"\b(?:BREAK|AND|ADDCOMM|ADDBASE|ADDCOL|ADDROW)\b|\bembedding:[^\s,()<>]+", re.UNICODE
)
_POSSESSIVE = re.compile(r"(?<=\w)['’]s\b", re.IGNORECASE)

# Function words. Not "image", "picture" and the like, which name a medium here. Changing the list
# changes every measured figure, so it has a version.
STOP_WORDS_VERSION = 1
STOP_WORDS = frozenset(
    """
    a about above across after again against all almost along also although always am amid among an
    and another any anyone anything are aren around as at away be became because become been before
    behind being below beneath beside besides between beyond both but by can cannot could couldn did
    didn do does doesn doing don done down during each either else enough etc even ever every
    everyone everything except few for from further get gets getting give given gives go goes going
    got had hadn has hasn have haven having he her here hers herself him himself his how however i
    if in inside instead into is isn it its itself just let lets like ll made make makes making many
    may me might mine more most much must my myself near neither never no nobody non none nor not
    nothing of off often on once one only onto or other others our ours ourselves out outside over
    own per perhaps please quite rather re really s same she should shouldn since so some someone
    something still such t than that the their theirs them themselves then there these they thing
    things this those through throughout thus to together too toward towards under until up upon us
    ve very via was wasn we well were weren what when where whether which while who whom whose why
    will with within without won would wouldn yet you your yours yourself
    """.split()
)


def fold(prompt: str) -> str:
    """A prompt in Unicode NFKC, case folded, with single spaces and stripped ends.

    Prompts with the same folded form are the same prompt, for the split and for every count.
    """
    return " ".join(unicodedata.normalize("NFKC", prompt).casefold().split())


def words(prompt: str) -> list[str]:
    """All words of a prompt in order, lower case, without symbols and interface tags.

    >>> words("A dog's <lora:fur:0.8> portrait, (8k:1.2)")
    ['a', 'dog', 'portrait', '8k', '1', '2']
    """
    text = _POSSESSIVE.sub("", _TAG.sub(" ", unicodedata.normalize("NFKC", prompt)))
    return WORD.findall(text.lower())


def is_content_word(word: str) -> bool:
    """Whether a word (as `words` gives it) can describe a picture.

    Stop words, single ASCII characters and plain numbers cannot.
    """
    if word in STOP_WORDS or word.isdigit():
        return False
    return len(word) > 1 or not word.isascii()


def without_commands(prompt: str) -> str:
    """A prompt without commands to a user interface such as BREAK and AND."""
    return _COMMANDS.sub(" ", prompt)


def content_words(prompt: str) -> list[str]:
    """The distinct content words of a prompt in order of first appearance.

    Commands to a user interface are left out: BREAK in capitals, `<lora:name:1>`, the weight of
    `(fur:1.2)`. `words`, which makes the embedding's corpus, keeps all but the tags.

    >>> content_words("a dog BREAK (fur:1.2), <lora:x:1> a tea break")
    ['dog', 'fur', 'tea', 'break']
    """
    spoken = words(without_commands(prompt))
    return list(dict.fromkeys(word for word in spoken if is_content_word(word)))
