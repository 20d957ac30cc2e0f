"""How good is it: one set of figures for every model and baseline, on prompts never trained on.

Every *system* gives, for each test picture, ten words and the vectors they came from. The metrics
are those of the model card: precision, recall and F1 of ten words against the prompt's content
words, soft recall, cosine per real word, MiniLM cosine, distinct words, and image gain, the score
with the right pictures minus the score with the pictures shuffled.
"""

import dataclasses
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from img2prompt.data import text
from img2prompt.data.shards import Records, source_group
from img2prompt.embedding.vectors import WordVectors, top_k
from img2prompt.inference.decoder import Decoder

WORDS = 10  # answers that every metric counts
SHUFFLES = 20  # random re-pairings of pictures and prompts; their mean is the chance score
BOOTSTRAPS = 1_000
NEIGHBOURS = 20  # of the k-nearest-neighbour baseline; 5, 20 and 50 were tried on validation
NAME_WORDS = 4  # a longer name after "by" is a sentence
_ARTIST = re.compile(r"\b(?:by|style of)\s+([^,.;:()]+)", re.IGNORECASE)
RIDGE = 10_000.0  # of the linear baseline, likewise


@dataclass(frozen=True)
class Answers:
    """What one system says of n pictures.

    Attributes:
        name: the row's name in the table.
        words: positions in the vocabulary, int64 (n, 10), none twice in a row.
        vectors: float32 (n, steps, D); of a baseline without vectors, its words' own.
        confidences: (n, 10) in [0, 1], or None where a system has none.
    """

    name: str
    words: np.ndarray
    vectors: np.ndarray
    confidences: np.ndarray | None = None


def true_words(prompt: str, vectors: WordVectors) -> np.ndarray:
    """Positions in the vocabulary of a prompt's distinct content words: int64 (n,)."""
    return vectors.prompt_positions(prompt)


def hit_counts(answers: np.ndarray, true: Sequence[np.ndarray]) -> np.ndarray:
    """How many of each picture's answers (n, k) are among its true words: int64 (n,)."""
    return is_hit(answers, true).sum(axis=1) if len(answers) else np.empty(0, np.int64)


def f1_scores(answers: np.ndarray, true: Sequence[np.ndarray]) -> np.ndarray:
    """F1 of each picture's answers (n, k) against its true words: float64 (n,).

    2 · hits / (k + number of true words); 0 for a prompt without known content words.
    """
    sizes = np.array([len(t) for t in true])
    return np.where(sizes > 0, 2 * hit_counts(answers, true) / (answers.shape[1] + sizes), 0.0)


def soft_recall(answers: Answers, true: Sequence[np.ndarray], vectors: WordVectors) -> np.ndarray:
    """Mean over a picture's true words of the best cosine to a predicted *word*: float64 (n,)."""
    return _best_cosine(vectors.unit[answers.words], true, vectors)


def cosine_per_word(
    answers: Answers, true: Sequence[np.ndarray], vectors: WordVectors
) -> np.ndarray:
    """Mean over a picture's true words of the best cosine to a predicted *vector*: (n,).

    For one vector a picture (`notebook`) it is the original's loss without its padding; with ten
    vectors each word may take its nearest.
    """
    return _best_cosine(answers.vectors, true, vectors)


def shuffled_f1(answers: np.ndarray, true: Sequence[np.ndarray], seed: int = 0) -> np.ndarray:
    """F1 of each picture's *prompt* against other pictures' answers, mean of `SHUFFLES`: (n,)."""
    rng = np.random.default_rng(seed)
    rounds = [f1_scores(answers[_derangement(len(true), rng)], true) for _ in range(SHUFFLES)]
    return np.mean(rounds, axis=0)


