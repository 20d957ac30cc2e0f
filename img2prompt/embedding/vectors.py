"""Word2Vec on prompts (gensim), and `WordVectors`: the embedding every later room reads.

An embedding file is an `.npz` of plain arrays, never a pickle: `words` (UTF-8, one a line, as
uint8), `vectors` (float32, (V, 100)) and `counts` (int64, (V,)), most frequent word first.
"""

import copy
import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from img2prompt.core.arrays import UTF8, Form, load_arrays
from img2prompt.core.errors import UserError
from img2prompt.core.files import atomic_path
from img2prompt.data import text
from img2prompt.embedding import corpus

if TYPE_CHECKING:
    from gensim.models.callbacks import CallbackAny2Vec

log = logging.getLogger(__name__)

# An answer is a content word that makes up at least this share of the corpus: 18 times among
# 4.4 million words. Below it misspellings ("fogy", "stromy") outnumber words, and the F1@10 of a
# first `gaze` on the validation split rose a little without them.
ANSWER_MIN_SHARE = 4e-6

EMBEDDING_FILE = "embedding.npz"
_FORMS = {"words": UTF8, "vectors": Form("f", (None, None)), "counts": Form("iu", (None,))}


class EmbeddingError(UserError):
    """An embedding file that cannot be used."""


class WordVectors:
    """A vocabulary and its vectors.

    Attributes:
        words: (V,) list of str, most frequent first.
        vectors: float32 (V, D), as trained, not normalised.
        counts: int64 (V,), how often the training prompts hold each word.
        hidden: words that are never answers nor neighbours, see `hiding`; by default none.
    """

    hidden: frozenset[str] = frozenset()

    def __init__(self, words: Sequence[str], vectors: np.ndarray, counts: np.ndarray) -> None:
        vectors, counts = np.asarray(vectors), np.asarray(counts)
        if vectors.ndim != 2 or len(vectors) != len(words) or counts.shape != (len(words),):
            raise EmbeddingError("An embedding needs one vector and one count for each word.")
        if len(words) < 2:
            raise EmbeddingError("An embedding needs at least two words; give more prompts.")
        self.words = list(words)
        self.vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        self.counts = np.asarray(counts, dtype=np.int64)
        self.index = {word: position for position, word in enumerate(self.words)}
        if len(self.index) != len(self.words):
            raise EmbeddingError("The embedding holds a word twice.")
        if not np.isfinite(self.vectors).all():
            raise EmbeddingError("The embedding holds values that are not finite.")

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self.index

    def __getitem__(self, word: str) -> np.ndarray:
        """The word's vector, float32 (D,); KeyError for a word it does not know."""
        return self.vectors[self.index[word]]

    @property
    def dimensions(self) -> int:
        """D, 100 as in the original."""
        return self.vectors.shape[1]

    @cached_property
    def minimum(self) -> float:
        """The smallest value over all vectors: the lower end of the scaled tanh."""
        return float(self.vectors.min())

    @cached_property
    def maximum(self) -> float:
        """The largest value over all vectors: the upper end of the scaled tanh."""
        return float(self.vectors.max())

    @cached_property
    def unit(self) -> np.ndarray:
        """float32 (V, D): every vector divided by its length."""
        return _normalise(self.vectors)

    @cached_property
    def answerable(self) -> np.ndarray:
        """bool (V,): what may be an answer, content words that are not rare.

        Never stop words and plain numbers, nor words below `ANSWER_MIN_SHARE`, nor hidden ones.
        """
        content = np.fromiter((text.is_content_word(word) for word in self.words), bool, len(self))
        return content & self.shown & (self.counts >= ANSWER_MIN_SHARE * self.counts.sum())

    @cached_property
    def shown(self) -> np.ndarray:
        """bool (V,): which words are not hidden."""
        return np.fromiter((word not in self.hidden for word in self.words), bool, len(self))

    def hiding(self, words: Iterable[str]) -> "WordVectors":
        """The same embedding, with some words kept from sight.

        Hidden words are no answers and no neighbours. Metrics see them still: `similarities`,
        `index` and `in` are as before, and so is the fingerprint. The arrays are shared.

        Args:
            words: as `text.words` gives them; those that the vocabulary lacks are ignored.
        """
        view = copy.copy(self)
        view.__dict__ |= {"unit": self.unit, "fingerprint": self.fingerprint}
        view.__dict__.pop("answerable", None)
        view.__dict__.pop("shown", None)
        view.hidden = frozenset(word for word in words if word in self.index)
        return view

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the contents; a model names the embedding it belongs to."""
        digest = hashlib.sha256("\n".join(self.words).encode("utf-8"))
        digest.update(self.vectors.tobytes())
        return digest.hexdigest()[:16]

    def similarities(self, vectors: np.ndarray) -> np.ndarray:
        """Cosine of each of (n, D) vectors with every word: float32 (n, V) in [−1, 1]."""
        queries = _normalise(np.atleast_2d(np.asarray(vectors, dtype=np.float32)))
        return np.clip(queries @ self.unit.T, -1.0, 1.0)

    def nearest(
        self, vectors: np.ndarray, k: int = 10, answers_only: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest words by cosine of each of (n, D) vectors, in one matrix product.

        Hidden words are left out; fewer than k come where fewer words may.

        Returns:
            positions int64 (n, k) and cosines float32 (n, k), best first.
        """
        scores = self.similarities(vectors)
        allowed = self.answerable if answers_only else self.shown
        if not allowed.all():
            scores = np.where(allowed, scores, np.float32(-2.0))
        return top_k(scores, min(k, int(allowed.sum())))

    def neighbours(
        self, word: str, k: int = 10, answers_only: bool = False
    ) -> list[tuple[str, float]]:
        """The k words nearest to a word and their cosines, itself left out.

        Raises:
            UserError: the vocabulary lacks the word, or hides it.
        """
        if word not in self.index or word in self.hidden:
            raise UserError(f"The vocabulary lacks the word {word!r}; try another one.")
        positions, scores = self.nearest(self[word], min(k + 1, len(self)), answers_only)
        pairs = zip(positions[0], scores[0], strict=True)
        return [(self.words[p], float(s)) for p, s in pairs if self.words[p] != word][:k]

    def save(self, path: str | os.PathLike) -> None:
        """Write the `.npz`, atomically; the same contents give the same bytes."""
        words = np.frombuffer("\n".join(self.words).encode("utf-8"), dtype=np.uint8)
        # An open file, because numpy appends `.npz` to a name that lacks it.
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, words=words, vectors=self.vectors, counts=self.counts)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "WordVectors":
        """Read what `save` wrote.

        Raises:
            EmbeddingError: missing file, or not an embedding of ours.
        """
        path = Path(path)
        if not path.is_file():
            raise EmbeddingError(f"There is no embedding {path}; run scripts/train_embedding.py.")
        try:
            arrays = load_arrays(
                path, _FORMS, "is not an embedding", "make one with scripts/train_embedding.py"
            )
        except UserError as error:
            raise EmbeddingError(str(error)) from None
        words = arrays["words"].split("\n")
        return cls(words, arrays["vectors"].astype(np.float32), arrays["counts"].astype(np.int64))

    def export_word2vec(self, path: str | os.PathLike, binary: bool = False) -> None:
        """Write word2vec's own format, which gensim's `KeyedVectors` and others read."""
        from gensim.models import KeyedVectors

        vectors = KeyedVectors(self.dimensions)
        vectors.add_vectors(self.words, self.vectors)
        for word, count in zip(self.words, self.counts, strict=True):
            vectors.set_vecattr(word, "count", int(count))
        with atomic_path(path) as temporary:
            vectors.save_word2vec_format(str(temporary), binary=binary)


