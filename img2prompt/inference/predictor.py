"""`Predictor`: a picture → its `Prediction`, the words with scores, vectors and alternatives."""

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.arrays import UnfitError
from img2prompt.core.errors import UserError
from img2prompt.data import images
from img2prompt.embedding.vectors import WordVectors, top_k
from img2prompt.inference.decoder import Decoder
from img2prompt.inference.gallery import GALLERY_FILE, SIMILAR_LIMIT, Gallery
from img2prompt.inference.hedging import Hedge, Hedger
from img2prompt.inference.model_files import (
    bounded_weights,
    check_model_file,
    names_keras_hub,
)
from img2prompt.inference.prediction import PredictedWord, Prediction

ALTERNATIVES = 5  # nearest other words shown for each answer
WORD_LIMIT = 50  # of one answer
BATCH = 32  # pictures decoded and predicted together; 192×192 floats of 32 pictures are 14 MB


@dataclass(frozen=True)
class Look:
    """What a model gives for a batch of pictures, in one pass.

    Attributes:
        vectors: float32 (b, steps, D), the predicted word vectors.
        features: float32 (b, F), the channel statistics that the model's head reads
            (`gaze.build_tower`); None where the model has no layer `features`.
        classes: float32 (b, classes), the probabilities of the classes that its CNN tells apart;
            None where its head has no layer `classes`.
    """

    vectors: NDArray[np.float32]
    features: NDArray[np.float32] | None
    classes: NDArray[np.float32] | None = None


