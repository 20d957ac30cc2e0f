"""Prompts → one text file for Word2Vec, a tokenized prompt a line, on all cores.

The words are cut by other processes (`corpus_worker.py`), batches in order and answers in order,
so the file is the same whatever their number. Memory holds eight bytes a distinct prompt and does
not grow with anything else.
"""

import contextlib
import itertools
import logging
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tqdm import tqdm

from img2prompt.core.executors import check_workers, in_order, local, usable_cores
from img2prompt.core.files import atomic_path
from img2prompt.data.parquet import PARQUET_ERRORS
from img2prompt.data.prompts import iter_prompts
from img2prompt.data.splits import TRAIN_SHARE, VALIDATION_SHARE
from img2prompt.embedding import corpus_worker

log = logging.getLogger(__name__)

# A rebuilt prompt is a template with a name in it ("a dog by Ossip Zadkine"). Words in more than
# this share of a file's rebuilt prompts are the template's, and are left out of the corpus: kept,
# they taught Word2Vec that "dog" means the same as "spaceship" and "Zadkine".
TEMPLATE_SHARE = 0.01
TEMPLATE_PROMPTS = 100  # with fewer rebuilt prompts a share says nothing

BATCH_PROMPTS = 4_096  # handed to a process at once
BATCH_CHARACTERS = 2**20  # or fewer, where prompts are long
COUNTED_BYTES = 4 * 2**20  # of the corpus, whose words a process counts at once
MOST_PROCESSES = 16  # the one that reads and writes cannot feed more
MOST_WORDS = 4_000_000  # different words that are counted; some 130 bytes each
REPORT_SECONDS = 1.0  # between two looks of the bar


def write_corpus(
    files: Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str] | BinaryIO,
    include_test: bool = False,
    processes: int | None = None,
) -> dict[str, int]:
    """Stream prompts of all files into one text file, a tokenized prompt a line.

    Prompts that fold alike are written once: repeats would teach their words' neighbourhood many
    times over. Prompts that hash to the test split are left out unless `include_test`: an
    embedding that saw a test prompt has learned which of its words go together, and the test
    would flatter it. Memory holds 8 bytes a distinct prompt, see `KeySet`.

    Rebuilt prompts lose their template's words, see `TEMPLATE_SHARE`.

    Args:
        files: parquet with a column `prompt`, or text, one prompt a line.
        out: a path, written atomically, or a binary file.
        include_test: see above.
        processes: how many cut words; unset, as many as there are cores, at most
            `MOST_PROCESSES`. The file does not depend on it.

    Returns:
        Counts: `prompts`, `words`, `repeated`, `test_prompts`, `empty`.

    Raises:
        UserError: a file is missing or has the wrong columns, or a process was killed.
    """
    paths = [Path(path) for path in files]
    with contextlib.ExitStack() as stack:
        if isinstance(out, str | os.PathLike):
            out = stack.enter_context(stack.enter_context(atomic_path(out)).open("wb"))
        executor = stack.enter_context(_executor(processes))
        return _write(paths, out, include_test, executor)


def _executor(processes: int | None) -> Executor:
    check_workers(processes)
    return local(processes or min(usable_cores(), MOST_PROCESSES))


def _bar(stage: str, unit: str, total: float | None) -> Any:
    """A progress bar on stderr, where the log is on: rate, share done and time to go."""
    return tqdm(
        desc=stage,
        unit=unit,
        total=total,
        unit_scale=True,
        mininterval=REPORT_SECONDS,
        disable=not log.isEnabledFor(logging.INFO),
    )


def _write(
    files: Sequence[Path], out: BinaryIO, include_test: bool, executor: Executor
) -> dict[str, int]:
    counts = dict.fromkeys(("prompts", "words", "repeated", "test_prompts", "empty"), 0)
    seen = KeySet()
    with _bar("corpus", " prompts", _rows(files)) as bar:
        for path in files:
            template = sorted(_template_words(path, executor))
            tasks = (
                (prompts, written, template if not all(written) else [])
                for prompts, written in _batches(path)
            )
            for digests, lengths, lines in in_order(executor, corpus_worker.tokenize, tasks):
                keys = np.frombuffer(digests, ">u8").astype(np.uint64)
                sizes = np.frombuffer(lengths, "<u4")
                new = seen.add(keys)
                test = new & is_test(keys) & (not include_test)
                kept = new & ~test & (sizes > 0)
                out.write(b"".join(itertools.compress(lines, kept)))
                counts["prompts"] += int(kept.sum())
                counts["words"] += int(sizes[kept].sum())
                counts["repeated"] += int((~new).sum())
                counts["test_prompts"] += int(test.sum())
                counts["empty"] += int((new & ~test & (sizes == 0)).sum())
                bar.update(len(keys))
    out.flush()
    return counts


def count_words(
    corpus: str | os.PathLike[str], processes: int | None = None
) -> tuple[dict[str, int], int]:
    """Count a corpus's words on all cores.

    Where there are more than `MOST_WORDS` different ones, those that came least so far are
    forgotten, so that memory has a bound; a word as rare as that is below any sensible
    `min_count`.

    Returns:
        How often each word comes, in the order of first appearance, which is the order gensim's
        own count has; and the number of sentences as gensim counts them.
    """
    counts: dict[str, int] = {}
    sentences, least = 0, 1

    def parts(file: BinaryIO) -> Iterator[tuple[bytes]]:
        while part := file.read(COUNTED_BYTES):
            yield (part + file.readline(),)

    with (
        open(corpus, "rb") as file,
        _executor(processes) as executor,
        _bar("vocabulary", "B", Path(corpus).stat().st_size) as bar,
    ):
        for found, lines, size in in_order(executor, corpus_worker.count_words, parts(file)):
            for word, count in found.items():
                counts[word] = counts.get(word, 0) + count
            sentences += lines
            while len(counts) > MOST_WORDS:
                counts = {word: count for word, count in counts.items() if count > least}
                log.warning(
                    "vocabulary: over %s different words; forgot those that came %d times or less",
                    f"{MOST_WORDS:,}",
                    least,
                )
                least += 1
            bar.update(size)
    return counts, sentences


