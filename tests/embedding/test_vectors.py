"""The embedding: its file, its neighbours, its corpus, and that training can be repeated."""

import hashlib
import io
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from img2prompt.core.errors import UserError
from img2prompt.data import text
from img2prompt.data.splits import split_of
from img2prompt.embedding.corpus import write_corpus
from img2prompt.embedding.probes import odd_one_out
from img2prompt.embedding.vectors import (
    EmbeddingConfig,
    EmbeddingError,
    WordVectors,
    top_k,
    train_embedding,
)

TINY = EmbeddingConfig(dimensions=12, min_count=3, epochs=3)


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


# --- the file -----------------------------------------------------------------------------------


def test_what_is_saved_is_loaded(vectors: WordVectors, tmp_path: Path) -> None:
    vectors.save(tmp_path / "a.npz")
    loaded = WordVectors.load(tmp_path / "a.npz")
    assert loaded.words == vectors.words
    assert loaded.vectors.dtype == np.float32 and loaded.counts.dtype == np.int64
    np.testing.assert_array_equal(loaded.vectors, vectors.vectors)
    np.testing.assert_array_equal(loaded.counts, vectors.counts)
    assert loaded.fingerprint == vectors.fingerprint


def test_words_of_any_script_are_kept(tmp_path: Path) -> None:
    words = ["猫", "łódź", "8k", "café"]
    WordVectors(words, np.eye(4), np.arange(4)).save(tmp_path / "a.npz")
    assert WordVectors.load(tmp_path / "a.npz").words == words


def test_the_same_contents_give_the_same_bytes(vectors: WordVectors, tmp_path: Path) -> None:
    vectors.save(tmp_path / "a.npz")
    os.utime(tmp_path / "a.npz", (0, 0))
    WordVectors.load(tmp_path / "a.npz").save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("name", ["a", "a.bin", "a.b.npz"])
def test_a_file_is_saved_under_the_name_given(
    vectors: WordVectors, tmp_path: Path, name: str
) -> None:
    vectors.save(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert WordVectors.load(tmp_path / name).words == vectors.words


def test_the_fingerprint_tells_embeddings_apart(vectors: WordVectors) -> None:
    moved = vectors.vectors.copy()
    moved[0, 0] += 1e-3
    assert WordVectors(vectors.words, moved, vectors.counts).fingerprint != vectors.fingerprint
    renamed = [*vectors.words[:-1], "other"]
    other = WordVectors(renamed, vectors.vectors, vectors.counts)
    assert other.fingerprint != vectors.fingerprint


def test_no_pickle_is_opened(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    bomb = np.array([Touch(trap)], dtype=object)
    np.savez(tmp_path / "inside.npz", words=bomb, vectors=np.eye(2), counts=np.ones(2))
    (tmp_path / "whole.npz").write_bytes(pickle.dumps(Touch(trap)))
    np.save(tmp_path / "array.npz.npy", bomb, allow_pickle=True)
    (tmp_path / "array.npz.npy").rename(tmp_path / "array.npz")
    for name in ("inside.npz", "whole.npz", "array.npz"):
        with pytest.raises(EmbeddingError, match=name):
            WordVectors.load(tmp_path / name)
    assert not trap.exists()
    pickle.loads(pickle.dumps(Touch(trap)))
    assert trap.exists()  # the trap works


def stored(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    words = np.frombuffer(b"dog\ncat", np.uint8)
    np.savez(buffer, **({"words": words, "vectors": np.eye(2), "counts": np.ones(2)} | arrays))
    return buffer.getvalue()


def without_counts() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, words=np.frombuffer(b"dog\ncat", np.uint8), vectors=np.eye(2))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a zip",
        stored()[:-200],
        without_counts(),
        stored(words=np.frombuffer(b"\xff\xfe\ndog", np.uint8)),
        stored(words=np.frombuffer(b"dog\ndog", np.uint8)),
        stored(words=np.frombuffer(b"dog", np.uint8)),
        stored(vectors=np.eye(3)),
        stored(vectors=np.ones(2)),
        stored(vectors=np.array(["x", "y"])),
        stored(vectors=np.array([["x"], ["y"]])),
        stored(vectors=np.full((2, 2), np.nan)),
        stored(vectors=np.full((2, 2), np.inf)),
        stored(counts=np.array(["x", "y"])),
        stored(counts=np.ones((2, 2))),
    ],
    ids=[
        "empty",
        "text",
        "cut off",
        "an array missing",
        "not UTF-8",
        "a word twice",
        "one word",
        "more vectors than words",
        "flat vectors",
        "flat text vectors",
        "text vectors",
        "nan",
        "inf",
        "text counts",
        "square counts",
    ],
)
def test_files_that_are_no_embedding_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(EmbeddingError):
        WordVectors.load(tmp_path / "a.npz")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingError, match=r"none\.npz"):
        WordVectors.load(tmp_path / "none.npz")
    with pytest.raises(EmbeddingError):
        WordVectors.load(tmp_path)


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_gensim_reads_the_export(tmp_path: Path, binary: bool) -> None:
    from gensim.models import KeyedVectors

    words = ["dog", "猫", "łódź", "8k", "cat"]
    values = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32) * 1e-3
    WordVectors(words, values, np.array([9, 5, 5, 5, 2])).export_word2vec(
        tmp_path / "vectors.w2v", binary=binary
    )
    loaded = KeyedVectors.load_word2vec_format(str(tmp_path / "vectors.w2v"), binary=binary)
    assert loaded.index_to_key == words
    np.testing.assert_array_equal(loaded.vectors, values)
    assert [path.name for path in tmp_path.iterdir()] == ["vectors.w2v"]


