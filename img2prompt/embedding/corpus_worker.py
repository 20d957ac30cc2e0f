"""Tokenizing and counting: what the processes that help to write a corpus run.

This module imports next to nothing, so that each of them takes little memory.
"""

import hashlib
import struct
from collections import Counter

from img2prompt.data import text

# What `text.words` does to ASCII without tags and apostrophes, six times as fast: lower case, and a
# space for all but letters and digits. A test compares them.
_ASCII_WORDS = bytes(
    ord(chr(code).lower()) if code < 128 and chr(code).isalnum() else ord(" ")
    for code in range(256)
)

# gensim takes a longer line for several sentences (its MAX_WORDS_IN_BATCH).
LONGEST_SENTENCE = 10_000


def tokenize(
    prompts: list[str], written: list[bool], template: list[str]
) -> tuple[bytes, bytes, list[bytes]]:
    """Prompts → keys and lines.

    Args:
        prompts: n texts.
        written: n; False where a prompt was rebuilt from a template.
        template: the words that rebuilt prompts lose.

    Returns:
        keys (n big-endian uint64; prompts that fold alike have one key), words a line (n
        little-endian uint32) and lines (n, UTF-8 with their line ends; empty without words).
        A prompt that was among these before has neither words nor line: it is written once.
    """
    dropped = frozenset(word.encode("utf-8") for word in template)
    known: dict[str, bytes] = {}  # prompts repeat themselves one after the other
    cut: set[bytes] = set()
    keys, sizes, lines = [], [], []
    for prompt, by_person in zip(prompts, written, strict=True):
        key = known.get(prompt)
        if key is None:
            folded = text.fold(prompt).encode("utf-8")
            key = known[prompt] = hashlib.blake2b(folded, digest_size=8).digest()
        words = []
        if key not in cut:
            cut.add(key)
            words = words_of(prompt)
        if words and not by_person:
            words = [word for word in words if word not in dropped]
        keys.append(key)
        sizes.append(len(words))
        lines.append(b" ".join(words) + b"\n" if words else b"")
    return b"".join(keys), struct.pack(f"<{len(sizes)}I", *sizes), lines


def words_of(prompt: str) -> list[bytes]:
    """`text.words` in UTF-8."""
    if prompt.isascii() and "<" not in prompt and "'" not in prompt:
        return prompt.encode("ascii").translate(_ASCII_WORDS).split()
    return [word.encode("utf-8") for word in text.words(prompt)]


def count_prompts_with(prompts: list[str]) -> dict[str, int]:
    """In how many of the prompts each word is."""
    counts: Counter[str] = Counter()
    for prompt in prompts:
        counts.update(set(text.words(prompt)))
    return dict(counts)


def count_words(lines: bytes) -> tuple[dict[str, int], int, int]:
    """Whole lines of a corpus → how often each word comes, gensim's number of sentences, bytes.

    The words are in the order in which they first appear.
    """
    counts: Counter[str] = Counter()
    sentences = 0
    for line in lines.decode("utf-8").split("\n"):
        words = line.split()
        counts.update(words)
        sentences += -(-len(words) // LONGEST_SENTENCE)
    return dict(counts), sentences, len(lines)
