"""Losses between predicted vectors (b, steps, D) and the vectors of a prompt's words."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from img2prompt.core.backend import keras, tf

if TYPE_CHECKING:
    from img2prompt.embedding.vectors import WordVectors

ops = keras.ops

PROMPT_POSITIONS = 79  # the notebook padded every prompt with zero vectors to this length


@keras.saving.register_keras_serializable(package="img2prompt")
class PaddedCosineLoss(keras.losses.Loss):
    """The notebook's loss: one vector against all 79 positions, padding included.

    Keras' cosine similarity, negated: 0 for a zero vector, so most positions have no gradient and
    the rest lead to the mean word. Targets (b, 79, D), prediction (b, 1, D).
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
class AssignedCosineLoss(keras.losses.Loss):
    """Negative mean cosine of the real words to the vectors assigned to them, one each.

    The best one-to-one assignment (Kuhn 1955) in place of the prompt's order: which vector stands
    for which word is left to the model. Targets as `MaskedCosineLoss`.
    """

    def call(self, y_true: Any, y_pred: Any) -> Any:
        real = ops.cast(ops.any(ops.not_equal(y_true, 0.0), axis=-1), y_pred.dtype)  # (b, words)
        cosine = tf.einsum(
            "bwd,bsd->bws", ops.normalize(y_true, axis=-1), ops.normalize(y_pred, axis=-1)
        )
        chosen = tf.numpy_function(_assign, [tf.stop_gradient(cosine), real], tf.float32)
        total = tf.reduce_sum(cosine * tf.ensure_shape(chosen, cosine.shape), axis=(1, 2))
        return -total / ops.maximum(ops.sum(real, axis=-1), 1.0)