# --- vocabulary and neighbours ------------------------------------------------------------------


def test_an_embedding_knows_its_words(vectors: WordVectors) -> None:
    assert "dog" in vectors and "Dog" not in vectors and "zebra" not in vectors
    np.testing.assert_array_equal(vectors["dog"], vectors.vectors[vectors.words.index("dog")])
    with pytest.raises(KeyError):
        vectors["zebra"]
    assert vectors.minimum == vectors.vectors.min() < vectors.maximum == vectors.vectors.max()
    unanswerable = {
        w for w, good in zip(vectors.words, vectors.answerable, strict=True) if not good
    }
    assert unanswerable == {"of", "a", "the", "2"}


@pytest.mark.parametrize("answers_only", [False, True])
@pytest.mark.parametrize("k", [1, 5, 30, 99])
def test_nearest_is_what_a_loop_finds(vectors: WordVectors, k: int, answers_only: bool) -> None:
    queries = np.random.default_rng(2).normal(size=(6, 8)).astype(np.float32) * 5
    positions, scores = vectors.nearest(queries, k, answers_only=answers_only)
    for query, found, cosines in zip(queries, positions, scores, strict=True):
        table = [
            (cosine(query.astype(float), vectors[word].astype(float)), i)
            for i, word in enumerate(vectors.words)
            if text.is_content_word(word) or not answers_only
        ]
        best = sorted(table, reverse=True)[:k]
        real = len(best)
        assert found[:real].tolist() == [i for _, i in best]
        np.testing.assert_allclose(cosines[:real], [score for score, _ in best], atol=1e-6)


def test_a_zero_vector_is_near_nothing(vectors: WordVectors) -> None:
    _, scores = vectors.nearest(np.zeros(8), 3)
    assert (scores == 0).all()


@given(
    npst.arrays(
        np.float32, npst.array_shapes(min_dims=2, max_dims=2), elements=st.floats(-1, 1, width=32)
    ),
    st.integers(1, 12),
)
def test_top_k_is_the_head_of_a_sorted_row(scores: np.ndarray, k: int) -> None:
    positions, values = top_k(scores, k)
    np.testing.assert_array_equal(values, -np.sort(-scores, axis=1)[:, :k])
    np.testing.assert_array_equal(np.take_along_axis(scores, positions, axis=1), values)
    assert all(len(set(row)) == len(row) for row in positions.tolist())


