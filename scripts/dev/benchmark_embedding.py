"""How fast the embedding is trained and how much memory that takes, beside gensim alone.

    python scripts/dev/benchmark_embedding.py

Makes up 40 million words of prompts whose words are distributed as in real ones, and trains one
epoch on them in two ways, each run in a process of its own, in turn: gensim's `Word2Vec` on its
`LineSentence` of the ready corpus, and ours, from a parquet file to the vectors. Then the whole
way on a quarter of the words, for the memory. 12 minutes on two CPU cores, of which nothing else
should make use meanwhile; `--words 2000000` takes a minute.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from process_memory import watched

from img2prompt.core.cli import run_command
from img2prompt.core.errors import UserError
from img2prompt.core.executors import usable_cores
from img2prompt.embedding import corpus

# The share of the r-th most frequent word is as r^−a · (1 + r/k)^−b, fitted by least squares of
# the logarithms to ranks 1 … 30,000 of the 4,360,799 words that scripts/train_embedding.py reads
# in the pack's prompts. It gives 93,797 different words in as many; there are 98,036.
EXPONENT, TAIL_EXPONENT, KNEE = 0.905, 1.161, 5244.0
MOST_WORDS = 2_000_000  # the rarest come once in a billion words
WORDS_A_PROMPT = 24.4  # DiffusionDB 2M, see the original's count: 876,959,748 words in 18 epochs
LENGTH_SPREAD = 0.79  # standard deviation of the logarithm of a prompt's length, in the pack
REPEATED = 0.25  # of DiffusionDB 2M's 2 million prompts 1.5 million are distinct
TOPICS = 64
TOPICAL = 0.5  # the share of words that the prompt's topic decides
CAPITAL, COMMA = 0.15, 0.25  # shares of words

EPOCHS = 18
DIFFUSIONDB = {"2 M": 2_000_000, "14 M": 14_000_000}  # prompts, repeated ones included
TARGET = 0.9
WAYS = ("gensim", "img2prompt")

_CONSONANTS, _VOWELS = "bcdfghjklmnprstvwz", "aeiou"
_SYLLABLES = [a + b for a in _CONSONANTS for b in _VOWELS]


@dataclass(frozen=True)
class Sample:
    """One run in a process of its own.

    Attributes:
        way: one of `WAYS`.
        words: in the corpus.
        prompts: in the corpus.
        vocabulary: words that have a vector.
        corpus_seconds: parquet → corpus; 0 where the corpus was there already.
        training_seconds: counting the words and one epoch.
        corpus_cpu, training_cpu: CPU seconds of all processes and threads in the same spans, which
            tell more than the clock where other programs run.
        corpus_peak, peak: the most memory, MB, of the process and its children together, pages
            they share counted once, until the corpus was written and over all.
    """

    way: str
    words: int
    prompts: int
    vocabulary: int
    corpus_seconds: float
    training_seconds: float
    corpus_cpu: float
    training_cpu: float
    corpus_peak: float
    peak: float

    @property
    def training_rate(self) -> float:
        """Words a second, counting the vocabulary included."""
        return self.words / self.training_seconds

    @property
    def rate(self) -> float:
        """Words a second from the prompts to the end of the epoch."""
        return self.words / (self.corpus_seconds + self.training_seconds)


def word(rank: int) -> str:
    """The made-up word of a rank from 0; every rank has its own.

    >>> [word(rank) for rank in (0, 89, 90, 8190)]
    ['ba', 'zu', 'baba', 'bababa']
    """
    syllables = 1
    while rank >= len(_SYLLABLES) ** syllables:
        rank -= len(_SYLLABLES) ** syllables
        syllables += 1
    found = []
    for _ in range(syllables):
        rank, digit = divmod(rank, len(_SYLLABLES))
        found.append(_SYLLABLES[digit])
    return "".join(reversed(found))


def made_up_prompts(words: int, seed: int = 0) -> Iterator[list[str]]:
    """Lists of prompts that hold some `words` words together, repeated ones not counted."""
    rng = np.random.default_rng(seed)
    ranks = np.arange(1, MOST_WORDS + 1)
    shares = ranks**-EXPONENT * (1 + ranks / KNEE) ** -TAIL_EXPONENT
    cumulative = np.cumsum(shares / shares.sum())
    spelled: dict[int, str] = {}
    # The logarithm's mean, so that the lengths' own mean is as wanted.
    middle = np.log(WORDS_A_PROMPT) - LENGTH_SPREAD**2 / 2
    while words > 0:
        lengths = np.maximum(np.round(rng.lognormal(middle, LENGTH_SPREAD, 10_000)), 1).astype(int)
        lengths = lengths[: int(np.searchsorted(np.cumsum(lengths), words)) + 1]
        total = int(lengths.sum())
        words -= total
        drawn = np.minimum(np.searchsorted(cumulative, rng.random(total)), MOST_WORDS - 1)
        # Of each TOPICS words of neighbouring rank, about as frequent, one belongs to each topic.
        topic = np.repeat(rng.integers(0, TOPICS, len(lengths)), lengths)
        topical = (rng.random(total) < TOPICAL) & (drawn >= TOPICS)
        drawn = np.where(topical, drawn - drawn % TOPICS + topic, drawn)
        drawn = np.minimum(drawn, MOST_WORDS - 1)
        capital = (rng.random(total) < CAPITAL).tolist()
        comma = (rng.random(total) < COMMA).tolist()
        for rank in np.unique(drawn).tolist():
            if rank not in spelled:
                spelled[rank] = word(rank)
        tokens = [
            (spelled[rank].title() if large else spelled[rank]) + ("," if mark else "")
            for rank, large, mark in zip(drawn.tolist(), capital, comma, strict=True)
        ]
        ends = np.cumsum(lengths).tolist()
        prompts = [" ".join(tokens[a:b]) for a, b in zip([0, *ends], ends, strict=False)]
        # A prompt's pictures lie beside each other, and so do its repetitions.
        times = rng.geometric(1 - REPEATED, len(prompts)).tolist()
        yield [p for p, n in zip(prompts, times, strict=True) for _ in range(n)]


def write_prompts(path: str | os.PathLike[str], words: int, seed: int = 0) -> int:
    """Write made-up prompts as a parquet file of one row group, the least kind way to lay it out.

    Returns:
        How many rows it has.
    """
    rows = 0
    schema = pa.schema([("prompt", pa.string())])
    tables = []
    for prompts in made_up_prompts(words, seed):
        tables.append(pa.table({"prompt": prompts}, schema=schema))
        rows += len(prompts)
    pq.write_table(pa.concat_tables(tables), path, row_group_size=max(rows, 1))
    return rows


def run_gensim(text: str | os.PathLike[str], workers: int) -> dict[str, Any]:
    """gensim's Word2Vec on its own `LineSentence`, one epoch; what `Sample` has, memory aside."""
    from gensim.models import Word2Vec
    from gensim.models.word2vec import LineSentence

    from img2prompt.embedding.word2vec import EmbeddingConfig

    config = EmbeddingConfig()
    started, cpu = time.perf_counter(), _cpu()
    model = Word2Vec(
        sentences=LineSentence(os.fspath(text)),
        **config.options,
        epochs=1,
        workers=workers,
    )
    return {
        "words": model.corpus_total_words,
        "prompts": model.corpus_count,
        "vocabulary": len(model.wv),
        "corpus_seconds": 0.0,
        "training_seconds": time.perf_counter() - started,
        "corpus_cpu": 0.0,
        "training_cpu": _cpu() - cpu,
        "corpus_written": time.time(),
    }


