"""Which pairs are worth keeping: by NSFW score, by the prompt's length and language, by caps.

Every filter is a reason or None; the first reason counts. Caps are in `metadata.py`, because they
need all parts at once.
"""

import functools
import unicodedata
from typing import Any

import numpy as np

from img2prompt.core.errors import UserError
from img2prompt.data import text
from img2prompt.data.shards import PrepareSettings
from img2prompt.data.splits import split_of

ALREADY_BLURRED = 2.0  # DiffusionDB's mark in image_nsfw: the picture was blurred by its authors
DUPLICATE, USER = "duplicate prompt", "cap per user"
UNSCORED = "unscored"  # nobody said whether the picture is safe

# Languages that the detector chooses from. Of all its 140, rare ones (Bikol, Nigerian Pidgin,
# Javanese …) took 1.4 % of the pack's prompts of eight words or more, most of them English lists
# of artists; of these here 0.5 %, and with `SURE` 0.1 %.
LANGUAGES = (
    "ar bg cs da de el en es fa fi fr he hi hu id it ja ko nl no pl pt ro ru sk sv th tr uk vi zh"
).split()
# A prompt is dropped for its language only where the detector is this sure, and only where it is
# long enough to tell: six words, or twelve letters of another script than the Latin.
SURE = 0.9
ENOUGH_WORDS, ENOUGH_LETTERS = 6, 12


def is_scored(*scores: float) -> bool:
    """Whether all are scores: numbers of 0 or more. Tables mark a missing one by NaN or -1."""
    return all(score >= 0 for score in scores)


class LanguageFilter:
    """Whether a prompt is surely in none of some languages.

    py3langid (Lui and Baldwin 2012, "langid.py"; its model ships in the package).

    Args:
        languages: ISO 639-1 codes of `LANGUAGES`; none: every prompt passes.

    Raises:
        UserError: a code that is not known, or py3langid is not installed.
    """

    def __init__(self, languages: tuple[str, ...]) -> None:
        unknown = sorted(set(languages) - set(LANGUAGES))
        if unknown:
            raise UserError(
                "data.unknown_language", unknown=", ".join(unknown), known=" ".join(LANGUAGES)
            )
        self._languages = languages
        self._identifier: Any = None
        if languages:
            self._identifier = _identifier()

    def is_foreign(self, prompt: str) -> bool:
        """True where the prompt is long enough to tell and surely in another language."""
        if not self._languages or not _enough(prompt):
            return False
        language, certainty = self._identifier.classify(prompt)
        return language not in self._languages and certainty >= SURE


class PairFilter:
    """The reasons that need no picture: NSFW scores, the split, the prompt.

    Raises:
        UserError: as `LanguageFilter`.
    """

    def __init__(self, settings: PrepareSettings) -> None:
        self._settings = settings
        self._languages = LanguageFilter(settings.languages)

    def reason(self, prompt: str, image_nsfw: float, prompt_nsfw: float) -> str | None:
        """Why a pair is left out, or None.

        Args:
            prompt: its text.
            image_nsfw: in [0, 1], or `ALREADY_BLURRED`; not a number where nothing is known.
            prompt_nsfw: likewise.
        """
        settings = self._settings
        needed = ((settings.max_image_nsfw, image_nsfw), (settings.max_prompt_nsfw, prompt_nsfw))
        if not settings.keep_unscored and not all(
            is_scored(score) for most, score in needed if most is not None
        ):
            return UNSCORED
        blurred = image_nsfw == ALREADY_BLURRED
        if (
            settings.max_image_nsfw is not None
            and image_nsfw > settings.max_image_nsfw
            and not (blurred and settings.keep_blurred)
        ):
            return "blurred" if blurred else "image_nsfw"
        if settings.max_prompt_nsfw is not None and prompt_nsfw > settings.max_prompt_nsfw:
            return "prompt_nsfw"
        if settings.train_only and split_of(prompt) != "train":
            return "not in the training split"
        if settings.min_words or settings.max_words is not None:
            length = len(text.words(prompt))
            if length < settings.min_words:
                return "too short"
            if settings.max_words is not None and length > settings.max_words:
                return "too long"
        return "language" if self._languages.is_foreign(prompt) else None


def beyond_cap(keys: np.ndarray, eligible: np.ndarray, most: int) -> np.ndarray:
    """Which rows come after the first `most` eligible ones of their key: bool (n,).

    Args:
        keys: (n,) of any sortable dtype, in the order of precedence.
        eligible: bool (n,); others count for nothing and are never marked.
        most: at least 1.
    """
    # Freed and narrowed as it goes: of 14 million rows every array has 56 or 112 MB.
    rows = np.flatnonzero(eligible).astype(np.int32)
    marked = np.zeros(len(keys), bool)
    if not len(rows):
        return marked
    grouped = keys[rows]
    order = np.argsort(grouped, kind="stable").astype(np.int32)
    grouped = grouped[order]
    starts = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]]).astype(np.int32)
    del grouped
    rank = np.arange(len(rows), dtype=np.int32)
    rank -= np.repeat(starts, np.diff(starts, append=len(rows)))
    marked[rows[order[rank >= most]]] = True
    return marked


@functools.cache
def _identifier() -> Any:
    """The detector, read once a process: 0.2 s."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise UserError("data.no_language_detector") from None
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(LANGUAGES)
    return identifier


def _enough(prompt: str) -> bool:
    if len(text.words(prompt)) >= ENOUGH_WORDS:
        return True
    if prompt.isascii():
        return False
    letters = [letter for letter in prompt if letter.isalpha()]
    other = sum(not unicodedata.name(letter, "LATIN").startswith("LATIN") for letter in letters)
    return other >= ENOUGH_LETTERS