def top_k(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions int64 (n, k) and values (n, k) of the k largest of each row (n, V), best first."""
    k = min(k, scores.shape[1])
    chosen = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    values = np.take_along_axis(scores, chosen, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(chosen, order, axis=1), np.take_along_axis(values, order, axis=1)


@dataclass(frozen=True)
class EmbeddingConfig:
    """How Word2Vec is trained (Mikolov et al. 2013, arXiv 1301.3781 and 1310.4546)."""

    dimensions: int = 100  # the original's
    # Skip-gram serves rare words (artists' names) better than the original's CBOW when the
    # corpus has millions rather than billions of words.
    skip_gram: bool = True
    window: int = 5
    negative: int = 10
    sample: float = 1e-4  # frequent words are thinned out: "of" and "a" teach little
    min_count: int = 5  # the original's 1 kept every misspelling
    epochs: int = 18  # the original's
    seed: int = 1

    def __post_init__(self) -> None:
        if self.dimensions < 2 or self.window < 1 or self.min_count < 1 or self.epochs < 1:
            raise UserError("Dimensions, window, min_count and epochs must be positive.")

    @property
    def options(self) -> dict[str, Any]:
        """What gensim's `Word2Vec` calls these settings, but for the epochs."""
        return {
            "vector_size": self.dimensions,
            "sg": int(self.skip_gram),
            "window": self.window,
            "negative": self.negative,
            "sample": self.sample,
            "min_count": self.min_count,
            "seed": self.seed,
        }


def train_embedding(
    files: Sequence[str | os.PathLike],
    config: EmbeddingConfig | None = None,
    include_test: bool = False,
    workers: int = 1,
    on_epoch: Callable[[int, float], None] | None = None,
) -> tuple[WordVectors, dict[str, int]]:
    """Train Word2Vec on every prompt of `files` (parquet with a column `prompt`, or text).

    Writing the corpus and counting its words take all cores, since their result does not depend
    on the number. The log tells of both, and of the training, how fast it goes and how many
    hours are left.

    Args:
        files: streamed, never all in memory.
        config: unset, the defaults.
        include_test: see `corpus.write_corpus`.
        workers: threads of the training. 1 is reproducible, same input, same bytes; more is faster
            and is not.
        on_epoch: called with (epoch from 1, seconds so far).

    Returns:
        The vectors and the corpus counts of `corpus.write_corpus`.

    Raises:
        UserError: a file is missing or has the wrong columns, or no word comes often enough.
    """
    config = config or EmbeddingConfig()
    _check_workers(workers)
    started = time.monotonic()
    with corpus.corpus_file() as (path, file):
        counts = corpus.write_corpus(files, file, include_test)
        vectors = train_on_corpus(
            path,
            counts["words"],
            config,
            workers,
            on_epoch and (lambda epoch: on_epoch(epoch, time.monotonic() - started)),
        )
    return vectors, counts


def train_on_corpus(
    path: str | os.PathLike,
    words: int,
    config: EmbeddingConfig,
    workers: int = 1,
    on_epoch: Callable[[int], None] | None = None,
) -> WordVectors:
    """Train Word2Vec on what `corpus.write_corpus` wrote.

    Args:
        path: the corpus; not compressed.
        words: how many it holds.
        config, workers: as in `train_embedding`.
        on_epoch: called with the epoch, from 1.

    Raises:
        UserError: no two words come often enough.
    """
    from gensim.models import Word2Vec

    _check_workers(workers)
    model = Word2Vec(**config.options, epochs=config.epochs, workers=workers)
    # gensim's own `build_vocab` does the same on one core.
    frequencies, sentences = corpus.count_words(path)
    if sum(count >= config.min_count for count in frequencies.values()) < 2:
        raise UserError(
            f"Fewer than two words come at least {config.min_count} times; "
            "give more prompts or a smaller min_count."
        )
    model.build_vocab_from_freq(frequencies, corpus_count=sentences)
    del frequencies
    log.info(
        "training: %s words a vector, %d epochs of %s words, %s",
        f"{len(model.wv):,}",
        config.epochs,
        f"{words:,}",
        "1 worker: the same input gives the same bytes"
        if workers == 1
        else f"{workers} workers: not reproducible",
    )
    with _Progress(path, words, config.epochs, workers, on_epoch) as progress:
        model.train(
            corpus_file=os.fspath(path),
            total_examples=sentences,
            total_words=words,
            epochs=config.epochs,
            callbacks=[progress.callback()],
        )
    trained = model.wv
    del model  # half of its memory are weights that nobody needs any more
    frequency = np.array([trained.get_vecattr(w, "count") for w in trained.index_to_key])
    # gensim sorts by count alone; a second key makes the order of the file's words definite.
    order = sorted(range(len(frequency)), key=lambda i: (-frequency[i], trained.index_to_key[i]))
    ordered = [trained.index_to_key[i] for i in order]
    return WordVectors(ordered, trained.vectors[order], frequency[order])


def _check_workers(workers: int) -> None:
    if workers < 1:
        raise UserError(f"The number of workers must be at least 1, not {workers}.")


class _Progress:
    """Tells the log how far a training is.

    From a file gensim reports once an epoch, which at 14 million prompts is once in half an hour.
    In between, a thread asks the system (Linux) how far the workers have read: of W workers each
    reads its own W-th of the file, and each has a file of its own open.
    """

    LOOK_SECONDS = 1.0

    def __init__(
        self,
        path: str | os.PathLike,
        words: int,
        epochs: int,
        workers: int,
        on_epoch: Callable[[int], None] | None,
    ) -> None:
        self._readers = corpus.Readers(path, workers)
        self._words, self._epochs, self._on_epoch = words, epochs, on_epoch
        self._epoch = 0  # that are over
        self._meter = corpus.Meter("training", "words", words * epochs)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "_Progress":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def callback(self) -> "CallbackAny2Vec":
        """What gensim calls when an epoch begins or ends."""
        from gensim.models.callbacks import CallbackAny2Vec

        class Callback(CallbackAny2Vec):
            def on_epoch_begin(_, model: object) -> None:
                with self._lock:
                    self._readers.reset()

            def on_epoch_end(_, model: object) -> None:
                with self._lock:
                    self._epoch += 1
                    self._readers.reset()
                    done = self._words * self._epoch
                    self._meter.write(done, done, f"epoch {self._epoch} of {self._epochs} is over")
                if self._on_epoch:
                    self._on_epoch(self._epoch)

        return Callback()

    def _watch(self) -> None:
        while not self._over.wait(self.LOOK_SECONDS):
            with self._lock:
                done = self._words * (self._epoch + self._readers.share())
                epoch = min(self._epoch + 1, self._epochs)
                self._meter.report(done, done, f"epoch {epoch} of {self._epochs}")


def _normalise(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.maximum(length, 1e-12)).astype(np.float32)