def bootstrap_interval(
    values: np.ndarray, prompts: Sequence[str], seed: int = 0
) -> tuple[float, float]:
    """95 % bootstrap interval of the mean, resampling prompts (pictures of one go together)."""
    _, group = np.unique([text.fold(prompt) for prompt in prompts], return_inverse=True)
    sums = np.bincount(group, weights=values)
    sizes = np.bincount(group)
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(BOOTSTRAPS):
        drawn = rng.integers(0, len(sums), len(sums))
        means.append(sums[drawn].sum() / sizes[drawn].sum())
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def constant_answers(training: Sequence[np.ndarray], n: int, vectors: WordVectors) -> Answers:
    """The ten most frequent content words of the training pictures, for every picture."""
    counts = Counter(int(word) for words in training for word in words)
    ranked = [word for word, _ in counts.most_common(WORDS)]
    # A training split of fewer words is topped up, so that ten words always come.
    ranked += [word for word in np.flatnonzero(vectors.answerable) if word not in counts]
    best = np.array(ranked[:WORDS], np.int64)
    return _word_answers("constant", np.tile(best, (n, 1)), vectors)


def knn_answers(
    features: np.ndarray,
    training_features: np.ndarray,
    training: Sequence[np.ndarray],
    vectors: WordVectors,
) -> Answers:
    """Words of the nearest training pictures by cosine of standardised features, votes summed.

    Args:
        features: float32 (n, F) of the test pictures.
        training_features: float32 (m, F).
        training: true words of the m training pictures.
    """
    words = np.zeros((len(features), WORDS), np.int64)
    popular = constant_answers(training, 1, vectors).words[0]
    near, similarity = nearest_pictures(features, training_features)
    for row, (positions, weights) in enumerate(zip(near, similarity, strict=True)):
        votes = np.zeros(len(vectors))
        votes[popular] = 1e-9 * np.arange(WORDS, 0, -1)
        for position, weight in zip(positions, weights, strict=True):
            votes[training[position]] += max(weight, 0.0)
        words[row] = top_k(votes[None], WORDS)[0][0]
    return _word_answers("knn", words, vectors)


