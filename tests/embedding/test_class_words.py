"""What prompts put beside the names of classes, counted on prompts whose answer is known."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from img2prompt.core.errors import UserError
from img2prompt.data.splits import split_of
from img2prompt.embedding.class_names import ClassName
from img2prompt.embedding.class_words import (
    LEFT_OUT,
    OWN_NAME,
    SMOOTHING,
    WHOLE_NAME,
    ClassWords,
    count_class_words,
    left_out_text,
)
from img2prompt.embedding.vectors import WordVectors

CLASSES = [
    ClassName("moon dog"),
    ClassName("castle"),
    ClassName("komondor", "cat"),
    ClassName("xyzzy"),
]


def kept(*prompts: str) -> list[str]:
    """The prompts, each with a number behind it that keeps it out of the test split."""
    return [
        next(f"{p} {n}" for n in range(100, 200) if split_of(f"{p} {n}") == "train")
        for p in prompts
    ]


def write(path: Path, prompts: list[str]) -> Path:
    path.write_text("\n".join(prompts), encoding="utf-8")
    return path


def share(found: ClassWords, vectors: WordVectors, number: int, word: str) -> float:
    row = found.words[number].tolist()
    position = vectors.index[word]
    return float(found.shares[number, row.index(position)]) if position in row else 0.0


def test_words_beside_a_name_are_counted(vectors: WordVectors, tmp_path: Path) -> None:
    prompts = kept("castle snow", "castle mountain snow", "castle garden", "ocean red")
    found, counts = count_class_words([write(tmp_path / "p.txt", prompts)], vectors, CLASSES)
    nothing = dict.fromkeys(LEFT_OUT, 0)
    assert counts == {"prompts": 4, "sources": 1, "classes_unknown": 1} | nothing
    assert found.background[vectors.index["snow"]] == pytest.approx(0.5)
    expected = (2 + SMOOTHING * 0.5) / (3 + SMOOTHING)
    assert share(found, vectors, 1, "snow") == pytest.approx(expected, abs=1e-5)
    ocean = SMOOTHING * 0.25 / (3 + SMOOTHING)
    assert share(found, vectors, 1, "ocean") == pytest.approx(ocean, abs=1e-5)
    assert share(found, vectors, 1, "castle") >= OWN_NAME


def test_the_last_word_of_a_name_counts_once_and_the_whole_name_more(
    vectors: WordVectors, tmp_path: Path
) -> None:
    path = write(tmp_path / "p.txt", kept("dog snow", "moon dog ocean", "moon garden"))
    found, _ = count_class_words([path], vectors, CLASSES)
    third = SMOOTHING / 3
    total = 1 + WHOLE_NAME + SMOOTHING  # "moon garden" lacks the name's last word
    assert share(found, vectors, 0, "snow") == pytest.approx((1 + third) / total, abs=1e-5)
    assert share(found, vectors, 0, "ocean") == pytest.approx(
        (WHOLE_NAME + third) / total, abs=1e-5
    )
    assert share(found, vectors, 0, "garden") == pytest.approx(third / total, abs=1e-5)


def test_an_unknown_name_goes_by_its_kind(vectors: WordVectors, tmp_path: Path) -> None:
    path = write(tmp_path / "p.txt", kept("cat forest", "dog"))
    found, _ = count_class_words([path], vectors, CLASSES)
    assert share(found, vectors, 2, "cat") >= OWN_NAME
    np.testing.assert_allclose(found.names[2], vectors.unit[vectors.index["cat"]], rtol=1e-6)
    assert not found.names[3].any()


@pytest.mark.parametrize(
    ("name", "own"),
    [
        # Only the modifier is a word of the vocabulary; the head noun is a stop word; and the last
        # word means something else.
        (ClassName("red grouse"), set()),
        (ClassName("red grouse", "fox"), {"fox"}),
        (ClassName("red can"), set()),
        (ClassName("dog red", "fox", together=True), {"fox"}),
    ],
)
def test_a_modifier_alone_never_counts_for_a_class(
    vectors: WordVectors, tmp_path: Path, name: ClassName, own: set[str]
) -> None:
    prompts = kept("red snow", "red ocean dog", "blue castle", "neon robot", "sunset city")
    path = write(tmp_path / "p.txt", prompts)
    found, counts = count_class_words([path], vectors, [name])
    assert counts["classes_unknown"] == (not own)
    for word in ("red", "snow", "ocean"):
        expected = found.background[vectors.index[word]] if word not in own else OWN_NAME
        assert share(found, vectors, 0, word) == pytest.approx(expected, abs=1e-6)
    assert {word for word in vectors.words if share(found, vectors, 0, word) >= OWN_NAME} == own
    centre = vectors.unit[vectors.index["fox"]] if own else np.zeros(vectors.dimensions)
    np.testing.assert_allclose(found.names[0], centre, atol=1e-6)


def test_a_head_noun_counts_though_the_vocabulary_lacks_it(
    vectors: WordVectors, tmp_path: Path
) -> None:
    path = write(tmp_path / "p.txt", kept("grouse snow", "red grouse ocean", "red garden"))
    found, _ = count_class_words([path], vectors, [ClassName("red grouse")])
    third = SMOOTHING / 3
    total = 1 + WHOLE_NAME + SMOOTHING
    for word, weight in {"snow": 1.0, "ocean": WHOLE_NAME, "garden": 0.0}.items():
        counted = share(found, vectors, 0, word)
        assert counted == pytest.approx((weight + third) / total, abs=1e-5)


def test_test_prompts_repeats_and_rebuilt_prompts_are_left_out(
    vectors: WordVectors, tmp_path: Path
) -> None:
    told = next(f"castle fox {n}" for n in range(1000) if split_of(f"castle fox {n}") == "test")
    castle = kept("castle snow")[0]
    table = pa.table(
        {
            "prompt": [told, castle, castle.upper() + " ", *kept("castle robot", "qwerty")],
            "prompt_exact": [True, True, True, False, True],
        }
    )
    pq.write_table(table, tmp_path / "p.parquet")
    found, counts = count_class_words([tmp_path / "p.parquet"], vectors, CLASSES)
    assert counts["prompts"] == 1
    # Each is counted once, under the reason that a person is told.
    assert {name: counts[name] for name in LEFT_OUT} == dict.fromkeys(LEFT_OUT, 1)
    assert left_out_text(counts).startswith("left out: 1 of the test split, 1 repeated, 1 rebuilt")
    assert found.background[vectors.index["fox"]] == found.background[vectors.index["robot"]] == 0


def test_expected_words_are_the_classes_mixture(vectors: WordVectors, tmp_path: Path) -> None:
    path = write(tmp_path / "p.txt", kept("castle snow", "cat forest", "dog"))
    found, _ = count_class_words([path], vectors, CLASSES)
    mixture = np.array([[0, 0.25, 0.75, 0], [0, 1, 0, 0]], np.float32)
    expected = found.expected(mixture)
    for word in ("castle", "cat", "snow"):
        own = [share(found, vectors, n, word) for n in (1, 2)]
        position = vectors.index[word]
        assert expected[0, position] == pytest.approx(0.25 * own[0] + 0.75 * own[1], abs=1e-6)
        assert expected[1, position] == pytest.approx(own[0], abs=1e-6)


def test_class_words_survive_their_file_and_belong_to_an_embedding(
    vectors: WordVectors, tmp_path: Path
) -> None:
    path = write(tmp_path / "p.txt", kept("castle snow", "cat forest"))
    found, _ = count_class_words([path], vectors, CLASSES)
    found.save(tmp_path / "c.npz")
    again = ClassWords.load(tmp_path / "c.npz", vectors)
    np.testing.assert_array_equal(again.words, found.words)
    np.testing.assert_array_equal(again.directions(vectors), found.directions(vectors))
    assert again.directions(vectors).shape == (4, 2 * vectors.dimensions)
    other = WordVectors(vectors.words, vectors.vectors + 1, vectors.counts)
    with pytest.raises(UserError, match="another embedding"):
        ClassWords.load(tmp_path / "c.npz", other)
    with pytest.raises(UserError, match="count_class_words"):
        ClassWords.load(tmp_path / "none.npz", vectors)
    (tmp_path / "bad.npz").write_bytes(b"no")
    with pytest.raises(UserError, match="is not a list of class words"):
        ClassWords.load(tmp_path / "bad.npz", vectors)


def test_prompts_without_known_words_are_refused(vectors: WordVectors, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No prompt .* 1 without a word that the embedding knows"):
        count_class_words([write(tmp_path / "p.txt", ["qwerty asdf"])], vectors, CLASSES)
