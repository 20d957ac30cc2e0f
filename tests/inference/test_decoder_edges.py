"""What a decoder and its file promise at their edges; see test_decoding.py."""

from pathlib import Path

import numpy as np
import pytest

from img2prompt.core.errors import UserError
from img2prompt.embedding.vectors import WordVectors
from img2prompt.inference.decoder import Decoder, nearest_cosines, prior_of_background


def test_a_decoder_is_of_single_floats_in_memory_and_half_in_its_file(
    vectors: WordVectors, tmp_path: Path
) -> None:
    plain = Decoder.plain(vectors)
    assert plain.prior.dtype == plain.knots.dtype == plain.confidences.dtype == np.float32
    assert prior_of_background(np.array([0.1, 0.2]), 0.02).dtype == np.float32
    plain.save(tmp_path / "a.decoder.npz")
    with np.load(tmp_path / "a.decoder.npz") as arrays:
        assert arrays["prior"].dtype == np.float16
    loaded = Decoder.load(tmp_path / "a.decoder.npz", vectors)
    assert loaded.vectors is vectors and not loaded.calibrated
    assert loaded.prior.dtype == np.float32


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 130])
def test_pictures_are_ranked_alike_in_every_block(vectors: WordVectors, count: int) -> None:
    predicted = np.random.default_rng(7).normal(size=(count, 4, 8)).astype(np.float32)
    decoder = Decoder.plain(vectors)
    words, values = decoder.rank_vectors(predicted, 5)
    assert words.shape == values.shape == (count, 5)
    assert words.dtype == np.int64 and values.dtype == np.float32
    for number in range(0, count, 21):
        alone = decoder.rank_vectors(predicted[number : number + 1], 5)
        np.testing.assert_array_equal(words[number], alone[0][0])
        np.testing.assert_allclose(values[number], alone[1][0], rtol=1e-6)


def test_ranking_holds_a_block_of_pictures_at_a_time(
    vectors: WordVectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    plain = Decoder.rank

    def counted(self: Decoder, cosines: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        sizes.append(len(cosines))
        return plain(self, cosines, k)

    monkeypatch.setattr(Decoder, "rank", counted)
    Decoder.plain(vectors).rank_vectors(np.ones((130, 1, 8), np.float32), 3)
    assert sizes == [64, 64, 2]


def test_a_confidence_is_a_share(vectors: WordVectors) -> None:
    """Whatever was counted as a hit; beyond the values that were seen, that of the nearest one."""
    decoder = Decoder.plain(vectors).calibrate(
        np.array([0, 1, 2, 3], np.float32), np.array([-1, 0.5, 1, 4])
    )
    assert decoder.confidences.min() == 0 and decoder.confidences.max() == 1
    assert decoder.knots.dtype == decoder.confidences.dtype == np.float32
    np.testing.assert_array_equal(decoder.confidence(np.array([-5, 9])), [0, 1])
    integers = Decoder.plain(vectors).calibrate(np.array([1, 2, 3]), np.array([False, True, True]))
    np.testing.assert_allclose(integers.confidence(np.array([1, 3])), [0, 1])


def test_the_nearest_of_many_vectors_counts(vectors: WordVectors) -> None:
    predicted = np.random.default_rng(8).normal(size=(3, 4, 8)).astype(np.float32)
    found = nearest_cosines(predicted, vectors)
    assert found.shape == (3, len(vectors))
    for picture, cosines in zip(predicted, found, strict=True):
        np.testing.assert_allclose(cosines, vectors.similarities(picture).max(axis=0), rtol=1e-5)


def arrays(vectors: WordVectors, **changed: np.ndarray) -> dict[str, np.ndarray]:
    """What a decoder's file holds."""
    made = {
        "prior": np.zeros(len(vectors), np.float16),
        "knots": np.array([0.1, 0.2]),
        "confidences": np.array([0.3, 0.4]),
        "embedding": np.array(vectors.fingerprint),
    }
    return made | changed


@pytest.mark.parametrize(
    "changed, told",
    [
        ({"knots": np.array([0.1])}, "is not a decoder.*make it with"),
        ({"knots": np.array([0.1, np.nan])}, "is not a decoder.*make it with"),
        ({"confidences": np.array([0.3, np.inf])}, "is not a decoder.*make it with"),
        ({"prior": np.zeros(3)}, "belongs to another embedding; make it again"),
        ({"embedding": np.array("another")}, "belongs to another embedding; make it again"),
        ({"prior": np.array([object()])}, "is not a decoder.*make it with"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    vectors: WordVectors, tmp_path: Path, changed: dict[str, np.ndarray], told: str
) -> None:
    path = tmp_path / "a.decoder.npz"
    np.savez(path, **arrays(vectors))
    assert Decoder.load(path, vectors).calibrated
    np.savez(path, **arrays(vectors, **changed))
    with pytest.raises(UserError, match=rf"a\.decoder\.npz {told}"):
        Decoder.load(path, vectors)


def test_a_pickle_in_a_decoder_is_never_opened(vectors: WordVectors, tmp_path: Path) -> None:
    """An array of Python objects is a pickle, which can run code while it is read."""
    path = tmp_path / "a.decoder.npz"
    trap = tmp_path / "trap"
    np.savez(path, **arrays(vectors, knots=np.array([Trap(trap)], object)))
    with pytest.raises(UserError, match="not a decoder"):
        Decoder.load(path, vectors)
    assert not trap.exists()


class Trap:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))
