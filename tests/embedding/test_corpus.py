"""The corpus: the same on any number of processes, in little memory, with nothing left behind."""

import contextlib
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from waiting import PATIENCE, children, is_running, wait_until

from img2prompt.core.errors import UserError
from img2prompt.data import text
from img2prompt.data.prompts import iter_prompts
from img2prompt.data.splits import split_of
from img2prompt.embedding import corpus, corpus_worker
from img2prompt.embedding.corpus import (
    KeySet,
    count_words,
    is_test,
    write_corpus,
)
from img2prompt.embedding.word2vec import (
    EmbeddingConfig,
    train_embedding,
    train_on_corpus,
)

PROMPTS = st.lists(
    st.tuples(
        st.one_of(
            st.text(st.characters(codec="utf-8"), max_size=30),
            st.sampled_from(
                ["A Dog", "a  dog", "a dog's <lora:fur:0.8> hat", "ｄｏｇ", "!!", "under_score É"]
            ),
        ),
        st.sampled_from([True, True, False, None]),
    ),
    max_size=40,
)


def simple_corpus(path: Path, include_test: bool) -> tuple[bytes, dict[str, int]]:
    """What the corpus is, said as plainly as possible."""
    rows = [row[:2] for row in iter_prompts(path)]
    rebuilt = [set(text.words(prompt)) for prompt, written in rows if not written]
    often = Counter(word for words in rebuilt for word in words)
    template = set()
    if len(rebuilt) >= corpus.TEMPLATE_PROMPTS:
        template = {w for w, n in often.items() if n > corpus.TEMPLATE_SHARE * len(rebuilt)}
    counts = dict.fromkeys(("prompts", "words", "repeated", "test_prompts", "empty"), 0)
    seen, lines = set(), []
    for prompt, written in rows:
        words = [w for w in text.words(prompt) if written or w not in template]
        if text.fold(prompt) in seen:
            counts["repeated"] += 1
        elif not include_test and split_of(prompt) == "test":
            counts["test_prompts"] += 1
        elif not words:
            counts["empty"] += 1
        else:
            lines.append(" ".join(words) + "\n")
            counts["prompts"] += 1
            counts["words"] += len(words)
        seen.add(text.fold(prompt))
    return "".join(lines).encode("utf-8"), counts


def write_mixed(path: Path, count: int = 3_000) -> Path:
    """Prompts as they come: repeated, of a template, in other scripts, empty, long."""
    rng = np.random.default_rng(0)
    prompts, exact = [], []
    for number in range(count):
        kind = number % 10
        if kind < 5:
            words = rng.integers(0, 400, rng.integers(1, 30))
            prompts.append(", ".join(f"Word{word}" for word in words))
        elif kind < 7:
            prompts.append((prompts[int(rng.integers(len(prompts)))] or "?").upper())
        elif kind == 7:
            prompts.append(f"a spaceship's hull by artist{rng.integers(1_000)}")
        elif kind == 8:
            prompts.append(f"猫 {number // 20} łódź <lora:x:1> naïve_café ﬁn")
        else:
            prompts.append(["", " ", "...", "—", None, "word " * 500][number // 10 % 6])
        exact.append([True, False, None][number % 3] if kind < 7 else kind != 7)
    pq.write_table(pa.table({"prompt": prompts, "prompt_exact": exact}), path)
    return path


# --- what is written ----------------------------------------------------------------------------


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PROMPTS, st.booleans())
def test_the_corpus_is_what_a_simple_loop_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list, include_test: bool
) -> None:
    monkeypatch.setattr(corpus, "BATCH_PROMPTS", 3)  # repetitions within batches and across
    monkeypatch.setattr(corpus, "TEMPLATE_PROMPTS", 2)
    monkeypatch.setattr(corpus, "TEMPLATE_SHARE", 0.5)
    prompts, exact = [row[0] for row in rows], [row[1] for row in rows]
    table = {"prompt": pa.array(prompts, pa.string()), "prompt_exact": pa.array(exact, pa.bool_())}
    pq.write_table(pa.table(table), tmp_path / "prompts.parquet")
    expected = simple_corpus(tmp_path / "prompts.parquet", include_test)
    out = tmp_path / "corpus.txt"
    counts = write_corpus([tmp_path / "prompts.parquet"], out, include_test, processes=1)
    assert (out.read_bytes(), counts) == expected


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_the_number_of_processes_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    path = write_mixed(tmp_path / "prompts.parquet")
    expected, expected_counts = simple_corpus(path, include_test=False)
    assert min(expected_counts.values()) > 0  # there is something of everything
    monkeypatch.setattr(corpus, "BATCH_PROMPTS", 70)
    monkeypatch.setattr(corpus, "BATCH_CHARACTERS", 5_000)
    counts = write_corpus([path], tmp_path / "corpus.txt", processes=processes)
    assert counts == expected_counts
    assert (tmp_path / "corpus.txt").read_bytes() == expected


