"""Losses between predicted vectors (b, steps, D) and the vectors of a prompt's words."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

PROMPT_POSITIONS = 79  # the notebook padded every prompt with zero vectors to this length


@keras.saving.register_keras_serializable(package="img2prompt")
class PaddedCosineLoss(keras.losses.Loss):
    """The notebook's loss: one vector against all 79 positions, padding included.

    Keras' cosine similarity, negated: 0 for a zero vector, so two thirds of the positions pull
    nowhere and the rest pull to the mean word. Targets (b, 79, D), prediction (b, 1, D).
    """

    def call(self, y_true: Any, y_pred: Any) -> Any:
        cosine = ops.sum(ops.normalize(y_true, axis=-1) * ops.normalize(y_pred, axis=-1), axis=-1)
        return -ops.mean(cosine, axis=-1)  # (b,)


@keras.saving.register_keras_serializable(package="img2prompt")
class MaskedCosineLoss(keras.losses.Loss):
    """Negative mean cosine over the real words alone: step i of the prediction against word i.

    Targets (b, steps, D) with zero vectors where the prompt has no word; those count for nothing.
    """

    def call(self, y_true: Any, y_pred: Any) -> Any:
        real = ops.cast(ops.any(ops.not_equal(y_true, 0.0), axis=-1), y_pred.dtype)  # (b, steps)
        cosine = ops.sum(ops.normalize(y_true, axis=-1) * ops.normalize(y_pred, axis=-1), axis=-1)
        return -ops.sum(cosine * real, axis=-1) / ops.maximum(ops.sum(real, axis=-1), 1.0)


@keras.saving.register_keras_serializable(package="img2prompt")
class VocabularyLoss(keras.losses.Loss):
    """Softmax over the vocabulary's cosines, the prompt's words as a set.

    A word's logit is the smooth maximum over the predicted vectors of `SCALE` · cosine(vector,
    word), so it is enough that *one* vector lies near a true word, whichever; and because all
    other words are pushed away in the same breath, no vector gains by lying near the mean word or
    a hub. Negatives are drawn anew each batch: from the words that training prompts hold (hard)
    and from the whole vocabulary (so that misspellings and rare words are pushed away too), as in
    Jean et al. 2015, arXiv 1412.2007.

    Targets: int32 (b, K), positions in the vocabulary, −1 for none. Prediction: (b, steps, D).
    """

    SCALE = 24.0  # cosines live in [−1, 1]: the softmax needs a temperature of 1/24
    # A softmax sees differences of cosines only. All words of an embedding share a direction, and
    # without this pull the vectors left it: right words, but scores of .3 that say nothing.
    PULL = 2.0
    TAUGHT, ANY = 1000, 1000  # negatives a batch

    def __init__(
        self, vectors: Any, taught: Any, seed: int = 1, name: str = "vocabulary", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.unit = tf.constant(vectors.unit)  # (V, D)
        self.answerable = tf.constant(np.flatnonzero(vectors.answerable), tf.int32)
        self.taught = tf.constant(taught, tf.int32)
        self.generator = tf.random.Generator.from_seed(seed)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        y_true = tf.cast(y_true, tf.int32)  # Keras hands every target over as float32
        truth = tf.reshape(y_true, (-1,))
        truth = tf.boolean_mask(truth, truth >= 0)
        drawn = [
            tf.gather(pool, self.generator.uniform((n,), 0, tf.shape(pool)[0], tf.int32))
            for pool, n in ((self.taught, self.TAUGHT), (self.answerable, self.ANY))
        ]
        words, _ = tf.unique(tf.concat([truth, *drawn], axis=0))  # (C,)
        vectors = tf.math.l2_normalize(tf.cast(y_pred, tf.float32), axis=-1)  # (b, steps, D)
        cosine = tf.einsum("bsd,cd->bsc", vectors, tf.gather(self.unit, words))
        logits = tf.reduce_logsumexp(self.SCALE * cosine, axis=1)  # (b, C)
        # Which of the drawn words are the picture's own: position in `words` of each true word.
        order = tf.argsort(words)
        queries = tf.reshape(tf.maximum(y_true, 0), (-1,))
        place = tf.searchsorted(tf.gather(words, order), queries)
        place = tf.minimum(place, tf.shape(words)[0] - 1)  # padding's query may lie past the end
        column = tf.reshape(tf.gather(order, place), tf.shape(y_true))  # (b, K)
        real = tf.cast(y_true >= 0, tf.float32)
        log_p = tf.nn.log_softmax(logits, axis=-1)
        own = tf.gather(log_p, column, batch_dims=1) * real  # (b, K)
        nearest = tf.reduce_max(cosine, axis=1)  # (b, C)
        own += self.PULL * tf.gather(nearest, column, batch_dims=1) * real
        # √n: a prompt of twenty words counts for more than one of three, but not for seven times.
        return -tf.reduce_sum(own, axis=-1) / tf.sqrt(tf.maximum(tf.reduce_sum(real, axis=-1), 1.0))
