"""`Predictor`: a picture → its `Prediction`, the words with scores, vectors and alternatives."""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.errors import UserError
from img2prompt.data import images
from img2prompt.embedding.vectors import WordVectors, top_k
from img2prompt.inference.decoder import Decoder
from img2prompt.inference.model_files import check_model_file, names_keras_hub

ALTERNATIVES = 5  # nearest other words shown for each answer
WORD_LIMIT = 50  # of one answer
BATCH = 32  # pictures decoded and predicted together; 192×192 floats of 32 pictures are 14 MB


@dataclass(frozen=True)
class PredictedWord:
    """One answer.

    Attributes:
        word: in lower case, as in the vocabulary.
        score: cosine of `vector` and the word's own vector, in [−1, 1].
        confidence: share of validation answers with this ranking value that stood in the prompt,
            in [0, 1]; None where the model's decoder is not calibrated.
        vector: the predicted vector (D,) nearest to the word, as plain floats.
        step: the output step of the model that gave the vector, from 0.
        alternatives: the next nearest words of the same vector, (word, cosine), best first.
    """

    word: str
    score: float
    confidence: float | None
    vector: tuple[float, ...]
    step: int
    alternatives: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Prediction:
    """The answer to one picture: plain data, highest score first.

    Attributes:
        preset: the model's name.
        words: the words the decoder ranks highest, by falling score, none twice.
        vectors: float32 (steps, D), all predicted vectors.
    """

    preset: str
    words: tuple[PredictedWord, ...]
    vectors: NDArray[np.float32]

    @property
    def prompt(self) -> str:
        """The words as a prompt: "portrait, woman, oil"."""
        return ", ".join(word.word for word in self.words)

    def to_dict(self, vectors: bool = True) -> dict[str, Any]:
        """JSON-ready; without `vectors`, what the command line prints."""
        words = []
        for word in self.words:
            row = dataclasses.asdict(word)
            row["score"] = round(word.score, 4)
            if word.confidence is None:
                del row["confidence"]
            else:
                row["confidence"] = round(word.confidence, 4)
            row["alternatives"] = [[other, round(score, 4)] for other, score in word.alternatives]
            if not vectors:
                del row["vector"], row["step"]
            words.append(row)
        return {"preset": self.preset, "words": words}