def test_neighbours_leave_the_word_itself_out(vectors: WordVectors) -> None:
    near = vectors.neighbours("dog", 4)
    table = {word: cosine(vectors["dog"], vectors[word]) for word in vectors.words if word != "dog"}
    expected = sorted(table, key=table.get, reverse=True)[:4]
    assert [word for word, _ in near] == expected
    assert [score for _, score in near] == pytest.approx([table[w] for w in expected], abs=1e-6)
    assert len(vectors.neighbours("dog", 999)) == len(vectors) - 1
    with pytest.raises(UserError, match="zebra"):
        vectors.neighbours("zebra")


# --- the corpus ---------------------------------------------------------------------------------


def prompts_of_each_split(count: int) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    number = 0
    while min(map(len, found.values())) < count:
        prompt = f"castle number{number} by night"
        found[split_of(prompt)].append(prompt)
        number += 1
    return {split: prompts[:count] for split, prompts in found.items()}


def test_test_prompts_stay_out_of_the_corpus(tmp_path: Path) -> None:
    prompts = prompts_of_each_split(4)
    lines = [prompt for some in prompts.values() for prompt in some]
    lines += [prompt.upper().replace(" ", "   ") for prompt in prompts["test"]]
    (tmp_path / "prompts.txt").write_text("\n".join(lines))
    counts = write_corpus([tmp_path / "prompts.txt"], tmp_path / "corpus.txt")
    assert sorted((tmp_path / "corpus.txt").read_text().splitlines()) == sorted(
        prompts["train"] + prompts["validation"]
    )
    assert counts["prompts"] == 8 and counts["test_prompts"] == 4 and counts["repeated"] == 4
    assert counts["words"] == 8 * 4
    everything = write_corpus([tmp_path / "prompts.txt"], tmp_path / "all.txt", include_test=True)
    assert everything["prompts"] == 12 and everything["test_prompts"] == 0


def test_prompts_that_fold_alike_count_once_over_all_files(tmp_path: Path) -> None:
    prompt, other = prompts_of_each_split(2)["train"]
    (tmp_path / "one.txt").write_text(f"{prompt}\n{prompt.upper()}\n{other}\n")
    (tmp_path / "two.txt").write_text(f"  {prompt}\n!!! ...\n")
    files = [tmp_path / "one.txt", tmp_path / "two.txt"]
    counts = write_corpus(files, tmp_path / "corpus.txt", include_test=True)
    assert (tmp_path / "corpus.txt").read_text().splitlines() == [prompt, other]
    assert counts["repeated"] == 2 and counts["empty"] == 1


def test_a_templates_words_are_dropped_from_rebuilt_prompts_alone(tmp_path: Path) -> None:
    rebuilt = [f"a spaceship by artist{number}" for number in range(300)]
    written = [f"a spaceship over planet{number}" for number in range(300)]
    table = {"prompt": rebuilt + written, "prompt_exact": [False] * 300 + [True] * 300}
    pq.write_table(pa.table(table), tmp_path / "prompts.parquet")
    write_corpus([tmp_path / "prompts.parquet"], tmp_path / "corpus.txt", include_test=True)
    lines = (tmp_path / "corpus.txt").read_text().splitlines()
    assert lines == [f"artist{number}" for number in range(300)] + written


# --- training -----------------------------------------------------------------------------------


SEA = "ocean ship whale wave island harbour".split()
CITY = "street neon taxi tower subway bridge".split()


def write_prompts(path: Path, count: int = 300) -> Path:
    """Prompts of two worlds whose words never meet."""
    rng = np.random.default_rng(0)
    lines = []
    for number in range(count):
        chosen = rng.permutation(SEA if number % 2 else CITY)[:4]
        lines.append(f"{' '.join(chosen)} take{number}")
    path.write_text("\n".join(lines))
    return path