class Predictor:
    """A model with its embedding, decoder and preprocessing.

    Args:
        model: Keras model, float32 (b, side, side, 3) in [0, 1] → float32 (b, steps, D).
        vectors: the embedding that the model was trained towards.
        preset: the model's name.
        decoder: ranks words by the vectors; unset, by cosine alone, without confidences.
        gallery: loads the pictures to show similar ones of; unset, there are none.
        hedger: names the nouns above torn classes; unset, none are named.

    Attributes:
        side: of the model's input, in pixels.
        fit: how a picture is made square.

    Raises:
        UserError: the model and the embedding don't belong together, or it is no model of ours.
    """

    def __init__(
        self,
        model: Any,
        vectors: WordVectors,
        preset: str,
        decoder: Decoder | None = None,
        gallery: Callable[[], Gallery] | None = None,
        hedger: Hedger | None = None,
    ) -> None:
        from img2prompt.core.backend import keras, tf
        from img2prompt.models.tower import classifier_of, tower_of

        self.vectors = vectors
        self.decoder = decoder or Decoder.plain(vectors)
        self._load_gallery = gallery
        self.preset = preset
        self.side = _side_of(model)
        self.model = model
        check_pair(model, vectors)
        tower = tower_of(model)
        self.fit = _activation_of(model).fit
        outputs = keras.Model(model.input, [model.output, tower.output]) if tower else model
        self._classifier = classifier_of(model, tower.output.shape[-1]) if tower else None
        classes = len(self._classifier.bias) if self._classifier else 0
        self._hedger = hedger if hedger and hedger.fits(classes) else None
        # Compiled once; `model(x)` without it takes five times as long for one picture.
        self._call = tf.function(
            lambda pixels: outputs(pixels, training=False),
            input_signature=[tf.TensorSpec((None, self.side, self.side, 3), tf.float32)],
        )

    @cached_property
    def gallery(self) -> Gallery | None:
        """The gallery of the model, loaded when first asked for; None where there is none.

        Raises:
            UserError: missing, damaged, or of another model.
        """
        from img2prompt.models.tower import tower_fingerprint, tower_of

        tower = tower_of(self.model)
        if self._load_gallery is None or tower is None:
            return None
        gallery = self._load_gallery()
        gallery.check_tower(tower_fingerprint(tower))
        return gallery

    def __call__(self, image: images.ImageSource, words: int = 10, similar: int = 0) -> Prediction:
        """Predict one picture.

        Args:
            image: as `images.open_image` takes it.
            words: how many words, 1–`WORD_LIMIT`.
            similar: how many similar pictures of the gallery, 0–`SIMILAR_LIMIT`.

        Raises:
            ImageError: the picture cannot be used.
            UserError: `words` or `similar` out of range, or there is no gallery.
        """
        self._check_counts(words, similar)
        pixels = images.preprocess(image, self.side, self.fit)[None]
        return self._answer(self.look(pixels), 0, words, similar)

    def predict_many(
        self, sources: Iterable[images.ImageSource], words: int = 10, similar: int = 0
    ) -> Iterator[Prediction | images.ImageError]:
        """Predict any number of pictures in batches, in order, holding one batch in memory.

        A picture that cannot be used yields its `ImageError` instead of a `Prediction`.

        Args:
            sources: the pictures.
            words, similar: as of a call for one picture.
        """
        self._check_counts(words, similar)
        batch: list[NDArray[np.float32] | images.ImageError] = []
        for source in sources:
            try:
                batch.append(images.preprocess(source, self.side, self.fit))
            except images.ImageError as error:
                batch.append(error)
            del source  # a decoded picture is not kept while the next one is decoded
            if len(batch) == BATCH:
                yield from self._predict_batch(batch, words, similar)
                batch = []
        if batch:
            yield from self._predict_batch(batch, words, similar)

    def predict_vectors(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Preprocessed pictures (b, side, side, 3) in [0, 1] → word vectors (b, steps, D)."""
        return self.look(pixels).vectors

    def look(self, pixels: NDArray[np.float32]) -> Look:
        """Preprocessed pictures (b, side, side, 3) in [0, 1] → their vectors, features, classes."""
        found = self._call(np.asarray(pixels, dtype=np.float32))
        if not isinstance(found, list):
            return Look(found.numpy(), None)
        vectors, features = found[0].numpy(), np.asarray(found[1], dtype=np.float32)
        classes = self._classifier(features) if self._classifier else None
        return Look(vectors, features, classes)

    def decode(self, vectors: NDArray[np.float32], words: int = 10) -> Prediction:
        """Predicted vectors float32 (steps, D) → the answer; see `choose_words`."""
        chosen = choose_words(self.decoder, vectors, words, alternatives=ALTERNATIVES)
        lexicon = self.decoder.lexicon
        pairs = lexicon.pairs_among([word.word for word in chosen]) if lexicon is not None else ()
        values = np.asarray(vectors, dtype=np.float32)
        return Prediction(self.preset, tuple(chosen), values, pairs=pairs)

    def parents(self, look: Look, row: int) -> tuple[Hedge, ...]:
        """`Prediction.parents` of one picture of a batch that was looked at."""
        if self._hedger is None or look.classes is None:
            return ()
        return self._hedger(look.classes[row : row + 1])[0]

    def similar(self, look: Look, row: int, prediction: Prediction, count: int) -> Prediction:
        """The prediction with the pictures of the gallery that are most like the one it is of.

        Args:
            look: of a batch of pictures.
            row: the picture's place in the batch.
            prediction: the answer to it.
            count: how many, 1–`SIMILAR_LIMIT`.

        Raises:
            UserError: `count` out of range, or there is no gallery.
        """
        self._check_counts(1, count)
        assert self.gallery is not None and look.features is not None
        answer = [word.word for word in prediction.words]
        found = self.gallery.nearest(look.features[row], count, answer)
        return dataclasses.replace(prediction, similar=found)

    def _answer(self, look: Look, row: int, words: int, similar: int) -> Prediction:
        prediction = self.decode(look.vectors[row], words)
        prediction = dataclasses.replace(prediction, parents=self.parents(look, row))
        return self.similar(look, row, prediction, similar) if similar else prediction

    def _check_counts(self, words: int, similar: int) -> None:
        check_word_count(words)
        check_similar_count(similar)
        if similar and self.gallery is None:
            raise UserError("inference.no_gallery", preset=self.preset, file=GALLERY_FILE)

    def _predict_batch(
        self, batch: list[NDArray[np.float32] | images.ImageError], words: int, similar: int
    ) -> Iterator[Prediction | images.ImageError]:
        good = [item for item in batch if isinstance(item, np.ndarray)]
        look = self.look(np.stack(good)) if good else None
        rows = itertools.count()
        for item in batch:
            if isinstance(item, images.ImageError):
                yield item
            else:
                assert look is not None
                yield self._answer(look, next(rows), words, similar)


def choose_words(
    decoder: Decoder, predicted: NDArray[np.float32], words: int, alternatives: int = 0
) -> list[PredictedWord]:
    """The words that the decoder ranks highest, none twice.

    One matrix product with the whole vocabulary. Each word's score is its cosine to the vector
    nearest to it. With a lexicon they come in the decoder's order, else the best score first.

    Args:
        decoder: ranks the words, and gives confidences where it is calibrated.
        predicted: float32 (steps, D).
        words: how many, at most.
        alternatives: how many other near words to give with each.
    """
    vectors, lexicon = decoder.vectors, decoder.lexicon
    scores = vectors.similarities(predicted)  # (steps, V)
    positions, values = decoder.rank(scores.max(axis=0)[None], words)
    confidences = decoder.confidence(values[0])
    taken = set(positions[0].tolist())
    steps = scores[:, positions[0]].argmax(axis=0)
    allowed = np.where(vectors.answerable, scores, -2.0)
    near = top_k(allowed, words + alternatives + 1)[0] if alternatives else None
    answer = []
    for rank, (position, step) in enumerate(zip(positions[0], steps, strict=True)):
        others: list[tuple[str, float]] = []
        if near is not None:
            candidates = [p for p in near[step] if p != position and vectors.answerable[p]]
            # Words that are answers themselves come last: an alternative should add something.
            candidates.sort(key=lambda p: p in taken)
            candidates = sorted(candidates[:alternatives], key=lambda p: -scores[step, p])
            others = [(vectors.words[p], float(scores[step, p])) for p in candidates]
        answer.append(
            PredictedWord(
                word=vectors.words[position],
                score=float(scores[step, position]),
                confidence=None if confidences is None else float(confidences[rank]),
                vector=tuple(float(v) for v in predicted[step]),
                step=int(step),
                alternatives=tuple(others),
                generic=lexicon is not None and bool(lexicon.generic[position]),
            )
        )
    # What the lexicon knows decides the order; without it the best score comes first.
    return answer if lexicon is not None else sorted(answer, key=lambda word: -word.score)


def check_word_count(words: int) -> None:
    """Raise :class:`UserError` unless 1 ≤ words ≤ `WORD_LIMIT`."""
    if not 1 <= words <= WORD_LIMIT:
        raise UserError("inference.word_count", most=WORD_LIMIT, words=words)


def check_similar_count(similar: int) -> None:
    """Raise :class:`UserError` unless 0 ≤ similar ≤ `SIMILAR_LIMIT`."""
    if not 0 <= similar <= SIMILAR_LIMIT:
        raise UserError("inference.similar_count", most=SIMILAR_LIMIT, similar=similar)


def check_pair(model: Any, vectors: WordVectors) -> None:
    """Raise :class:`UserError` unless the model was trained towards this embedding."""
    activation = _activation_of(model)
    if model.output_shape[-1] != vectors.dimensions or activation.embedding != vectors.fingerprint:
        raise UserError("inference.another_embedding")


def load_model(path: str | os.PathLike[str]) -> Any:
    """A `.keras` file of ours, safe mode on, not compiled.

    Raises:
        UserError: missing, damaged, not a model of ours, or made with an encoder of keras-hub,
            which is not installed here.
    """
    import img2prompt.models  # registers our layers  # noqa: F401
    from img2prompt.core.backend import keras
    from img2prompt.models.hub_encoders import import_keras_hub

    path = Path(path)
    if not path.is_file():
        raise UserError("inference.no_model", path=path)
    if path.suffix != ".keras":
        raise UserError("inference.not_keras", path=path)
    if names_keras_hub(check_model_file(path)):
        import_keras_hub()
    try:
        with bounded_weights(path):
            return keras.saving.load_model(path, compile=False, safe_mode=True)
    except UnfitError as error:
        raise UserError("inference.unfit_model", path=path, reason=error) from None
    except Exception:  # zip, HDF5 and config errors of many types
        raise UserError("inference.not_loadable", path=path) from None


def predict_files(
    predictor: Predictor,
    files: Sequence[str | os.PathLike[str]],
    words: int = 10,
    similar: int = 0,
) -> Iterator[tuple[str, Prediction | images.ImageError]]:
    """`predict_many` of files: (name, answer or error) in order."""
    names = [str(file) for file in files]
    yield from zip(names, predictor.predict_many(names, words, similar), strict=True)


def _side_of(model: Any) -> int:
    shape = model.input_shape
    square = len(shape) == 4 and shape[1] is not None and shape[1] == shape[2]
    if not square or shape[3] != 3 or len(model.output_shape) != 3:
        raise UserError("inference.no_vectors")
    return int(shape[1])


def _activation_of(model: Any) -> Any:
    """The model's `ScaledTanh`, which names the embedding and the fit of its pictures."""
    from img2prompt.models.layers import ScaledTanh
    from img2prompt.models.tower import all_layers

    found = [layer for layer in all_layers(model) if isinstance(layer, ScaledTanh)]
    if len(found) != 1:
        raise UserError("inference.no_scaled_tanh")
    return found[0]
