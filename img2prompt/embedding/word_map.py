"""The map of words: the vocabulary in two and three dimensions, and where a prediction falls on it.

t-SNE (van der Maaten and Hinton 2008) lays the most frequent content words out once, offline; the
file keeps positions, never vectors. Serving needs numpy alone.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from img2prompt.core.arrays import UTF8, ArrayFile, Form, load_arrays, save_arrays
from img2prompt.core.errors import UserError
from img2prompt.data import text
from img2prompt.embedding.vectors import WordVectors, top_k

MAP_FILE = "map.npz"
MAP_WORDS = 20_000  # the rarest of them stand in about 7 of the 547,000 prompts
SMALL_WORDS = 4000  # beside an answer: every theme of the prompts, and a phone draws it at once
DIMENSIONS = (2, 3)
THEMES = 24  # as many names as a desk's map has room for
RECALL_SAMPLE = 2_000  # words whose neighbourhoods are compared
NEIGHBOURS = 6  # mapped words that decide where a vector falls
# Steep, because the nearest words can lie on different islands of the map, and the plain mean of
# two islands is a place in the sea between them that resembles neither.
STEEPNESS = 4.0

_PERPLEXITY = 30.0
# Dimensions → options of scikit-learn's Barnes-Hut t-SNE. In three dimensions a step takes four
# times as long, so the angle is wider and the steps are fewer; it still keeps a few neighbours more
# than the plane does.
_TSNE: dict[int, dict[str, float]] = {2: {}, 3: {"angle": 0.8, "max_iter": 500}}
# A theme is a group of near vectors that is also one region of the map: k-means over both, at
# weights by which nine of ten neighbours on the map share a theme.
_THEME_VECTORS = 0.7
_THEME_PLACES = 1.2
_THEME_NAMES = 2  # words that name a theme

_MARGIN = 0.08
_LANDMARKS = 14
_LANDMARK_DISTANCE = 0.34
_LANDMARK_RANK = 500  # only words that everybody writes may name a region

_FILE = ArrayFile(
    "embedding.kind_map",
    "scripts/build_map.py",
    {
        "words": UTF8,
        "positions": Form("f", (None, 2)),
        "space": Form("f", (None, 3)),
        "themes": Form("iu", (None,)),
        "labels": UTF8,
        "counts": Form("iu", (None,)),
        "method": UTF8,
        "embedding": UTF8,
    },
)


@dataclass(frozen=True)
class VocabularyMap:
    """The most frequent content words on a plane and in space; near words have near vectors.

    Distances between far points mean little: t-SNE keeps neighbourhoods, not distances.

    Attributes:
        vectors: the embedding that the words come from.
        words: (n,) most frequent first.
        positions: float32 (n, 2), centred, in [−1, 1].
        space: float32 (n, 3), centred, in [−1, 1].
        themes: int64 (n,), each word's theme, a row of `labels`.
        labels: a few words that name each theme.
        counts: int64 (n,), how often the training prompts hold each word.
        method: how the positions were made, for a reader.
    """

    vectors: WordVectors = field(repr=False)
    words: tuple[str, ...] = field(repr=False)
    positions: NDArray[np.float32] = field(repr=False)
    space: NDArray[np.float32] = field(repr=False)
    themes: NDArray[np.int64] = field(repr=False)
    labels: tuple[str, ...] = field(repr=False)
    counts: NDArray[np.int64] = field(repr=False)
    method: str

    def __post_init__(self) -> None:
        n = len(self.words)
        shapes = (self.positions.shape, self.space.shape, self.themes.shape, self.counts.shape)
        if n < 1 or shapes != ((n, 2), (n, 3), (n,), (n,)):
            raise UserError("embedding.uneven_map")
        if not (np.isfinite(self.positions).all() and np.isfinite(self.space).all()):
            raise UserError("embedding.map_not_finite")
        if self.themes.min() < 0 or self.themes.max() >= len(self.labels):
            raise UserError("embedding.nameless_theme")

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def index(self) -> dict[str, int]:
        """Each mapped word's row."""
        return {word: row for row, word in enumerate(self.words)}

    @cached_property
    def unit(self) -> NDArray[np.float32]:
        """float32 (n, D): the mapped words' vectors, divided by their lengths."""
        return self.vectors.unit[self.vectors.positions(self.words)]

    @cached_property
    def landmarks(self) -> tuple[int, ...]:
        """Rows of a few frequent words that lie far apart: the names of the map's regions."""
        chosen: list[int] = []
        for row, place in enumerate(self.positions[:_LANDMARK_RANK]):
            if len(chosen) == _LANDMARKS:
                break
            distances = np.linalg.norm(self.positions[chosen] - place, axis=1)
            near_edge = np.abs(place[0]) > 0.85  # its name would be cut off
            if not near_edge and not (distances < _LANDMARK_DISTANCE).any():
                chosen.append(row)
        return tuple(chosen)

    @cached_property
    def extent(self) -> NDArray[np.float32]:
        """float32 (2,): half the map's width and height, with a margin."""
        return np.abs(self.positions).max(axis=0) + np.float32(_MARGIN)

    def places(self, dimensions: int = 2) -> NDArray[np.float32]:
        """float32 (n, dimensions): `positions` or `space`."""
        return {2: self.positions, 3: self.space}[dimensions]

    def top(self, words: int) -> "VocabularyMap":
        """The same map with the most frequent words alone."""
        return self._rows(np.arange(min(max(words, 1), len(self))))

    def place(self, vectors: ArrayLike, dimensions: int = 2) -> NDArray[np.float32]:
        """Where word vectors fall on the map.

        t-SNE has no transform: it says nothing of a vector it was not given. So a vector falls on
        the mean of the positions of its nearest mapped words, weighted by cosine: steeply, so
        that a vector equal to a mapped word's own lands on that word.

        Args:
            vectors: float (n, D), of any length but zero.
            dimensions: 2 or 3.

        Returns:
            float32 (n, dimensions).
        """
        queries = np.atleast_2d(np.asarray(vectors, dtype=np.float32))
        lengths = np.linalg.norm(queries, axis=1, keepdims=True)
        cosines = queries / np.maximum(lengths, 1e-12) @ self.unit.T  # (n, words)
        rows, near = top_k(cosines, NEIGHBOURS)
        near = near.astype(np.float64)
        # The 1e-6 is float32's own error: a word's cosine to itself is not exactly 1.
        weights = np.maximum(near, 1e-6) / np.maximum(1.0 - near, 1e-6) ** STEEPNESS
        weights /= weights.sum(axis=1, keepdims=True)
        places = self.places(dimensions)[rows]
        return np.einsum("nk,nkd->nd", weights, places).astype(np.float32)

    def place_words(self, words: Sequence[str], dimensions: int = 2) -> NDArray[np.float32]:
        """Where words lie, float32 (n, dimensions); one not on the map, by its own vector.

        Raises:
            UserError: the vocabulary lacks a word.
        """
        places = np.empty((len(words), dimensions), dtype=np.float32)
        for row, word in enumerate(words):
            if word in self.index:
                places[row] = self.places(dimensions)[self.index[word]]
            elif word in self.vectors:
                places[row] = self.place(self.vectors[word], dimensions)[0]
            else:
                raise UserError("embedding.unknown_word", word=word)
        return places

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the `.npz`, atomically; the same contents give the same bytes."""
        arrays = {
            "words": "\n".join(self.words),
            "positions": self.positions,
            "space": self.space,
            "themes": self.themes.astype(np.uint8),
            "labels": "\n".join(self.labels),
            "counts": self.counts,
            "method": self.method,
            "embedding": self.vectors.fingerprint,
        }
        save_arrays(path, _FILE, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str], vectors: WordVectors) -> "VocabularyMap":
        """Read what `save` wrote; words that the embedding hides are left out.

        Args:
            path: the `.npz`.
            vectors: the embedding that the map was built from.

        Raises:
            UserError: missing, not a map of ours, or of another embedding.
        """
        arrays = load_arrays(path, _FILE, vectors.fingerprint)
        words = tuple(arrays["words"].split("\n"))
        if not all(word in vectors for word in words):
            raise _FILE.error("core.other_embedding", path)
        whole = cls(
            vectors,
            words,
            arrays["positions"].astype(np.float32),
            arrays["space"].astype(np.float32),
            arrays["themes"].astype(np.int64),
            tuple(arrays["labels"].split("\n")),
            arrays["counts"].astype(np.int64),
            arrays["method"],
        )
        return whole._rows(
            np.array([row for row, w in enumerate(words) if w not in vectors.hidden])
        )

    def _rows(self, rows: NDArray[np.int64]) -> "VocabularyMap":
        return replace(
            self,
            words=tuple(self.words[row] for row in rows),
            positions=self.positions[rows],
            space=self.space[rows],
            themes=self.themes[rows],
            counts=self.counts[rows],
        )


def build_map(
    vectors: WordVectors,
    words: int = MAP_WORDS,
    seed: int = 1,
    nameless: frozenset[str] = frozenset(),
) -> VocabularyMap:
    """Lay out the most frequent content words; ten minutes for 20,000 on two CPU cores.

    t-SNE over cosine distances, then centred and scaled into [−1, 1] by one factor, so that the
    aspect stays. The same embedding, number and seed give the same map on the same machine. On
    another one rounding differs, and t-SNE turns that into another layout, which keeps as many
    neighbours.

    Args:
        vectors: the embedding.
        words: how many, at most; an embedding with fewer content words gives them all.
        seed: of t-SNE and k-means.
        nameless: words that may lie on the map but never name a theme.

    Raises:
        UserError: too few words, or scikit-learn is not installed.
    """
    try:
        import sklearn
    except ImportError:
        raise UserError("embedding.needs_sklearn") from None

    content = [row for row, word in enumerate(vectors.words) if text.is_content_word(word)]
    rows = np.array(content[: max(words, 0)], dtype=np.int64)  # most frequent first
    if len(rows) < 4:
        raise UserError("embedding.few_map_words", words=len(rows))
    unit, counts = vectors.unit[rows], vectors.counts[rows]
    names = tuple(vectors.words[row] for row in rows)
    perplexity = min(_PERPLEXITY, (len(rows) - 1) / 3)
    positions, space = (_lay_out(unit, d, perplexity, seed) for d in DIMENSIONS)
    themes, labels = _themes(names, unit, counts, positions, seed, nameless)
    return VocabularyMap(
        vectors,
        names,
        positions,
        space,
        themes,
        labels,
        counts,
        f"t-SNE over cosine distances, perplexity {perplexity:g}, seed {seed}, "
        f"scikit-learn {sklearn.__version__}",
    )


def neighbourhood_recall(vocabulary: VocabularyMap, dimensions: int, k: int = 10) -> float:
    """How well a layout keeps neighbourhoods, in [0, 1].

    The share of a word's k nearest words by cosine that are also among its k nearest on the map,
    the mean over a random sample of `RECALL_SAMPLE` words.
    """
    n = len(vocabulary)
    k = min(k, n - 1)
    rows = np.random.default_rng(0).choice(n, min(RECALL_SAMPLE, n), replace=False)
    own = np.arange(len(rows))
    cosines = vocabulary.unit[rows] @ vocabulary.unit.T  # (sample, n)
    cosines[own, rows] = -np.inf
    places = vocabulary.places(dimensions).astype(np.float64)
    # −distance², plus a row's own
    closeness = 2 * places[rows] @ places.T - (places**2).sum(axis=1)
    closeness[own, rows] = -np.inf
    near, near_on_map = top_k(cosines, k)[0], top_k(closeness, k)[0]
    kept = (near[:, :, None] == near_on_map[:, None, :]).any(axis=2)
    return float(kept.mean())


def _lay_out(
    unit: NDArray[np.float32], dimensions: int, perplexity: float, seed: int
) -> NDArray[np.float32]:
    from sklearn.manifold import TSNE

    layout = TSNE(
        dimensions,
        metric="cosine",
        init="pca",
        perplexity=perplexity,
        random_state=seed,
        **_TSNE[dimensions],
    )
    positions = layout.fit_transform(unit).astype(np.float64)
    positions -= (positions.max(axis=0) + positions.min(axis=0)) / 2
    return (positions / np.abs(positions).max()).astype(np.float32)


def _themes(
    words: Sequence[str],
    unit: NDArray[np.float32],
    counts: NDArray[np.int64],
    positions: NDArray[np.float32],
    seed: int,
    nameless: frozenset[str],
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Each word's theme, int64 (n,), and the themes' names."""
    from sklearn.cluster import KMeans

    features = np.concatenate([_THEME_VECTORS * unit, _THEME_PLACES * positions], axis=1)
    weights = np.log1p(counts)  # a theme is what many prompts ask for, not where rare words lie
    found = KMeans(min(THEMES, len(words) // 4), n_init=4, random_state=seed).fit_predict(
        features, sample_weight=weights
    )
    labels = []
    for theme in range(found.max() + 1):
        rows = np.flatnonzero(found == theme)
        centre = unit[rows].T @ weights[rows]
        typical = unit[rows] @ (centre / np.linalg.norm(centre)) * weights[rows]
        best = [words[rows[at]] for at in np.argsort(-typical) if words[rows[at]] not in nameless]
        labels.append(", ".join(best[:_THEME_NAMES]))
    return found.astype(np.int64), tuple(labels)