def test_training_counts_frequent_words_first(tmp_path: Path) -> None:
    epochs = []
    vectors, counts = train_embedding(
        [write_prompts(tmp_path / "prompts.txt")],
        TINY,
        on_epoch=lambda epoch, seconds: epochs.append(epoch),
    )
    assert epochs == [1, 2, 3]
    assert len(vectors) == 12 and vectors.dimensions == 12
    assert "take1" not in vectors  # rarer than min_count
    assert vectors.counts.tolist() == sorted(vectors.counts, reverse=True)
    assert vectors.counts.sum() == counts["words"] - counts["prompts"]


def test_words_that_meet_come_to_lie_together(tmp_path: Path) -> None:
    config = EmbeddingConfig(dimensions=12, min_count=3, epochs=60, sample=0.0)
    vectors, _ = train_embedding([write_prompts(tmp_path / "prompts.txt", 600)], config)
    cosines = vectors.similarities(vectors.vectors)
    sea = np.array([word in SEA for word in vectors.words])
    assert sea.sum() == 6
    same = sea[:, None] == sea
    others = ~np.eye(12, dtype=bool)
    assert cosines[same & others].mean() > cosines[~same].mean() + 0.1


def test_one_worker_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    write_prompts(tmp_path / "prompts.txt")
    code = (
        "import sys; from img2prompt.embedding.vectors import *\n"
        "config = EmbeddingConfig(dimensions=12, min_count=1, epochs=2)\n"
        "train_embedding([sys.argv[1]], config, workers=1)[0].save(sys.argv[2])"
    )
    digests = set()
    for seed in ("1", "2"):
        out = tmp_path / f"{seed}.npz"
        command = [sys.executable, "-c", code, str(tmp_path / "prompts.txt"), str(out)]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": seed})
        digests.add(hashlib.sha256(out.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_another_seed_gives_other_vectors(tmp_path: Path) -> None:
    path = write_prompts(tmp_path / "prompts.txt")
    one, _ = train_embedding([path], TINY)
    two, _ = train_embedding([path], EmbeddingConfig(dimensions=12, min_count=3, epochs=3, seed=2))
    assert one.words == two.words and one.fingerprint != two.fingerprint


def test_too_few_words_are_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a dog\na cat\n")
    for config in (EmbeddingConfig(), EmbeddingConfig(min_count=2)):
        with pytest.raises(UserError, match="more prompts"):
            train_embedding([tmp_path / "prompts.txt"], config)
    (tmp_path / "prompts.txt").write_text("")
    with pytest.raises(UserError, match="more prompts"):
        train_embedding([tmp_path / "prompts.txt"])


@pytest.mark.parametrize("name", ["dimensions", "window", "min_count", "epochs"])
def test_impossible_settings_are_refused(name: str) -> None:
    with pytest.raises(UserError):
        EmbeddingConfig(**{name: 0})


def test_workers_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="workers"):
        train_embedding([write_prompts(tmp_path / "prompts.txt")], TINY, workers=0)


def test_odd_one_out_asks_only_what_the_embedding_knows() -> None:
    values = np.array([[1, 0], [1, 0.1], [1, 0.2], [0, 1], [0, 1]])
    words = ["dog", "cat", "rabbit", "canvas", "other"]
    assert odd_one_out(WordVectors(words, values, np.ones(5))) == (1, 1, [])
    swapped = WordVectors(["canvas", "cat", "rabbit", "dog", "other"], values, np.ones(5))
    right, asked, wrong = odd_one_out(swapped)
    assert (right, asked) == (0, 1) and "dog" in wrong[0]


def test_an_embedding_is_a_plain_zip_of_three_arrays(vectors: WordVectors, tmp_path: Path) -> None:
    vectors.save(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert set(archive.namelist()) == {"words.npy", "vectors.npy", "counts.npy"}
