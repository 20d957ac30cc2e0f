"""The models behind the page: each loaded once, each picture decoded and predicted once."""

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.errors import UserError
from img2prompt.core.files import sha256_of
from img2prompt.data.block_list import BLOCKED_WORDS
from img2prompt.data.images import preprocess_sized
from img2prompt.embedding.kinds import KINDS_FILE, Kinds
from img2prompt.embedding.word_map import MAP_FILE, SMALL_WORDS, VocabularyMap
from img2prompt.evaluation.score import compare
from img2prompt.inference.activations import Activations, activations
from img2prompt.inference.artifacts import Assets
from img2prompt.inference.export import Truth
from img2prompt.inference.occlusion import OcclusionMaps, occlusion_maps, unfit
from img2prompt.inference.prediction import Prediction
from img2prompt.inference.predictor import Look, Predictor, check_word_count
from img2prompt.ui.play.random_picture import RandomPairs

KEPT = 16  # pictures whose pixels (0.4 MB) and heat maps (1.5 MB) are kept
ANSWERS = 64  # answers that are kept, and looks; of 20 kB each
MIN_TRUE_WORDS = 3  # a prompt of fewer words that the vocabulary knows is no game

Source = str | os.PathLike[str] | bytes  # a picture's file, or what is in it
T = TypeVar("T")


@dataclass(frozen=True)
class Seen:
    """A picture as a model sees it.

    Attributes:
        pixels: float32 (side, side, 3) in [0, 1].
        size: width and height of the upright picture.
    """

    pixels: NDArray[np.float32]
    size: tuple[int, int]


class Recent(Generic[T]):
    """The results that were asked for last, by key; whoever asks at the same time shares one.

    A failure is not kept, and whoever waited for it computes the result anew.

    Args:
        most: how many are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._results: OrderedDict[Hashable, Future[T]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, compute: Callable[[], T]) -> T:
        """The result of a key, computed where it is not kept."""
        with self._lock:
            result = self._results.get(key)
            ours = result is None
            if result is None:
                result = self._results[key] = Future()
                while len(self._results) > self._most:
                    self._results.popitem(last=False)
            self._results.move_to_end(key)
        if not ours:
            # Where the other one failed, its file may be gone; ours need not be.
            return result.result() if result.exception() is None else compute()
        try:
            result.set_result(compute())
        except BaseException as error:
            with self._lock:
                if self._results.get(key) is result:
                    del self._results[key]
            result.set_exception(error)
        return result.result()


class ModelService:
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
        # By digest of the file, and by predictor, which is a model in an engine.
        self._seen: Recent[Seen] = Recent(KEPT)
        self._looks: Recent[Look] = Recent(ANSWERS)
        self._predictions: Recent[Prediction] = Recent(ANSWERS)
        self._explanations: Recent[OcclusionMaps] = Recent(KEPT)
        self._busy = threading.Lock()
        self.predictor(self.preset)

    @cached_property
    def small_map(self) -> VocabularyMap | None:
        """The map beside an answer: its most frequent words."""
        return self.map.top(SMALL_WORDS) if self.map is not None else None

    @cached_property
    def pairs(self) -> RandomPairs:
        """Real pictures for the game, one for the pages of all languages: it keeps 25 MB."""
        return RandomPairs(
            lambda prompt: len(self.vectors.prompt_positions(prompt)) >= MIN_TRUE_WORDS
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
                blank = np.zeros((1, predictor.side, predictor.side, 3), np.float32)
                predictor.predict_vectors(blank)
                self._predictors[preset] = predictor
            return self._predictors[preset]

    def __call__(self, picture: Source, preset: str, words: int) -> Prediction:
        """Answer one picture.

        Raises:
            ImageError: the picture cannot be used.
            UserError: the file is gone, unknown preset, or a number of words out of range.
        """
        check_word_count(words)
        predictor, digest = self.predictor(preset), _digest(picture)

        def look() -> Look:
            return predictor.look(self._seen_by(digest, picture, predictor).pixels[None])

        def answer() -> Prediction:
            seen = self._looks.get((digest, predictor), look)
            prediction = predictor.decode(seen.vectors[0], words)
            return replace(prediction, parents=predictor.parents(seen, 0))

        return self._predictions.get((digest, predictor, words), answer)

    def seen(self, picture: Source, preset: str) -> Seen:
        """A picture as the model of a preset sees it.

        Raises:
            ImageError: the picture cannot be used.
            UserError: the file is gone, or unknown preset.
        """
        return self._seen_by(_digest(picture), picture, self.predictor(preset))

    def _seen_by(self, digest: str, picture: Source, predictor: Predictor) -> Seen:
        side, fit = predictor.side, predictor.fit
        return self._seen.get(
            (digest, side, fit), lambda: Seen(*preprocess_sized(picture, side, fit))
        )

    def explain(self, picture: Source, preset: str, words: tuple[str, ...]) -> OcclusionMaps:
        """Which parts of a picture speak for words, all at once: see `occlusion.occlusion_maps`.

        Raises:
            ImageError: the picture cannot be used.
            UserError: the file is gone, unknown preset or word.
        """
        predictor, digest = self.predictor(preset), _digest(picture)
        seen = self._seen_by(digest, picture, predictor)

        def explanation() -> OcclusionMaps:
            # One at a time: an explanation fills both cores of the machine.
            with self._busy:
                square = occlusion_maps(predictor, seen.pixels, words)
            heats = {
                word: unfit(heat, seen.size, predictor.fit) for word, heat in square.heats.items()
            }
            return replace(square, heats=heats)

        return self._explanations.get((digest, predictor, words), explanation)

    def compare(self, prediction: Prediction, prompt: str) -> Truth:
        """How an answer compares to a true prompt, in which blocked words are masked."""
        return compare(prediction, prompt, self.vectors, self.blocked)

    def activations(self, picture: Source, preset: str) -> Activations:
        """What happens inside a model while it answers a picture: see `activations.activations`.

        Raises:
            ImageError: the picture cannot be used.
            UserError: the file is gone, or unknown preset.
        """
        pixels = self.seen(picture, preset).pixels
        # Layer by layer; a class that looks at once would only queue up.
        with self._busy:
            return activations(self.predictor(preset), pixels)

    def kind(self, word: str) -> str | None:
        """What kind a word is, None where nobody can say."""
        return self.kinds.of(word) if self.kinds is not None else None

    def count(self, word: str) -> int:
        """How often the prompts of the embedding hold a word."""
        return int(self.vectors.counts[self.vectors.index[word]])


def _digest(picture: Source) -> str:
    if isinstance(picture, bytes):
        return hashlib.sha256(picture).hexdigest()
    try:
        return sha256_of(picture)
    except (OSError, ValueError):  # ValueError: a name with a null byte
        raise UserError("page.gone") from None