@given(st.one_of(st.text(), st.text(st.characters(max_codepoint=127)), st.text("aB3_' <:>\n\x1c")))
def test_the_fast_way_cuts_the_same_words(prompt: str) -> None:
    prompt = prompt.encode("utf-8", "replace").decode("utf-8")
    words = corpus_worker.words_of(prompt)
    assert [word.decode("utf-8") for word in words] == text.words(prompt)


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1))
def test_a_key_tells_the_split(prompts: list[str]) -> None:
    keys, _, _ = corpus_worker.tokenize(prompts, [True] * len(prompts), [])
    found = is_test(np.frombuffer(keys, ">u8").astype(np.uint64))
    assert found.tolist() == [split_of(prompt) == "test" for prompt in prompts]


def test_keys_at_the_splits_edge() -> None:
    edge = 9 * 2**64 // 10
    keys = [0, edge - 2**40, edge + 2**40, 2**64 - 1]
    assert is_test(np.array(keys, np.uint64)).tolist() == [False, False, True, True]


# --- the set of keys ----------------------------------------------------------------------------

KEYS = st.one_of(st.integers(0, 50), st.integers(0, 2**64 - 1), st.sampled_from([0, 2**64 - 1]))


@given(st.lists(st.lists(KEYS, max_size=30), max_size=20))
def test_the_key_set_is_exact(batches: list[list[int]]) -> None:
    ours, pythons = KeySet(), set()
    for batch in batches:
        new = ours.add(np.array(batch, dtype=np.uint64))
        for key, first in zip(batch, new.tolist(), strict=True):
            assert first == (key not in pythons)
            pythons.add(key)
        assert len(ours) == len(pythons)


