"""Word2Vec training on prompts, with gensim. Nothing else imports gensim, the app least of all."""

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gensim.models import KeyedVectors, Word2Vec
from gensim.models.callbacks import CallbackAny2Vec

from img2prompt.core.errors import UserError
from img2prompt.core.executors import check_workers
from img2prompt.core.files import atomic_path
from img2prompt.embedding import corpus
from img2prompt.embedding.vectors import WordVectors

log = logging.getLogger(__name__)


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
            raise UserError("embedding.settings")

    @property
    def options(self) -> dict[str, Any]:
        """The same settings under the names of gensim's `Word2Vec`, without the epochs."""
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
    files: Sequence[str | os.PathLike[str]],
    config: EmbeddingConfig | None = None,
    include_test: bool = False,
    workers: int = 1,
) -> tuple[WordVectors, dict[str, int]]:
    """Train Word2Vec on every prompt of `files` (parquet with a column `prompt`, or text).

    Writing the corpus and counting its words use all cores: their result does not depend on the
    number. The log shows the speed and the remaining hours of each step.

    Args:
        files: streamed, never all in memory.
        config: unset, the defaults.
        include_test: see `corpus.write_corpus`.
        workers: threads of the training. With 1 the same input gives the same bytes; more are
            faster and not reproducible.

    Returns:
        The vectors and the corpus counts of `corpus.write_corpus`.

    Raises:
        UserError: a file is missing or has the wrong columns, or fewer than two words come
            `min_count` times.
    """
    config = config or EmbeddingConfig()
    check_workers(workers)
    with corpus.corpus_file() as (path, file):
        counts = corpus.write_corpus(files, file, include_test)
        return train_on_corpus(path, counts["words"], config, workers), counts


def train_on_corpus(
    path: str | os.PathLike[str],
    words: int,
    config: EmbeddingConfig,
    workers: int = 1,
) -> WordVectors:
    """Train Word2Vec on a corpus that `corpus.write_corpus` wrote.

    Args:
        path: the corpus; not compressed.
        words: how many it holds.
        config, workers: as in `train_embedding`.

    Raises:
        UserError: fewer than two words come `min_count` times.
    """
    check_workers(workers)
    model = Word2Vec(**config.options, epochs=config.epochs, workers=workers)
    # gensim's own `build_vocab` does the same on one core.
    frequencies, sentences = corpus.count_words(path)
    if sum(count >= config.min_count for count in frequencies.values()) < 2:
        raise UserError("embedding.few_words", least=config.min_count)
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
    model.train(
        corpus_file=os.fspath(path),
        total_examples=sentences,
        total_words=words,
        epochs=config.epochs,
        callbacks=[_Progress(words, config.epochs)],
    )
    trained = model.wv
    del model  # half of its memory are weights that nobody needs any more
    frequency = np.array([trained.get_vecattr(w, "count") for w in trained.index_to_key])
    # gensim sorts by count alone; a second key makes the order of the file's words definite.
    order = sorted(range(len(frequency)), key=lambda i: (-frequency[i], trained.index_to_key[i]))
    ordered = [trained.index_to_key[i] for i in order]
    return WordVectors(ordered, trained.vectors[order], frequency[order])


def export_word2vec(
    vectors: WordVectors, path: str | os.PathLike[str], binary: bool = False
) -> None:
    """Write word2vec's own format, which gensim's `KeyedVectors` and others read."""
    keyed = KeyedVectors(vectors.dimensions)
    keyed.add_vectors(vectors.words, vectors.vectors)
    for word, count in zip(vectors.words, vectors.counts, strict=True):
        keyed.set_vecattr(word, "count", int(count))
    with atomic_path(path) as temporary:
        keyed.save_word2vec_format(str(temporary), binary=binary)


class _Progress(CallbackAny2Vec):
    """Writes a line to the log after each epoch: the speed and the remaining hours."""

    def __init__(self, words: int, epochs: int) -> None:
        self._words, self._epochs = words, epochs
        self._epoch = 0  # how many are over
        self._started = time.monotonic()

    def on_epoch_end(self, _model: Word2Vec) -> None:
        self._epoch += 1
        seconds = max(time.monotonic() - self._started, 1e-9)
        done = self._words * self._epoch
        log.info(
            "training: %s words, %s words/s, epoch %d of %d is over, %.1f %% done, "
            "%.2f hours to go",
            f"{done:,}",
            f"{done / seconds:,.0f}",
            self._epoch,
            self._epochs,
            100 * self._epoch / self._epochs,
            seconds * (self._epochs - self._epoch) / self._epoch / 3600,
        )