def run_img2prompt(prompts: str | os.PathLike[str], workers: int) -> dict[str, Any]:
    """What `word2vec.train_embedding` does, one epoch, in its two halves."""
    # Here and not above: the processes that cut words import this script, and need no gensim.
    from img2prompt.embedding.word2vec import EmbeddingConfig, train_on_corpus

    started, cpu = time.perf_counter(), _cpu()
    with corpus.corpus_file() as (path, file):
        counts = corpus.write_corpus([prompts], file, include_test=True)
        middle, middle_cpu, corpus_written = time.perf_counter(), _cpu(), time.time()
        vectors = train_on_corpus(path, counts["words"], EmbeddingConfig(epochs=1), workers)
    return {
        "words": counts["words"],
        "prompts": counts["prompts"],
        "vocabulary": len(vectors),
        "corpus_seconds": middle - started,
        "training_seconds": time.perf_counter() - middle,
        "corpus_cpu": middle_cpu - cpu,
        "training_cpu": _cpu() - middle_cpu,
        "corpus_written": corpus_written,
    }


def _cpu() -> float:
    """CPU seconds of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


RUNS = dict(zip(WAYS, (run_gensim, run_img2prompt), strict=True))


def measure(way: str, path: str | os.PathLike[str], workers: int) -> Sample:
    """Run one way in a process of its own.

    Args:
        way: one of `WAYS`.
        path: for gensim the corpus, for img2prompt the parquet file.
        workers: threads of the training.

    Raises:
        UserError: the process failed.
    """
    command = [sys.executable, __file__, "--one", way, os.fspath(path), str(workers)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
        watched(process.pid) as looks,
    ):
        answer = process.communicate()[0]
    if process.returncode:
        raise UserError("scripts.run_failed", way=way)
    values = json.loads(answer)
    written = values.pop("corpus_written")
    return Sample(
        way=way,
        corpus_peak=max((size / 1e6 for at, size in looks if at <= written), default=0.0),
        peak=max(size / 1e6 for _, size in looks),
        **values,
    )


def compare(
    folder: str | os.PathLike[str], words: int, workers: int, repeats: int
) -> dict[str, list[Sample]]:
    """Both ways in turn, `repeats` times each, on the same made-up prompts.

    Returns:
        way → its samples.
    """
    parquet, text = _inputs(Path(folder), words)
    samples: dict[str, list[Sample]] = {way: [] for way in WAYS}
    for number in range(repeats):
        # A B, B A, …: what drifts hits both alike.
        for way in WAYS if number % 2 == 0 else reversed(WAYS):
            samples[way].append(measure(way, text if way == "gensim" else parquet, workers))
    return samples


def measure_memory(folder: str | os.PathLike[str], words: int, workers: int) -> Sample:
    """The whole way once, on other made-up prompts."""
    parquet, text = _inputs(Path(folder), words)
    text.unlink()
    return measure("img2prompt", parquet, workers)


def _inputs(folder: Path, words: int) -> tuple[Path, Path]:
    parquet, text = folder / f"{words}.parquet", folder / f"{words}.txt"
    write_prompts(parquet, words)
    corpus.write_corpus([parquet], text, include_test=True)
    return parquet, text


def describe(samples: dict[str, list[Sample]]) -> list[str]:
    """Lines: every run, the medians, how they compare, and the hours DiffusionDB would take."""
    lines = []
    for sample in itertools.chain.from_iterable(samples.values()):
        lines.append(
            f"{sample.way}: {sample.training_rate:,.0f} words/s of training, "
            f"{sample.rate:,.0f} words/s in all "
            f"({sample.corpus_seconds:.1f} s corpus, {sample.training_seconds:.1f} s training; "
            f"CPU {sample.corpus_cpu:.1f} s and {sample.training_cpu:.1f} s), "
            f"peak {sample.peak:,.0f} MB"
        )
    bare, ours = samples["gensim"], samples["img2prompt"]
    base = statistics.median(sample.training_rate for sample in bare)
    for name, rates in (
        ("training, the words' counting included", [s.training_rate for s in ours]),
        ("from parquet, one epoch", [s.rate for s in ours]),
    ):
        ratio = statistics.median(rates) / base
        lines.append(
            f"{name}: {statistics.median(rates):,.0f} words/s, {ratio:.2f} of gensim's "
            f"{base:,.0f} (wanted: at least {TARGET}: {'yes' if ratio >= TARGET else 'NO'})"
        )
    cpu = [statistics.median(s.words / s.training_cpu for s in some) for some in (bare, ours)]
    lines.append(
        f"training by CPU time: {cpu[1]:,.0f} words a CPU-second, "
        f"{cpu[1] / cpu[0]:.2f} of gensim's {cpu[0]:,.0f}"
    )
    corpus_seconds = statistics.median(sample.corpus_seconds for sample in ours)
    training_seconds = statistics.median(sample.training_seconds for sample in ours)
    words = ours[0].words
    for name, prompts in DIFFUSIONDB.items():
        all_words = prompts * (1 - REPEATED) * WORDS_A_PROMPT
        hours = all_words / words * (corpus_seconds + EPOCHS * training_seconds) / 3600
        lines.append(f"{name} prompts, {all_words:,.0f} words, {EPOCHS} epochs: {hours:.1f} hours")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--words", type=int, default=40_000_000, help="how many are made up")
    parser.add_argument(
        "--workers", type=int, default=usable_cores(), help="of the training, both ways"
    )
    parser.add_argument("--repeats", type=int, default=2, help="runs of each way")
    args = parser.parse_args()
    if args.words < 10_000 or args.workers < 1 or args.repeats < 1:
        raise UserError("scripts.embedding_benchmark")
    with tempfile.TemporaryDirectory(prefix="img2prompt-") as folder:
        samples = compare(folder, args.words, args.workers, args.repeats)
        small = measure_memory(folder, args.words // 4, args.workers)
    large = samples["img2prompt"][-1]
    print(
        f"{large.words:,} words, {large.prompts:,} prompts, {large.vocabulary:,} words get a "
        f"vector; {usable_cores()} CPU cores, {args.workers} workers"
    )
    for line in describe(samples):
        print(line)
    for sample in (small, large):
        print(
            f"memory of {sample.words:,} words, all processes: {sample.corpus_peak:,.0f} MB until "
            f"the corpus is written, {sample.peak:,.0f} MB at most "
            f"({sample.vocabulary:,} vectors)"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(RUNS[sys.argv[2]](sys.argv[3], int(sys.argv[4]))))
    else:
        sys.exit(run_command(main))
