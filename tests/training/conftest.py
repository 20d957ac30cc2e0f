"""Prepared shards that the tests of training share."""

from pathlib import Path

import pytest
from sharding import write_shards

from img2prompt.embedding.vectors import WordVectors


@pytest.fixture(scope="module")
def content(vectors: WordVectors) -> list[str]:
    return [word for word, good in zip(vectors.words, vectors.answerable, strict=True) if good]


@pytest.fixture(scope="module")
def folders(content: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Pairs of two sources in three shards, and one shard of auxiliary pictures."""
    root = tmp_path_factory.mktemp("shards")
    return [
        write_shards(root / "main", content, sources=("one", "one", "small/repository")),
        write_shards(root / "auxiliary", content, sizes=(30,), sources=("help",), first=1000),
    ]