class Predictor:
    """A model with its embedding, decoder and preprocessing.

    Args:
        model: Keras model, float32 (b, side, side, 3) in [0, 1] → float32 (b, steps, D).
        vectors: the embedding that the model was trained towards.
        preset: the model's name.
        decoder: ranks words by the vectors; unset, by cosine alone, without confidences.

    Attributes:
        side: of the model's input, in pixels.
        fit: how a picture is made square.

    Raises:
        UserError: the model and the embedding don't belong together, or it is no model of ours.
    """

    def __init__(
        self, model: Any, vectors: WordVectors, preset: str, decoder: Decoder | None = None
    ) -> None:
        from img2prompt.core.backend import tf

        self.vectors = vectors
        self.decoder = decoder or Decoder.plain(vectors)
        self.preset = preset
        self.side = _side_of(model)
        self.model = model
        check_pair(model, vectors)
        self.fit = _activation_of(model).fit
        # Compiled once; `model(x)` without it takes five times as long for one picture.
        self._call = tf.function(
            lambda pixels: model(pixels, training=False),
            input_signature=[tf.TensorSpec((None, self.side, self.side, 3), tf.float32)],
        )

    def __call__(self, image: images.ImageSource, words: int = 10) -> Prediction:
        """Predict one picture.

        Args:
            image: as `images.open_image` takes it.
            words: how many words, 1–`WORD_LIMIT`.

        Raises:
            ImageError: the picture cannot be used.
            UserError: `words` out of range.
        """
        check_word_count(words)
        pixels = images.preprocess(image, self.side, self.fit)[None]
        return self.decode(self.predict_vectors(pixels)[0], words)

    def predict_many(
        self, sources: Iterable[images.ImageSource], words: int = 10
    ) -> Iterator[Prediction | images.ImageError]:
        """Predict any number of pictures in batches, in order, holding one batch in memory.

        A picture that cannot be used yields its `ImageError` instead of a `Prediction`.
        """
        check_word_count(words)
        batch: list[NDArray[np.float32] | images.ImageError] = []
        for source in sources:
            try:
                batch.append(images.preprocess(source, self.side, self.fit))
            except images.ImageError as error:
                batch.append(error)
            del source  # a decoded picture is not kept while the next one is decoded
            if len(batch) == BATCH:
                yield from self._predict_batch(batch, words)
                batch = []
        if batch:
            yield from self._predict_batch(batch, words)

    def predict_vectors(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Preprocessed pictures (b, side, side, 3) in [0, 1] → word vectors (b, steps, D)."""
        vectors: NDArray[np.float32] = self._call(np.asarray(pixels, dtype=np.float32)).numpy()
        return vectors

    def decode(self, vectors: NDArray[np.float32], words: int = 10) -> Prediction:
        """Predicted vectors float32 (steps, D) → the answer; see `choose_words`."""
        chosen = choose_words(self.decoder, vectors, words, alternatives=ALTERNATIVES)
        return Prediction(self.preset, tuple(chosen), np.asarray(vectors, dtype=np.float32))

    def _predict_batch(
        self, batch: list[NDArray[np.float32] | images.ImageError], words: int
    ) -> Iterator[Prediction | images.ImageError]:
        good = [item for item in batch if isinstance(item, np.ndarray)]
        outputs = iter(self.predict_vectors(np.stack(good)) if good else ())
        for item in batch:
            if isinstance(item, images.ImageError):
                yield item
            else:
                yield self.decode(next(outputs), words)


def choose_words(
    decoder: Decoder, predicted: NDArray[np.float32], words: int, alternatives: int = 0
) -> list[PredictedWord]:
    """The words that the decoder ranks highest, by falling score, none twice.

    One matrix product with the whole vocabulary. Each word's score is its cosine to the vector
    nearest to it.

    Args:
        decoder: ranks the words, and gives confidences where it is calibrated.
        predicted: float32 (steps, D).
        words: how many, at most.
        alternatives: how many other near words to give with each.
    """
    vectors = decoder.vectors
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
            )
        )
    return sorted(answer, key=lambda word: -word.score)


def check_word_count(words: int) -> None:
    """Raise :class:`UserError` unless 1 ≤ words ≤ `WORD_LIMIT`."""
    if not 1 <= words <= WORD_LIMIT:
        raise UserError("inference.word_count", most=WORD_LIMIT, words=words)


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
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception:  # zip, HDF5 and config errors of many types
        raise UserError("inference.not_loadable", path=path) from None


def predict_files(
    predictor: Predictor, files: Sequence[str | os.PathLike[str]], words: int = 10
) -> Iterator[tuple[str, Prediction | images.ImageError]]:
    """`predict_many` of files: (name, answer or error) in order."""
    names = [str(file) for file in files]
    yield from zip(names, predictor.predict_many(names, words), strict=True)


def _side_of(model: Any) -> int:
    shape = model.input_shape
    square = len(shape) == 4 and shape[1] is not None and shape[1] == shape[2]
    if not square or shape[3] != 3 or len(model.output_shape) != 3:
        raise UserError("inference.no_vectors")
    return int(shape[1])


def _activation_of(model: Any) -> Any:
    """The model's `ScaledTanh`, which names the embedding and the fit of its pictures."""
    from img2prompt.models.layers import ScaledTanh

    found = [layer for layer in _all_layers(model) if isinstance(layer, ScaledTanh)]
    if len(found) != 1:
        raise UserError("inference.no_scaled_tanh")
    return found[0]


def _all_layers(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _all_layers(layer)
