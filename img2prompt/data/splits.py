"""What a prompt and a source decide alone: the split, near-duplicates, the group of a source."""

import hashlib

from img2prompt.data import text

SPLITS = ("train", "validation", "test")
TRAIN_SHARE, VALIDATION_SHARE = 0.8, 0.1  # the rest is test: the original's 80/10/10


def split_of(prompt: str) -> str:
    """`train`, `validation` or `test`, decided by the folded prompt alone.

    A stable hash (BLAKE2b), so the same prompt always lands in the same split whatever the
    number, order or origin of the parts: adding parts never moves a prompt, and no prompt
    crosses from training to test.
    """
    digest = hashlib.blake2b(text.fold(prompt).encode("utf-8"), digest_size=8).digest()
    position = int.from_bytes(digest, "big") / 2**64  # uniform in [0, 1)
    if position < TRAIN_SHARE:
        return "train"
    return "validation" if position < TRAIN_SHARE + VALIDATION_SHARE else "test"


def near_duplicate_key(prompt: str) -> int:
    """What near-duplicate prompts have in common, as 64 bits, never 0.

    Two prompts are near-duplicates when they hold the same words (as `text.words` gives them),
    whatever their order, case, punctuation and repetition. A prompt without a word is its folded
    self.
    """
    return hash64(" ".join(sorted(set(text.words(prompt)))) or "\0" + text.fold(prompt))


def hash64(value: str) -> int:
    """A stable 64-bit hash (BLAKE2b), never 0, so that 0 can stand for none.

    Among 14 million values the chance of a single collision is 5e-6.
    """
    digest = hashlib.blake2b(value.encode("utf-8"), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1


def source_group(source: str) -> str:
    """The source a figure is reported under.

    Sources named `owner/repository` are single repositories of a few pictures each; they are
    reported together as `small-repositories`, and the two collections of one generator together.
    Training weighs each of them by itself (`sampling.sampling_weights`).
    """
    if "/" in source:
        return "small-repositories"
    return "gptimage2" if source.startswith("gptimage2-") else source


def source_names(line: str) -> tuple[str, ...]:
    """The names of a list with commas between, as `--without` takes it: source groups, sources."""
    return tuple(name.strip() for name in line.split(",") if name.strip())