def _assign(cosine: NDArray[np.float32], real: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosines (b, words, steps) → 1 where a real word has its vector, 0 elsewhere."""
    from scipy.optimize import linear_sum_assignment

    chosen = np.zeros_like(cosine, dtype=np.float32)
    for table, words, out in zip(cosine, real > 0, chosen, strict=True):
        rows = np.flatnonzero(words)
        # A run that diverged must end by its loss, not by an error of the assignment.
        picked, steps = linear_sum_assignment(-np.nan_to_num(table[rows]))
        out[rows[picked], steps] = 1.0
    return chosen


@dataclass(frozen=True)
class VocabularySettings:
    """What `VocabularyLoss` can be told.

    Attributes:
        seed: of the negatives.
        soft_words: S, the teacher's words a picture; 0 for none.
        soft_weight: weight of the teacher's words against the true ones.
        cosine_weight: weight of the cosine of each true word to its nearest vector. A softmax sees
            differences of cosines only. All words of an embedding share a direction, and without
            this term the vectors left it: right words, but scores of .3 that mean nothing.
        prior: float32 (V,), what the decoder adds to each word's cosine (`decoder.Decoder`);
            trained with it, a vector's direction need not tell that a word is frequent (logit
            adjustment, Menon et al. 2021, arXiv 2007.07314). None for zeros.
        asymmetric: instead of a softmax, a yes-no question a word, easy negatives all but
            ignored (asymmetric loss, Ridnik et al. 2021, arXiv 2009.14119).
        devices: of this process, when a batch is shared out among replicas: each takes its
            slice's part of the loss that one process would have of the whole batch.
        random_negatives, seen_negatives: negatives drawn a batch, from all words that can be
            answers, and from the words of training prompts.
    """

    seed: int = 1
    soft_words: int = 0
    soft_weight: float = 1.0
    cosine_weight: float = 2.0
    prior: NDArray[np.float32] | None = None
    asymmetric: bool = False
    devices: int = 1
    random_negatives: int = 1000
    seen_negatives: int = 1000


@keras.saving.register_keras_serializable(package="img2prompt")
class VocabularyLoss(keras.losses.Loss):
    """Softmax over the vocabulary's cosines, the prompt's words as a set.

    A word's logit is the smooth maximum over the predicted vectors of `SCALE` · cosine(vector,
    word), so it is enough that *one* vector lies near a true word, whichever; and because all
    other words are pushed away at the same time, no vector gains by lying near the mean word or
    a hub. Negatives are drawn anew each batch: from the words that training prompts hold (hard)
    and from the whole vocabulary (so that misspellings and rare words are pushed away too), as in
    Jean et al. 2015, arXiv 1412.2007.

    Targets: float32 (b, K + 2·S): positions in the vocabulary of the true words, −1 for none, then
    positions of the teacher's words and their shares (`soft_targets.py`). Prediction: (b, steps,
    D).

    Args:
        vectors: the embedding.
        seen: int (m,), positions of the words that training prompts hold.
        settings: everything else.
    """

    SCALE = 24.0  # cosines live in [−1, 1]: the softmax needs a temperature of 1/24
    # Of the asymmetric loss: focusing of negatives, and the cosine that means yes as much as no.
    FOCUS, NEUTRAL_COSINE = 4.0, 0.6

    def __init__(
        self,
        vectors: "WordVectors",
        seen: ArrayLike,
        settings: VocabularySettings | None = None,
        name: str = "vocabulary",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.settings = settings = settings or VocabularySettings()
        self.unit = tf.constant(vectors.unit)  # (V, D)
        self.answerable = tf.constant(np.flatnonzero(vectors.answerable), tf.int32)
        self.seen = tf.constant(seen, tf.int32)
        # One for each device of this process, all alike: every replica draws the same negatives.
        self.generators = [
            tf.random.Generator.from_seed(settings.seed) for _ in range(settings.devices)
        ]
        prior = np.zeros(len(vectors), np.float32) if settings.prior is None else settings.prior
        self.prior = tf.constant(prior, tf.float32)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        settings, soft_words = self.settings, self.settings.soft_words
        k = y_true.shape[-1] - 2 * soft_words
        true = tf.cast(y_true[:, :k], tf.int32)  # Keras hands every target over as float32
        soft = tf.cast(y_true[:, k : k + soft_words], tf.int32)  # (b, S)
        shares = tf.cast(y_true[:, k + soft_words :], tf.float32)  # (b, S)
        all_true, all_soft, generator = self._of_all_replicas(true, soft)
        positive = tf.concat([tf.reshape(all_true, (-1,)), tf.reshape(all_soft, (-1,))], axis=0)
        positive = tf.boolean_mask(positive, positive >= 0)
        drawn = [
            tf.gather(pool, generator.uniform((n,), 0, tf.shape(pool)[0], tf.int32))
            for pool, n in (
                (self.seen, settings.seen_negatives),
                (self.answerable, settings.random_negatives),
            )
        ]
        words, _ = tf.unique(tf.concat([positive, *drawn], axis=0))  # (C,)
        order = tf.argsort(words)
        ordered = tf.gather(words, order)

        def columns(positions: Any) -> Any:
            """Where each position lies among the drawn words; anything for padding."""
            place = tf.searchsorted(ordered, tf.reshape(tf.maximum(positions, 0), (-1,)))
            place = tf.minimum(place, tf.shape(words)[0] - 1)  # padding may lie past the end
            return tf.reshape(tf.gather(order, place), tf.shape(positions))

        vectors = tf.math.l2_normalize(tf.cast(y_pred, tf.float32), axis=-1)  # (b, steps, D)
        cosine = tf.einsum("bsd,cd->bsc", vectors, tf.gather(self.unit, words))
        nearest = tf.reduce_max(cosine, axis=1)  # (b, C)
        logits = tf.reduce_logsumexp(self.SCALE * cosine, axis=1)  # (b, C)
        logits += self.SCALE * tf.gather(self.prior, words)
        real = tf.cast(true >= 0, tf.float32)
        column = columns(true)
        if settings.asymmetric:
            loss = self._asymmetric(logits - self.SCALE * self.NEUTRAL_COSINE, column, real)
            own = settings.cosine_weight * tf.gather(nearest, column, batch_dims=1) * real
        else:
            log_p = tf.nn.log_softmax(logits, axis=-1)
            loss = 0.0
            own = (
                tf.gather(log_p + settings.cosine_weight * nearest, column, batch_dims=1) * real
            )  # (b, K)
        # √n: a prompt of twenty words counts for more than one of three, not for seven times.
        count = tf.sqrt(tf.maximum(tf.reduce_sum(real, axis=-1), 1.0))
        loss -= tf.reduce_sum(own, axis=-1) / count
        if soft_words:
            # Half the weight: the teacher's words are likely, not true.
            log_p = tf.nn.log_softmax(logits, axis=-1)
            likely = tf.gather(
                log_p + settings.cosine_weight / 2 * nearest, columns(soft), batch_dims=1
            )
            loss -= settings.soft_weight * tf.reduce_sum(likely * shares, axis=-1)
        return loss

    @property
    def random_state(self) -> NDArray[np.int64]:
        """int64 (3,): where the drawing of negatives stands on the first device, or is to stand
        on all."""
        return self.generators[0].state.numpy()

    @random_state.setter
    def random_state(self, state: NDArray[np.int64]) -> None:
        for generator in self.generators:
            generator.reset(state)

    def align(self) -> None:
        """Let all devices draw on as the first one does, which may have worked alone meanwhile."""
        self.random_state = self.random_state

    def _of_all_replicas(self, true: Any, soft: Any) -> tuple[Any, Any, tf.random.Generator]:
        """The words of the whole batch, and this device's generator."""
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return true, soft, self.generators[0]
        both = context.all_gather(tf.concat([true, soft], axis=1), axis=0)
        device = int(tf.get_static_value(context.replica_id_in_sync_group)) % len(self.generators)
        k = true.shape[-1]
        return both[:, :k], both[:, k:], self.generators[device]

    def _asymmetric(self, logits: Any, column: Any, real: Any) -> Any:
        candidates = tf.shape(logits)[1]
        truth = tf.reduce_max(
            tf.one_hot(column, candidates) * real[:, :, None], axis=1
        )  # (b, C), 1 at true words
        p = tf.sigmoid(logits)
        yes = truth * tf.math.log_sigmoid(logits)
        no = (1.0 - truth) * p**self.FOCUS * tf.math.log_sigmoid(-logits)
        count = tf.sqrt(tf.maximum(tf.reduce_sum(real, axis=-1), 1.0))
        return -tf.reduce_sum(yes + no, axis=-1) / count