def test_a_key_takes_little_more_than_eight_bytes() -> None:
    count = 1_000_000
    keys = np.random.default_rng(0).permutation(count).astype(np.uint64)
    keys *= np.uint64(2**64 // count)  # spread over all shards
    found = KeySet()
    tracemalloc.start()
    try:
        for low in range(0, count, 4_096):
            assert found.add(keys[low : low + 4_096]).all()
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == count and not found.add(keys[:5_000]).any()
    assert held < 9 * count and most < 11 * count


# --- counting -----------------------------------------------------------------------------------


@pytest.mark.parametrize("processes", [1, 2])
def test_words_are_counted_as_gensim_counts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    from gensim.models import Word2Vec

    lines = write_mixed(tmp_path / "prompts.parquet")
    write_corpus([lines], tmp_path / "corpus.txt")
    with (tmp_path / "corpus.txt").open("a", encoding="utf-8") as file:
        file.write("long " * 25_000 + "\nend\n")
    model = Word2Vec(min_count=1)
    total, sentences = model.scan_vocab(corpus_file=str(tmp_path / "corpus.txt"))
    monkeypatch.setattr(corpus, "COUNTED_BYTES", 10_000)
    counts, ours = count_words(tmp_path / "corpus.txt", processes)
    assert list(counts.items()) == list(model.raw_vocab.items())  # in the same order
    assert ours == sentences and sum(counts.values()) == total


def test_the_words_that_are_counted_have_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [f"often twice{number // 2} once{number}\n" for number in range(2_000)]
    (tmp_path / "corpus.txt").write_text("".join(lines))
    monkeypatch.setattr(corpus, "COUNTED_BYTES", 2_000)
    monkeypatch.setattr(corpus, "MOST_WORDS", 500)
    counts, _ = count_words(tmp_path / "corpus.txt", processes=1)
    assert len(counts) <= 500 and counts["often"] == 2_000
    assert "forgot" in caplog.text


def test_the_vectors_are_those_of_gensims_own_count(tmp_path: Path) -> None:
    from gensim.models import Word2Vec

    path = write_mixed(tmp_path / "prompts.parquet")
    words = write_corpus([path], tmp_path / "corpus.txt")["words"]
    config = EmbeddingConfig(dimensions=8, min_count=2, epochs=2)
    ours = train_on_corpus(tmp_path / "corpus.txt", words, config)
    bare = Word2Vec(
        corpus_file=str(tmp_path / "corpus.txt"),
        vector_size=8,
        sg=1,
        window=config.window,
        negative=config.negative,
        sample=config.sample,
        min_count=2,
        epochs=2,
        seed=config.seed,
        workers=1,
    )
    assert sorted(ours.words) == sorted(bare.wv.index_to_key)
    np.testing.assert_array_equal(ours.vectors, bare.wv[ours.words])


# --- processes ----------------------------------------------------------------------------------


def test_a_process_imports_next_to_nothing() -> None:
    code = "import sys, img2prompt.embedding.corpus_worker; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"tensorflow", "gensim", "numpy", "pyarrow", "PIL"}
    assert not heavy & set(done.stdout.split())


def helpers_of(pid: int) -> list[int]:
    """The processes that a process has spawned to work for it."""
    commands = {child: Path(f"/proc/{child}/cmdline") for child in children(pid)}
    return [child for child, command in commands.items() if b"spawn_main" in command.read_bytes()]


def is_at_work(pid: int) -> bool:
    """Whether the corpus that a process writes has begun to grow; the file has no name."""
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            if "(deleted)" in str(link.readlink()) and link.stat().st_size > 0:
                return True
    return False


@pytest.fixture
def endless(tmp_path: Path):
    """A process that writes a corpus and would not be done for long, and its helpers."""
    lines = "\n".join(f"a dog number{number} by night" for number in range(20_000))
    (tmp_path / "prompts.txt").write_text(lines)
    (tmp_path / "temporary").mkdir()
    code = (
        "import sys; from img2prompt.embedding import corpus\n"
        "from img2prompt.embedding.word2vec import *\n"
        "from img2prompt.core.cli import run_command\n"
        "corpus.usable_cores = lambda: 2\n"
        "sys.exit(run_command(lambda: train_embedding([sys.argv[1]] * 10_000) and 0))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "prompts.txt")],
        env={**os.environ, "TMPDIR": str(tmp_path / "temporary")},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: len(helpers_of(process.pid)) == 2 and is_at_work(process.pid), process)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_of_a_killed_process(
    tmp_path: Path, endless: subprocess.Popen, how: signal.Signals
) -> None:
    helpers = children(endless.pid)
    endless.send_signal(how)
    endless.wait(PATIENCE)
    wait_until(lambda: not any(map(is_running, helpers)))
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_helper_is_a_sentence(endless: subprocess.Popen) -> None:
    helpers = helpers_of(endless.pid)
    os.kill(helpers[0], signal.SIGKILL)
    _, stderr = endless.communicate(timeout=PATIENCE)
    assert endless.returncode == 2
    assert stderr.startswith("error: ") and stderr.count("\n") == 1 and "memory" in stderr
    assert not any(map(is_running, helpers))


def test_a_damaged_file_leaves_no_corpus(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("\n".join(f"dog{number}" for number in range(10_000)))
    (tmp_path / "bad.txt").write_bytes(b"a dog\n\xff\xfe\n")
    files = [tmp_path / "good.txt", tmp_path / "bad.txt"]
    with pytest.raises(UserError, match="UTF-8"):
        write_corpus(files, tmp_path / "out" / "corpus.txt", processes=2)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_row_group_of_any_size_is_read_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "prompts.parquet"
    prompts = [os.urandom(500).hex() for _ in range(30_000)]
    pq.write_table(pa.table({"prompt": prompts}), path, row_group_size=30_000, compression="none")
    before, held = pa.total_allocated_bytes(), []
    for number, _ in enumerate(iter_prompts(path, batch_rows=1_000)):
        if number % 1_000 == 0:
            held.append(pa.total_allocated_bytes() - before)
    assert path.stat().st_size > 29e6 and max(held) < 10e6


@pytest.mark.parametrize("count", [0, -1])
def test_no_processes_are_refused(tmp_path: Path, count: int) -> None:
    with pytest.raises(UserError, match="workers"):
        write_corpus([], tmp_path / "corpus.txt", processes=count)


# --- the log ------------------------------------------------------------------------------------


def test_the_bars_follow_every_stage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    prompts = [" ".join(f"word{word}" for word in rng.integers(0, 500, 20)) for _ in range(10_000)]
    pq.write_table(pa.table({"prompt": prompts}), tmp_path / "prompts.parquet")
    config = EmbeddingConfig(dimensions=10, epochs=3, negative=3)
    train_embedding([tmp_path / "prompts.parquet"], config, workers=2)
    assert capsys.readouterr().err == ""  # who has no log has no bars
    caplog.set_level(logging.INFO, logger="img2prompt")
    train_embedding([tmp_path / "prompts.parquet"], config, workers=2)
    told = capsys.readouterr().err
    assert re.search(r"corpus: 100%\|.* 10.0k/10.0k .* prompts/s\]", told)
    assert re.search(r"vocabulary: 100%\|.*B/s\]", told)
    training = [message for message in caplog.messages if message.startswith("training: ")]
    assert "2 workers: not reproducible" in training[0]
    assert sum("is over" in message for message in training) == config.epochs


def test_the_temporary_file_can_be_opened_by_its_path() -> None:
    with corpus.corpus_file() as (path, file):
        file.write(b"a dog\n")
        file.flush()
        results = []
        thread = threading.Thread(target=lambda: results.append(Path(path).read_bytes()))
        thread.start()
        thread.join()
        assert results == [b"a dog\n"]
