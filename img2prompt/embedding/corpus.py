"""Prompts → one text file for Word2Vec, a tokenized prompt a line, on all cores.

The words are cut by other processes (`corpus_worker.py`), batches in order and answers in order,
so that the file is the same whatever their number. Memory does not grow with the prompts, but for
eight bytes a distinct one.
"""

import contextlib
import itertools
import logging
import os
import queue
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow.parquet as pq

from img2prompt.core.errors import UserError
from img2prompt.core.files import atomic_path
from img2prompt.core.processes import usable_cores
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
REPORT_SECONDS = 10.0  # between two lines of the log


def write_corpus(
    files: Iterable[str | os.PathLike],
    out: str | os.PathLike | BinaryIO,
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
    files = [Path(path) for path in files]
    with contextlib.ExitStack() as stack:
        if isinstance(out, (str, os.PathLike)):
            out = stack.enter_context(stack.enter_context(atomic_path(out)).open("wb"))
        workers = stack.enter_context(Workers(processes))
        return _write(files, out, include_test, workers)


def _write(
    files: Sequence[Path], out: BinaryIO, include_test: bool, workers: "Workers"
) -> dict[str, int]:
    counts = dict.fromkeys(("prompts", "words", "repeated", "test_prompts", "empty"), 0)
    seen = KeySet()
    read = 0
    meter = Meter("corpus", "prompts", _rows(files))
    for path in files:
        template = sorted(_template_words(path, workers))
        tasks = (
            (prompts, written, template if not all(written) else [])
            for prompts, written in _batches(path)
        )
        for keys, sizes, lines in workers.map("tokenize", tasks):
            keys = np.frombuffer(keys, ">u8").astype(np.uint64)
            sizes = np.frombuffer(sizes, "<u4")
            new = seen.add(keys)
            test = new & is_test(keys) & (not include_test)
            kept = new & ~test & (sizes > 0)
            out.write(b"".join(itertools.compress(lines, kept)))
            counts["prompts"] += int(kept.sum())
            counts["words"] += int(sizes[kept].sum())
            counts["repeated"] += int((~new).sum())
            counts["test_prompts"] += int(test.sum())
            counts["empty"] += int((new & ~test & (sizes == 0)).sum())
            read += len(keys)
            meter.report(read, counts["words"])
    out.flush()
    meter.write(read, counts["words"])
    return counts


def count_words(
    corpus: str | os.PathLike, processes: int | None = None
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
    sentences = done = 0
    read = 0.0
    least = 1
    meter = Meter("vocabulary", "MB", Path(corpus).stat().st_size / 1e6)

    def parts(file: BinaryIO) -> Iterator[tuple[bytes]]:
        while part := file.read(COUNTED_BYTES):
            yield (part + file.readline(),)

    with open(corpus, "rb") as file, Workers(processes) as workers:
        for found, lines, size in workers.map("count_words", parts(file)):
            for word, count in found.items():
                counts[word] = counts.get(word, 0) + count
            done += sum(found.values())
            sentences += lines
            while len(counts) > MOST_WORDS:
                counts = {word: count for word, count in counts.items() if count > least}
                log.warning(
                    "vocabulary: over %s different words; forgot those that came %d times or less",
                    f"{MOST_WORDS:,}",
                    least,
                )
                least += 1
            read += size / 1e6
            meter.report(read, done, f"{len(counts):,} different")
    meter.write(read, done, f"{len(counts):,} different")
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
        self._shards: list[list[np.ndarray]] = [[] for _ in range(self.SHARDS)]
        self._starts = np.arange(1, self.SHARDS, dtype=np.uint64) * np.uint64(2**64 // self.SHARDS)

    def __len__(self) -> int:
        return sum(len(run) for runs in self._shards for run in runs)

    def add(self, keys: np.ndarray) -> np.ndarray:
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


def is_test(keys: np.ndarray) -> np.ndarray:
    """bool (n,): which prompts' keys, uint64 (n,), lie in the test split of `dataset.split_of`.

    Both hash the folded prompt alike; here it is hashed once for both purposes.
    """
    return keys / 2**64 >= TRAIN_SHARE + VALIDATION_SHARE


class Workers:
    """Processes that run the tasks of `corpus_worker.py`; a context manager.

    They start with the second task: a small input is not worth a process. They end when their
    input ends, so also when this process is killed.

    Args:
        count: how many; unset, as many as there are cores, at most `MOST_PROCESSES`. 1 is this
            process alone.
    """

    def __init__(self, count: int | None = None) -> None:
        if count is not None and count < 1:
            raise UserError(f"The number of processes must be at least 1, not {count}.")
        self.count = count or min(usable_cores(), MOST_PROCESSES)
        self._started: list[subprocess.Popen] = []
        self._idle: queue.SimpleQueue[subprocess.Popen] = queue.SimpleQueue()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            process.kill()  # whatever it works at, nobody waits for it any more
            process.wait()
            process.stdout.close()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        self._started.clear()

    def map(self, task: str, arguments: Iterable[tuple]) -> Iterator[Any]:
        """The task's answer to each tuple of arguments, in order; few are read ahead.

        Raises:
            UserError: a process was killed.
        """
        arguments = iter(arguments)
        first = list(itertools.islice(arguments, 2))
        arguments = itertools.chain(first, arguments)
        if self.count == 1 or len(first) < 2:
            yield from (corpus_worker.TASKS[task](*some) for some in arguments)
            return
        self._start()
        asked: deque[Future] = deque()
        # A thread a process, which waits for its answer.
        threads = ThreadPoolExecutor(self.count)
        try:
            for some in arguments:
                asked.append(threads.submit(self._ask, task, some))
                while len(asked) > self.count + 2:
                    yield asked.popleft().result()
            while asked:
                yield asked.popleft().result()
        finally:
            threads.shutdown(cancel_futures=True)

    def _start(self) -> None:
        # The same package as ours, wherever it was found.
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
        }
        while len(self._started) < self.count:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", corpus_worker.__name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
            )
            self._started.append(process)
            self._idle.put(process)

    def _ask(self, task: str, arguments: tuple) -> Any:
        process = self._idle.get()
        try:
            corpus_worker.send(process.stdin, (task, arguments))
            return corpus_worker.receive(process.stdout)
        except (EOFError, BrokenPipeError):
            raise UserError(
                "A process that helped to write the corpus was killed; is there enough memory?"
            ) from None
        finally:
            self._idle.put(process)


class Meter:
    """Lines in the log: how much is done, how fast, and how many hours are to go.

    Args:
        stage: what the line begins with.
        unit: in what `done` is measured.
        total: how much there is in the end, if that is known.
        seconds: the least time between two lines; unset, `REPORT_SECONDS`.
    """

    def __init__(
        self, stage: str, unit: str, total: float | None = None, seconds: float | None = None
    ) -> None:
        self._stage, self._unit, self._total = stage, unit, total
        self._seconds = REPORT_SECONDS if seconds is None else seconds
        self._started = self._last = time.monotonic()

    def report(self, done: float, words: float, more: str = "") -> None:
        """Write a line, if the last one is long enough ago.

        Args:
            done: so far, in the meter's unit.
            words: so far.
            more: what else the line says.
        """
        if time.monotonic() - self._last >= self._seconds:
            self.write(done, words, more)

    def write(self, done: float, words: float, more: str = "") -> None:
        """Write a line now; arguments as of `report`."""
        self._last = time.monotonic()
        elapsed = max(self._last - self._started, 1e-9)
        parts = [f"{words:,.0f} words", f"{words / elapsed:,.0f} words/s"]
        if self._unit != "words":
            parts += [f"{done:,.0f} {self._unit}", f"{done / elapsed:,.0f} {self._unit}/s"]
        parts += [more] if more else []
        if self._total and done:
            hours = elapsed * max(self._total - done, 0) / done / 3600
            parts += [f"{100 * done / self._total:.1f} % done", f"{hours:.2f} hours to go"]
        log.info("%s: %s", self._stage, ", ".join(parts))


def _template_words(path: Path, workers: Workers) -> set[str]:
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

    for found in workers.map("count_prompts_with", tasks()):
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
