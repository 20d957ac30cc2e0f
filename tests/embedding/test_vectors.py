"""The embedding: its file, its neighbours and its corpus."""

import io
import os
import pickle
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
from img2prompt.embedding.vectors import WordVectors, top_k


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
        with pytest.raises(UserError, match=name):
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
    with pytest.raises(UserError):
        WordVectors.load(tmp_path / "a.npz")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.npz"):
        WordVectors.load(tmp_path / "none.npz")
    with pytest.raises(UserError):
        WordVectors.load(tmp_path)


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


def test_a_prompts_known_words_have_positions(vectors: WordVectors) -> None:
    prompt = "A zebra, the DOG of a cat <lora:dog:1> dog"
    for content, words in ((True, ["dog", "cat"]), (False, "a the dog of a cat dog".split())):
        found = vectors.prompt_positions(prompt, content)
        assert found.dtype == np.int64
        assert [vectors.words[position] for position in found] == words
    assert vectors.prompt_positions("zebra").shape == (0,)
    assert vectors.positions(["zebra", "dog", "dog"]).tolist() == [vectors.index["dog"]] * 2


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
