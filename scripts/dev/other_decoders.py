"""The decoder rows of the ablations: one trained model whose vectors become words in other ways."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.files import read_json
from img2prompt.core.forms import Run
from img2prompt.data.images import to_float
from img2prompt.data.shards import ShardIndex, pixel_reader
from img2prompt.embedding.class_words import ClassWords
from img2prompt.embedding.vectors import WordVectors, top_k
from img2prompt.evaluation import metrics
from img2prompt.evaluation.baselines import nearest_pictures
from img2prompt.inference.decoder import Decoder, nearest_cosines, prior_of_background

BLOCK = 64  # pictures decoded at a time
HUB_NEIGHBOURS = 10  # of CSLS, as in its paper
KNN_SHARE = 0.2  # how much a unanimous vote of the neighbours adds to a word's cosine

Vectors = NDArray[np.float32]  # predicted (n, steps, D)


@dataclass(frozen=True)
class Measured:
    """The pictures a row is measured on, their true words and the features of their backbone."""

    pictures: ShardIndex
    index: NDArray[np.int64]
    true: list[NDArray[np.int64]]
    features: Callable[[NDArray[np.integer]], NDArray[np.float32]]

    def figures(
        self, words: NDArray[np.int64], predicted: Vectors | None, vectors: WordVectors
    ) -> dict[str, Any]:
        """F1@10 by picture and by source, distinct words, and cosine per word if vectors come."""
        scores = metrics.f1_scores(words, self.true)
        by_source = metrics.by_source(self.pictures.texts(self.index).groups, scores)
        cosine = None
        if predicted is not None:
            answers = metrics.Answers("", words, predicted)
            cosine = float(metrics.cosine_per_word(answers, self.true, vectors).mean())
        return {
            "f1": float(scores.mean()),
            "f1_macro": float(np.mean(list(by_source.values()))),
            "gain": float((scores - metrics.shuffled_f1(words, self.true)).mean()),
            "distinct_words": len(np.unique(words)),
            "alike": metrics.answer_overlap(words),
            "cosine_per_word": cosine,
        }


def true_words(
    pictures: ShardIndex, index: NDArray[np.int64], vectors: WordVectors
) -> list[NDArray[np.int64]]:
    return [vectors.prompt_positions(prompt) for prompt in pictures.prompts(index)]


def training_pictures(pictures: ShardIndex, held_out: Sequence[str]) -> NDArray[np.int64]:
    return np.flatnonzero(pictures.in_split("train") & ~pictures.of_sources(held_out))


def predicted_by(run: Path, measured: Measured) -> Vectors:
    """What a run's head says of cached features: vectors (n, steps, D)."""
    from img2prompt.inference.predictor import load_model

    head = load_model(run / "model.keras").get_layer("head")
    blocks = np.array_split(measured.index, max(1, len(measured.index) // 256))
    return np.concatenate([head.predict_on_batch(measured.features(b)) for b in blocks])


Values = Callable[[str, slice], NDArray[np.floating]]  # place, rows → word values (n, V)


class OtherDecoders:
    """A trained head whose vectors are turned into words in other ways.

    Args:
        runs: of the last row, one a seed.
        held_out: source groups or single sources that they were not trained on.
        class_words: the words that go with each class, of which the prior is made.
        places: what is measured.
        vectors: the embedding.
    """

    def __init__(
        self,
        runs: Sequence[Path],
        held_out: Sequence[str],
        class_words: ClassWords,
        places: dict[str, Measured],
        vectors: WordVectors,
    ) -> None:
        self.runs, self.places, self.vectors = runs, places, vectors
        self.held_out, self.background = held_out, class_words.background
        self.decoder = Decoder.load(runs[0] / "model.decoder.npz", vectors)
        self.predicted = {
            place: [predicted_by(run, measured) for run in runs]
            for place, measured in places.items()
        }
        self.mirrored = {place: self._mirrored(measured) for place, measured in places.items()}
        self.votes = self._neighbour_votes()
        home = self.predicted["home"][0]
        self.hubs = self._hubness(home[:: max(1, len(home) // 1000)])
        self.common = vectors.unit[vectors.answerable].mean(axis=0)
        self.centred = WordVectors(vectors.words, vectors.unit - self.common, vectors.counts)

    def ways(self) -> dict[str, tuple[str, NDArray[np.float32], Values]]:
        """Name → title, what is added to each word's value (V,), and the values."""
        weight = read_json(self.runs[0] / "config.json", Run).get("prior", 0.0)
        double = prior_of_background(self.background, 2 * weight)
        nothing, prior = np.zeros(len(self.vectors), np.float32), self.decoder.prior
        return {
            "no-prior": ("no prior", nothing, self.cosines),
            "double-prior": ("twice the prior", double, self.cosines),
            "csls": ("hubness correction (CSLS)", 2 * prior, self.csls),
            "centred": ("common component removed", prior, self.without_common),
            "mirrored": ("mean of picture and mirror image", prior, self.mean_of_mirrored),
            "knn": ("+ votes of the 20 nearest training pictures", prior, self.with_votes),
            "ensemble": (f"mean of {len(self.runs)} seeds", prior, self.ensemble),
        }

    def figures(self, prior: NDArray[np.float32], values: Values) -> dict[str, Any]:
        """The figures at each place."""
        decoder = dataclasses.replace(self.decoder, prior=prior)
        figures = {}
        for place, measured in self.places.items():
            blocks = [
                decoder.rank(values(place, slice(start, start + BLOCK)), metrics.WORDS)[0]
                for start in range(0, len(measured.index), BLOCK)
            ]
            figures[place] = measured.figures(np.concatenate(blocks), None, self.vectors)
        return figures

    def cosines(self, place: str, rows: slice, number: int = 0) -> NDArray[np.floating]:
        return nearest_cosines(self.predicted[place][number][rows], self.vectors)

    def csls(self, place: str, rows: slice) -> NDArray[np.floating]:
        said = self.predicted[place][0][rows]
        scores = self.vectors.similarities(said.reshape(-1, said.shape[-1]))  # (n · steps, V)
        own = top_k(scores, HUB_NEIGHBOURS)[1].mean(axis=1, keepdims=True)
        best = (2 * scores - own).reshape(len(said), -1, len(self.vectors)).max(axis=1)
        return np.asarray(best - self.hubs)

    def without_common(self, place: str, rows: slice) -> NDArray[np.floating]:
        said = self.predicted[place][0][rows]
        said = said / np.linalg.norm(said, axis=-1, keepdims=True) - self.common
        return nearest_cosines(said, self.centred)

    def mean_of_mirrored(self, place: str, rows: slice) -> NDArray[np.floating]:
        other = nearest_cosines(self.mirrored[place][rows], self.vectors)
        return (self.cosines(place, rows) + other) / 2

    def with_votes(self, place: str, rows: slice) -> NDArray[np.floating]:
        return self.cosines(place, rows) + KNN_SHARE * self.votes[place](rows)

    def ensemble(self, place: str, rows: slice) -> NDArray[np.floating]:
        every = [self.cosines(place, rows, number) for number in range(len(self.runs))]
        return np.asarray(np.mean(every, axis=0))

    def _hubness(self, predicted: Vectors) -> NDArray[np.floating]:
        """Mean cosine of each word to its nearest predicted vectors, (V,): Conneau et al. 2018,
        arXiv 1710.04087, after Dinu et al. 2015."""
        flat = predicted.reshape(-1, predicted.shape[-1])
        flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
        means = [
            top_k(self.vectors.unit[start : start + 1000] @ flat.T, HUB_NEIGHBOURS)[1].mean(axis=1)
            for start in range(0, len(self.vectors), 1000)
        ]
        return np.concatenate(means)

    def _mirrored(self, measured: Measured) -> Vectors:
        """Vectors of the mirror images (n, steps, D)."""
        from img2prompt.inference.predictor import Predictor, load_model

        model = load_model(self.runs[0] / "model.keras")
        predictor = Predictor(model, self.vectors, "mirrored")
        pixels = pixel_reader(measured.pictures)
        blocks = np.array_split(measured.index, max(1, len(measured.index) // BLOCK))
        return np.concatenate(
            [predictor.predict_vectors(to_float(pixels(b)[:, :, ::-1])) for b in blocks]
        )

    def _neighbour_votes(self) -> dict[str, Callable[[slice], NDArray[np.float32]]]:
        """For each place, rows → share of the neighbours' votes for each word, (n, V)."""
        home = self.places["home"]
        training = training_pictures(home.pictures, self.held_out)
        words = true_words(home.pictures, training, self.vectors)
        features = home.features(training)
        near = {
            place: nearest_pictures(measured.features(measured.index), features)
            for place, measured in self.places.items()
        }

        def votes(place: str, rows: slice) -> NDArray[np.float32]:
            positions, weights = near[place][0][rows], near[place][1][rows]
            table = np.zeros((len(positions), len(self.vectors)), np.float32)
            for row, own, shares in zip(table, positions, weights, strict=True):
                for position, value in zip(own, shares, strict=True):
                    row[words[position]] += max(value, 0.0) / max(shares.sum(), 1e-6)
            return table

        return {place: functools.partial(votes, place) for place in near}
