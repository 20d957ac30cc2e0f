"""Training the embedding: what it learns, that it can be repeated, and its export."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gensim.models import KeyedVectors

from img2prompt.core.errors import UserError
from img2prompt.embedding.vectors import WordVectors
from img2prompt.embedding.word2vec import EmbeddingConfig, export_word2vec, train_embedding

TINY = EmbeddingConfig(dimensions=12, min_count=3, epochs=3)
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
    vectors, counts = train_embedding([write_prompts(tmp_path / "prompts.txt")], TINY)
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
        "import sys; from img2prompt.embedding.word2vec import *\n"
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


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_gensim_reads_the_export(tmp_path: Path, binary: bool) -> None:
    words = ["dog", "猫", "łódź", "8k", "cat"]
    values = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32) * 1e-3
    vectors = WordVectors(words, values, np.array([9, 5, 5, 5, 2]))
    export_word2vec(vectors, tmp_path / "vectors.w2v", binary=binary)
    loaded = KeyedVectors.load_word2vec_format(str(tmp_path / "vectors.w2v"), binary=binary)
    assert loaded.index_to_key == words
    np.testing.assert_array_equal(loaded.vectors, values)
    assert [path.name for path in tmp_path.iterdir()] == ["vectors.w2v"]