def nearest_pictures(
    features: np.ndarray, training_features: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The `NEIGHBOURS` nearest training pictures by cosine of standardised features.

    Args:
        features: float32 (n, F).
        training_features: float32 (m, F).

    Returns:
        positions int64 (n, k) among the training pictures and cosines float32 (n, k), best first.
    """
    own, other = _standardise(features, training_features)
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    blocks = [
        top_k(own[start : start + 256] @ other.T, NEIGHBOURS) for start in range(0, len(own), 256)
    ]
    near, similarity = zip(*blocks, strict=True)
    return np.concatenate(near), np.concatenate(similarity)


def linear_answers(
    features: np.ndarray,
    training_features: np.ndarray,
    training: Sequence[np.ndarray],
    vectors: WordVectors,
) -> Answers:
    """Ridge regression from the frozen features to the mean vector of the prompt's words."""
    own, other = _standardise(features, training_features)
    known = np.array([len(words) > 0 for words in training])
    other = other[known]
    targets = np.stack([vectors.unit[words].mean(axis=0) for words in training if len(words)])
    mean = targets.mean(axis=0)
    gram = other.T @ other + RIDGE * np.eye(other.shape[1], dtype=np.float32)
    weights = np.linalg.solve(gram, other.T @ (targets - mean))
    predicted = (own @ weights + mean)[:, None].astype(np.float32)  # (n, 1, D)
    return Answers("linear", Decoder.plain(vectors).rank_vectors(predicted, WORDS)[0], predicted)


def model_answers(
    name: str,
    predict: Callable[[np.ndarray], np.ndarray],
    pixels: Callable[[np.ndarray], np.ndarray],
    n: int,
    decoder: Decoder,
    batch: int = 32,
) -> Answers:
    """Run a model over n pictures.

    Args:
        predict: `Predictor.predict_vectors`.
        pixels: positions (b,) → float32 (b, side, side, 3) in [0, 1].
        decoder: `Predictor.decoder`.
    """
    blocks = [
        predict(pixels(np.arange(start, min(start + batch, n)))) for start in range(0, n, batch)
    ]
    predicted = np.concatenate(blocks)
    words, values = decoder.rank_vectors(predicted, WORDS)
    return Answers(name, words, predicted, decoder.confidence(values))


def measure(
    answers: Answers,
    records: Records,
    vectors: WordVectors,
    sentence: Callable[[Sequence[str]], np.ndarray] | None = None,
    sentence_pictures: int = 1_000,
) -> dict[str, Any]:
    """All figures of one system.

    Args:
        answers: of the n pictures of `records`.
        records: the test pictures.
        vectors: the embedding.
        sentence: `MiniLM()`; without it `minilm` is None.
        sentence_pictures: the MiniLM cosine is the mean over this many, evenly spread.

    Returns:
        JSON-ready figures; `sources` holds each source group's.
    """
    true = [true_words(prompt, vectors) for prompt in records.prompt]
    sizes = np.array([len(words) for words in true])
    hits = hit_counts(answers.words, true)
    per_picture = {
        "precision": hits / WORDS,
        "recall": hits / np.maximum(sizes, 1),
        "f1": f1_scores(answers.words, true),
        "soft_recall": soft_recall(answers, true, vectors),
        "cosine_per_word": cosine_per_word(answers, true, vectors),
    }
    per_picture["gain"] = per_picture["f1"] - shuffled_f1(answers.words, true)
    groups = np.array([source_group(source) for source in records.source], dtype=object)
    sources = {
        group: {"pictures": int((groups == group).sum())}
        | {name: float(values[groups == group].mean()) for name, values in per_picture.items()}
        for group in sorted(set(groups))
    }
    low, high = bootstrap_interval(per_picture["f1"], records.prompt)
    figures: dict[str, Any] = {name: float(values.mean()) for name, values in per_picture.items()}
    figures |= {
        "name": answers.name,
        "pictures": len(records),
        "f1_interval": [low, high],
        "f1_macro": float(np.mean([row["f1"] for row in sources.values()])),
        "gain_share": figures["gain"] / figures["f1"] if figures["f1"] else 0.0,
        "distinct_words": len(np.unique(answers.words)),
        "same_words": mean_overlap(answers.words),
        "hub_share": hub_share(answers.words),
        "minilm": None,
        "names": names_said(answers.words, records, vectors),
        "reliability": None,
        "ece": None,
        "sources": sources,
    }
    if answers.confidences is not None:
        figures["reliability"] = reliability(
            answers.confidences.ravel(), is_hit(answers.words, true).ravel()
        )
        figures["ece"] = figures["reliability"]["ece"]
    if sentence is not None:
        step = max(1, len(records) // sentence_pictures)
        chosen = np.arange(0, len(records), step)
        said = [", ".join(vectors.words[word] for word in answers.words[i]) for i in chosen]
        distinct = sorted(set(said))
        of_said = dict(zip(distinct, sentence(distinct), strict=True))
        of_true = sentence([records.prompt[i] for i in chosen])
        figures["minilm"] = float(
            np.mean([of_said[line] @ row for line, row in zip(said, of_true, strict=True)])
        )
    return figures


def reliability(confidences: np.ndarray, hits: np.ndarray, bins: int = 10) -> dict[str, Any]:
    """How well confidences keep their word (Guo et al. 2017, arXiv 1706.04599).

    Args:
        confidences: (m,) in [0, 1], of shown words.
        hits: bool (m,), whether the prompt held the word.
        bins: of equal width.

    Returns:
        `ece`, the expected calibration error: mean over words of |confidence − share right| of
        the word's bin; and `bins`, of each that holds words: `low`, `high`, `words`, `confidence`
        (mean), `right` (share).
    """
    place = np.minimum((confidences * bins).astype(int), bins - 1)
    rows = []
    for number in np.unique(place):
        mine = place == number
        rows.append(
            {
                "low": number / bins,
                "high": (number + 1) / bins,
                "words": int(mine.sum()),
                "confidence": float(confidences[mine].mean()),
                "right": float(hits[mine].mean()),
            }
        )
    error = sum(row["words"] * abs(row["confidence"] - row["right"]) for row in rows)
    return {"ece": error / max(len(confidences), 1), "bins": rows}


def is_hit(answers: np.ndarray, true: Sequence[np.ndarray]) -> np.ndarray:
    """Which of each picture's answers (n, k) are among its true words: bool (n, k)."""
    return np.stack([np.isin(row, words) for row, words in zip(answers, true, strict=True)])


def artist_name(prompt: str, vectors: WordVectors) -> list[int]:
    """Positions of the words of the artist a prompt names last ("… by Ossip Zadkine"), in order.

    Empty where it names none, or none of whose name the embedding knows the last word.
    """
    found = _ARTIST.findall(prompt)
    words = [word for word in text.words(found[-1]) if text.is_content_word(word)] if found else []
    if not 0 < len(words) <= NAME_WORDS or words[-1] not in vectors:
        return []
    return vectors.positions(words).tolist()


def names_said(words: np.ndarray, records: Records, vectors: WordVectors) -> dict[str, Any]:
    """How artists are answered: over the pictures whose prompt names one, the share of answers
    (n, 10) that hold the name's last word, any word of it, and all of it.
    """
    names = [artist_name(prompt, vectors) for prompt in records.prompt]
    rows = [(name, set(said.tolist())) for name, said in zip(names, words, strict=True) if name]
    n = max(len(rows), 1)
    return {
        "pictures": len(rows),
        "last": sum(name[-1] in said for name, said in rows) / n,
        "any": sum(bool(said.intersection(name)) for name, said in rows) / n,
        "all": sum(said.issuperset(name) for name, said in rows) / n,
    }


def hub_share(words: np.ndarray) -> float:
    """Share of all answers (n, 10) that the ten words said most often make up.

    1 for a constant answer; words near everything (hubs) drive it up.
    """
    counts = np.sort(np.unique(words, return_counts=True)[1])[::-1]
    return float(counts[:WORDS].sum() / counts.sum())


def by_source(records: Records, values: np.ndarray) -> dict[str, float]:
    """Mean of a value a picture (n,) over each source group."""
    groups = np.array([source_group(source) for source in records.source], dtype=object)
    return {group: float(values[groups == group].mean()) for group in sorted(set(groups))}


def mean_overlap(words: np.ndarray, pairs: int = 20_000, seed: int = 0) -> float:
    """Mean share of the ten words that the answers (n, 10) to two random pictures have in common.

    1 for a model that ignores the picture.
    """
    if len(words) < 2:
        return 1.0
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, len(words), (2, pairs))
    different = first != second
    a, b = words[first[different]], words[second[different]]
    return float((a[:, :, None] == b[:, None, :]).any(axis=2).mean())


def examples(
    answers: Answers, records: Records, vectors: WordVectors, count: int = 10
) -> dict[str, list[dict]]:
    """The pictures with the best and the worst F1, one a prompt, for the report."""
    true = [true_words(prompt, vectors) for prompt in records.prompt]
    scores = f1_scores(answers.words, true)
    order = np.argsort(-scores, kind="stable")
    rows: dict[str, list[dict]] = {"best": [], "worst": []}
    for name, ranked in (("best", order), ("worst", order[::-1])):
        seen: set[str] = set()
        for i in ranked:
            folded = text.fold(records.prompt[i])
            if folded in seen or not len(true[i]):
                continue
            seen.add(folded)
            rows[name].append(
                {
                    "picture": records.name[i],
                    "source": records.source[i],
                    "prompt": records.prompt[i],
                    "answer": [vectors.words[word] for word in answers.words[i]],
                    "f1": float(scores[i]),
                }
            )
            if len(rows[name]) == count:
                break
    return rows


COLUMNS = (
    ("precision", "P@10"),
    ("recall", "R@10"),
    ("f1", "F1@10"),
    ("f1_interval", "95 %"),
    ("f1_macro", "F1 macro"),
    ("gain", "image gain"),
    ("soft_recall", "soft recall"),
    ("cosine_per_word", "cosine/word"),
    ("minilm", "MiniLM"),
    ("distinct_words", "distinct"),
    ("same_words", "alike"),
    ("hub_share", "hubs"),
    ("ece", "ECE"),
)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The figures of several systems as a Markdown table."""
    lines = ["| system | " + " | ".join(title for _, title in COLUMNS) + " |"]
    lines.append("|---|" + "---:|" * len(COLUMNS))
    for row in rows:
        lines.append(f"| {row['name']} | {' | '.join(_cell(row[key]) for key, _ in COLUMNS)} |")
    return "\n".join(lines)


def ratios(rows: Sequence[dict[str, Any]]) -> list[str]:
    """One line a system: how it stands against the constant answer, which must be among them."""
    constant = next(row for row in rows if row["name"] == "constant")
    lines = []
    for row in rows:
        if row is constant:
            continue
        line = (
            f"- {row['name']}: {row['f1'] / constant['f1']:.2f}× by picture, "
            f"{row['f1_macro'] / constant['f1_macro']:.2f}× by source (macro), "
            f"image gain {row['gain_share']:.0%} of the score"
        )
        if row["minilm"] is not None and constant["minilm"] is not None:
            line += f", MiniLM {row['minilm'] - constant['minilm']:+.3f}"
        lines.append(line)
    return lines


def names_table(rows: Sequence[dict[str, Any]]) -> str:
    """`names_said` of several systems as a Markdown table."""
    lines = ["| system | last word | any word | whole name |", "|---|---:|---:|---:|"]
    for row in rows:
        cells = (f"{row['names'][key]:.1%}" for key in ("last", "any", "all"))
        lines.append(f"| {row['name']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def source_table(rows: Sequence[dict[str, Any]], key: str = "f1") -> str:
    """One figure of several systems, a line a source group, as a Markdown table."""
    names = [row["name"] for row in rows]
    lines = [
        "| source | pictures | " + " | ".join(names) + " |",
        "|---|" + "---:|" * (len(names) + 1),
    ]
    for source, first in sorted(rows[0]["sources"].items(), key=lambda item: -item[1]["pictures"]):
        cells = " | ".join(_cell(row["sources"][source][key]) for row in rows)
        lines.append(f"| {source} | {first['pictures']} | {cells} |")
    return "\n".join(lines)


def stamp(folders: Sequence[str | os.PathLike], vectors: WordVectors) -> dict[str, Any]:
    """What the figures belong to: stop-list version, embedding, prepared folders' settings."""
    from img2prompt.data.shards import settings_of

    return {
        "stop_words_version": text.STOP_WORDS_VERSION,
        "embedding": vectors.fingerprint,
        "prepared": [dataclasses.asdict(settings_of(folder)) for folder in folders],
    }


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, list):
        return "–".join(f"{part:.3f}" for part in value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def _best_cosine(
    predicted: np.ndarray, true: Sequence[np.ndarray], vectors: WordVectors
) -> np.ndarray:
    unit = predicted / np.maximum(np.linalg.norm(predicted, axis=-1, keepdims=True), 1e-12)
    return np.array(
        [
            (unit[i] @ vectors.unit[words].T).max(axis=0).mean() if len(words) else 0.0
            for i, words in enumerate(true)
        ],
        dtype=np.float64,
    )


def _word_answers(name: str, words: np.ndarray, vectors: WordVectors) -> Answers:
    return Answers(name, words, vectors.vectors[words])


def _standardise(features: np.ndarray, training: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, deviation = training.mean(axis=0), training.std(axis=0) + 1e-4
    own = np.clip((features - mean) / deviation, -6, 6).astype(np.float32)
    return own, np.clip((training - mean) / deviation, -6, 6).astype(np.float32)


def _derangement(n: int, rng: np.random.Generator) -> np.ndarray:
    """Positions (n,) where no picture keeps its own prompt: a random cyclic shift of a shuffle."""
    order = rng.permutation(n)
    out = np.empty(n, np.int64)
    out[order] = np.roll(order, 1)
    return out