@contextlib.contextmanager
def corpus_file() -> Iterator[tuple[str, BinaryIO]]:
    """A temporary file: its path, which other parts of this process can open, and the open file.

    Where the system lets a process reach its open files by name (Linux), the file has no other
    name, so that nothing is left of it however the process ends.
    """
    with tempfile.TemporaryFile(prefix="img2prompt-") as file:
        path = f"/proc/self/fd/{file.fileno()}"
        if Path(path).exists():
            yield path, file
            return
    with tempfile.TemporaryDirectory(prefix="img2prompt-") as folder:
        path = os.path.join(folder, "corpus.txt")
        with open(path, "w+b") as file:
            yield path, file


class KeySet:
    """A set of uint64 that takes 8 bytes a key, where a Python set takes about 100.

    The keys lie in sorted arrays, each a few times as long as the next, which are merged as they
    grow (a log-structured merge tree); those of every shard on their own, so that a merge
    copies a sixteenth of all.

    The set is exact. The keys are 64-bit hashes of prompts: among 14 million different prompts
    the expected number of pairs that share one is 14e6² / 2⁶⁵, one in 190,000 corpora.
    """

    SHARDS = 16

    def __init__(self) -> None:
        self._shards: list[list[NDArray[np.uint64]]] = [[] for _ in range(self.SHARDS)]
        self._starts = np.arange(1, self.SHARDS, dtype=np.uint64) * np.uint64(2**64 // self.SHARDS)

    def __len__(self) -> int:
        return sum(len(run) for runs in self._shards for run in runs)

    def add(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Add keys, uint64 (n,), in order.

        Returns:
            bool (n,): True where a key came for the first time.
        """
        distinct, first = np.unique(keys, return_index=True)
        new = np.ones(len(distinct), dtype=bool)
        bounds = [0, *np.searchsorted(distinct, self._starts), len(distinct)]
        for runs, (low, high) in zip(self._shards, itertools.pairwise(bounds), strict=True):
            part = distinct[low:high]
            for run in runs:
                at = np.searchsorted(run, part)
                at[at == len(run)] = 0  # beyond the last key; it differs from the first as well
                new[low:high] &= run[at] != part
            fresh = part[new[low:high]]
            if len(fresh):
                runs.append(fresh)
            while len(runs) > 1 and len(runs[-2]) < 3 * len(runs[-1]):
                merged = np.concatenate((runs.pop(), runs.pop()))
                merged.sort(kind="stable")  # two sorted runs: a merge, not a sort
                runs.append(merged)
        mask = np.zeros(len(keys), dtype=bool)
        mask[first[new]] = True
        return mask


def is_test(keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """bool (n,): which prompts' keys, uint64 (n,), lie in the test split of `splits.split_of`.

    Both hash the folded prompt alike; here it is hashed once for both purposes.
    """
    return keys / 2**64 >= TRAIN_SHARE + VALIDATION_SHARE


def _template_words(path: Path, executor: Executor) -> set[str]:
    # Only parquet files with this column tell of rebuilt prompts; the others are read once.
    if not _tells_of_rebuilt_prompts(path):
        return set()
    rebuilt: Counter[str] = Counter()
    prompts = 0

    def tasks() -> Iterator[tuple[list[str]]]:
        nonlocal prompts
        for batch, written in _batches(path):
            some = [prompt for prompt, exact in zip(batch, written, strict=True) if not exact]
            prompts += len(some)
            if some:
                yield (some,)

    for found in in_order(executor, corpus_worker.count_prompts_with, tasks()):
        rebuilt.update(found)
    if prompts < TEMPLATE_PROMPTS:
        return set()
    return {word for word, count in rebuilt.items() if count > TEMPLATE_SHARE * prompts}


def _tells_of_rebuilt_prompts(path: Path) -> bool:
    if path.suffix != ".parquet" or not path.is_file():
        return False
    try:
        return "prompt_exact" in pq.read_schema(path).names
    except PARQUET_ERRORS:
        return False  # told by the one who reads it


def _batches(path: Path) -> Iterator[tuple[list[str], list[bool]]]:
    prompts: list[str] = []
    written: list[bool] = []
    characters = 0
    for prompt, exact, _ in iter_prompts(path, batch_rows=BATCH_PROMPTS):
        prompts.append(prompt)
        written.append(exact)
        characters += len(prompt)
        if len(prompts) == BATCH_PROMPTS or characters >= BATCH_CHARACTERS:
            yield prompts, written
            prompts, written, characters = [], [], 0
    if prompts:
        yield prompts, written


def _rows(files: Sequence[Path]) -> int | None:
    """Rows of parquet files; None where one is text, whose lines nobody has counted."""
    try:
        return sum(pq.read_metadata(path).num_rows for path in files)
    except PARQUET_ERRORS:
        return None
