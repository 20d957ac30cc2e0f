"""What the tabs ask for and get: presets loaded once, pictures answered and explained."""

import hashlib
import os
import threading
from collections import OrderedDict
from functools import cached_property
from pathlib import Path

import numpy as np

from img2prompt.core.errors import UserError
from img2prompt.data.block_list import BLOCKED_WORDS
from img2prompt.embedding.kinds import KINDS_FILE, Kinds
from img2prompt.embedding.word_map import MAP_FILE, SMALL_WORDS, VocabularyMap
from img2prompt.evaluation import metrics as evaluation
from img2prompt.inference.artifacts import Assets
from img2prompt.inference.occlusion import Explanation, explain
from img2prompt.inference.predictor import Prediction, Predictor
from img2prompt.ui.play.random_picture import RandomPairs

EXPLAINED = 16  # pictures whose heat maps are kept: a class looks at the same few
MIN_TRUE_WORDS = 3  # a prompt of fewer words that the vocabulary knows is no game


class Guesser:
    """The models of a folder of artifacts, each loaded when first asked for, and then kept.

    Args:
        assets: where the models are.
        preset: the one to have ready from the start; unset, the default one.
        show_all: also answer with words of the block list.

    Attributes:
        vectors: the embedding; unless `show_all`, it hides the words of the block list.
        blocked: the words to mask in free text, which may hold ones that no vocabulary has.
        map: the map of words, None where the folder has none.
        kinds: what kind each word is, None where the folder does not say.

    Raises:
        UserError: unknown preset, or files that are missing, changed or don't belong together.
    """

    def __init__(self, assets: Assets, preset: str | None = None, show_all: bool = False) -> None:
        self.assets = assets
        self.preset = preset or assets.default
        vectors = assets.embedding()
        self.vectors = vectors if show_all else vectors.hiding(BLOCKED_WORDS)
        self.blocked = frozenset() if show_all else BLOCKED_WORDS
        self.map = (
            VocabularyMap.load(assets.path(MAP_FILE), self.vectors)
            if MAP_FILE in assets.files
            else None
        )
        self.kinds = (
            Kinds.load(assets.path(KINDS_FILE), self.vectors)
            if KINDS_FILE in assets.files
            else None
        )
        self._predictors: dict[str, Predictor] = {}
        self._lock = threading.Lock()
        self._explained: OrderedDict[tuple, Explanation] = OrderedDict()
        self._explaining = threading.Lock()
        self.predictor(self.preset)

    @cached_property
    def small_map(self) -> VocabularyMap | None:
        """The map beside an answer: its most frequent words."""
        return self.map.top(SMALL_WORDS) if self.map is not None else None

    @cached_property
    def pairs(self) -> RandomPairs:
        """Real pictures for the game, one for the pages of all languages: it keeps 25 MB."""
        return RandomPairs(
            lambda prompt: len(evaluation.true_words(prompt, self.vectors)) >= MIN_TRUE_WORDS
        )

    def predictor(self, preset: str) -> Predictor:
        """The predictor of a preset, loaded and warmed once whoever asks at the same time.

        Raises:
            UserError: as `Assets.predictor`.
        """
        with self._lock:
            if preset not in self._predictors:
                predictor = self.assets.predictor(preset, self.vectors)
                # The first call traces and compiles; better now than on a visitor's picture.
                predictor.predict_vectors(np.zeros((1, predictor.side, predictor.side, 3)))
                self._predictors[preset] = predictor
            return self._predictors[preset]

    def __call__(self, path: str | os.PathLike, preset: str, words: int) -> Prediction:
        """Answer one picture.

        Raises:
            ImageError: the picture cannot be used.
            UserError: unknown preset, or a number of words out of range.
        """
        return self.predictor(preset)(path, words)

    def explain(self, path: str | os.PathLike, preset: str, words: tuple[str, ...]) -> Explanation:
        """Which parts of a picture speak for words; kept, since a person asks word after word.

        Raises:
            ImageError: the picture cannot be used.
            UserError: unknown preset or word.
        """
        key = (_digest(path), preset, words)
        # One at a time: an explanation fills both cores of the machine.
        with self._explaining:
            if key not in self._explained:
                self._explained[key] = explain(self.predictor(preset), path, words)
                while len(self._explained) > EXPLAINED:
                    self._explained.popitem(last=False)
            self._explained.move_to_end(key)
            return self._explained[key]

    def kind(self, word: str) -> str | None:
        """What kind a word is, None where nobody can say."""
        return self.kinds.of(word) if self.kinds is not None else None

    def count(self, word: str) -> int:
        """How often the prompts of the embedding hold a word."""
        return int(self.vectors.counts[self.vectors.index[word]])


def _digest(path: str | os.PathLike) -> str:
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        raise UserError("The picture is no longer here; drop it again.") from None
