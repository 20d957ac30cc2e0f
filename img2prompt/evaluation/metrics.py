"""Metrics of ten words against a prompt, for every model and baseline alike.

Every *system* gives, for each test picture, ten words and the vectors they came from. The metrics
are those of the model card: precision, recall and F1 of ten words against the prompt's content
words, soft recall, cosine per true word, MiniLM cosine, distinct words, and image gain: the score
with the right pictures minus the score with the pictures shuffled.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2prompt.data import text
from img2prompt.data.artists import NAME_WORDS, after_by
from img2prompt.data.shards import Texts
from img2prompt.embedding.vectors import WordVectors

WORDS = 10  # answers that every metric counts
SHUFFLES = 20  # random re-pairings of pictures and prompts; their mean is the chance score
BOOTSTRAPS = 1_000
BINS = 10  # of confidences
SENTENCE_PICTURES = 1_000  # the MiniLM cosine is the mean over this many, evenly spread

Positions = NDArray[np.int64]
Floats = NDArray[np.float64]
TrueWords = Sequence[Positions]  # of each picture, positions in the vocabulary


@dataclass(frozen=True)
class Answers:
    """What one system says of n pictures.

    Attributes:
        name: the row's name in the table.
        words: positions in the vocabulary, int64 (n, 10), none twice in a row.
        vectors: float32 (n, steps, D); of a baseline without vectors, its words' own.
        confidences: float (n, 10) in [0, 1], or None where a system has none.
        subjects: `subjects.subjects_named`, or None where nobody asked.
    """

    name: str
    words: Positions
    vectors: NDArray[np.float32]
    confidences: NDArray[np.floating] | None = None
    subjects: dict[str, int] | None = None


def hit_counts(answers: Positions, true: TrueWords) -> Positions:
    """How many of each picture's answers (n, k) are among its true words: int64 (n,)."""
    return is_hit(answers, true).sum(axis=1) if len(answers) else np.empty(0, np.int64)


def f1_scores(answers: Positions, true: TrueWords) -> Floats:
    """F1 of each picture's answers (n, k) against its true words: float64 (n,).

    2 · hits / (k + number of true words); 0 for a prompt without known content words.
    """
    sizes = np.array([len(t) for t in true])
    return np.where(sizes > 0, 2 * hit_counts(answers, true) / (answers.shape[1] + sizes), 0.0)


def soft_recall(answers: Answers, true: TrueWords, vectors: WordVectors) -> Floats:
    """Mean over a picture's true words of the best cosine to a predicted *word*: float64 (n,)."""
    return _best_cosine(vectors.unit[answers.words], true, vectors)


def cosine_per_word(answers: Answers, true: TrueWords, vectors: WordVectors) -> Floats:
    """Mean over a picture's true words of the best cosine to a predicted *vector*: (n,).

    For one vector a picture (`notebook`) it is the original's loss without its padding; with ten
    vectors each word may take its nearest.
    """
    return _best_cosine(answers.vectors, true, vectors)


def shuffled_f1(answers: Positions, true: TrueWords, seed: int = 0) -> Floats:
    """F1 of each picture's *prompt* against other pictures' answers, mean of `SHUFFLES`: (n,)."""
    rng = np.random.default_rng(seed)
    rounds = [f1_scores(answers[_derangement(len(true), rng)], true) for _ in range(SHUFFLES)]
    mean: Floats = np.mean(rounds, axis=0)
    return mean


def bootstrap_interval(
    values: Floats, prompts: Iterable[str], seed: int = 0
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


def measure(
    answers: Answers,
    texts: Texts,
    vectors: WordVectors,
    sentence: Callable[[Sequence[str]], NDArray[np.float32]] | None = None,
    generic: NDArray[np.bool_] | None = None,
) -> dict[str, Any]:
    """All figures of one system.

    Args:
        answers: of n pictures.
        texts: of the same pictures.
        vectors: the embedding.
        sentence: `MiniLM()`; without it `minilm` is None.
        generic: bool (V,), `Lexicon.generic`; without it what it tells is left out.

    Returns:
        JSON-ready figures; `sources` holds each source group's.
    """
    true = [vectors.prompt_positions(prompt) for prompt in texts.prompts]
    groups = texts.groups
    per_picture = _per_picture(answers, true, vectors)
    if generic is not None:
        per_picture |= _apart(answers.words, true, generic)
    means = {name: by_source(groups, values) for name, values in per_picture.items()}
    counts = Counter(groups)
    sources: dict[str, dict[str, float]] = {
        group: {"pictures": counts[group]} | {name: of[group] for name, of in means.items()}
        for group in sorted(counts)
    }
    calibration = None
    if answers.confidences is not None:
        calibration = reliability(answers.confidences.ravel(), is_hit(answers.words, true).ravel())
    figures: dict[str, Any] = {name: float(values.mean()) for name, values in per_picture.items()}
    return figures | {
        "name": answers.name,
        "pictures": len(texts),
        "f1_interval": list(bootstrap_interval(per_picture["f1"], texts.prompts)),
        "f1_macro": float(np.mean([row["f1"] for row in sources.values()])),
        "gain_share": figures["gain"] / figures["f1"] if figures["f1"] else 0.0,
        "distinct_words": len(np.unique(answers.words)),
        "same_words": answer_overlap(answers.words),
        "hub_share": hubness(answers.words),
        "minilm": None if sentence is None else _sentences(answers, texts, vectors, sentence),
        "names": names_said(answers.words, texts.prompts, vectors),
        "reliability": calibration,
        "ece": None if calibration is None else calibration["ece"],
        "subjects": answers.subjects,
        "sources": sources,
    }


def _per_picture(answers: Answers, true: TrueWords, vectors: WordVectors) -> dict[str, Floats]:
    """The metrics that every picture has for itself, each float64 (n,)."""
    hits = hit_counts(answers.words, true)
    f1 = f1_scores(answers.words, true)
    return {
        "precision": hits / WORDS,
        "recall": hits / np.maximum([len(words) for words in true], 1),
        "f1": f1,
        "soft_recall": soft_recall(answers, true, vectors),
        "cosine_per_word": cosine_per_word(answers, true, vectors),
        "gain": f1 - shuffled_f1(answers.words, true),
    }


def _apart(words: Positions, true: TrueWords, generic: NDArray[np.bool_]) -> dict[str, Floats]:
    """What is measured of specific and generic words apart, each float64 (n,)."""
    return {
        **{
            f"specific_{first}": specific_precision(words, true, generic, first) for first in (3, 5)
        },
        "generic": generic[words].mean(axis=1),
    }


def specific_precision(
    words: Positions, true: TrueWords, generic: NDArray[np.bool_], first: int
) -> Floats:
    """Share of true words among the first specific words of each answer (n, k): float64 (n,).

    Args:
        words: in their order.
        true: of each picture.
        generic: bool (V,), the words that are passed over.
        first: how many specific words count; of an answer with fewer, all. 0 where it has none.
    """
    specific = ~generic[words]
    counted = specific & (np.cumsum(specific, axis=1) <= first)
    right = (is_hit(words, true) & counted).sum(axis=1)
    return np.asarray(right / np.maximum(counted.sum(axis=1), 1), np.float64)


def _sentences(
    answers: Answers,
    texts: Texts,
    vectors: WordVectors,
    sentence: Callable[[Sequence[str]], NDArray[np.float32]],
) -> float:
    """Mean cosine of the sentence embeddings of answer and prompt."""
    chosen = np.arange(0, len(texts), max(1, len(texts) // SENTENCE_PICTURES))
    said = [", ".join(vectors.words[word] for word in answers.words[i]) for i in chosen]
    distinct = sorted(set(said))  # the constant answer is embedded once
    of_said = dict(zip(distinct, sentence(distinct), strict=True))
    of_true = sentence([texts.prompts[i] for i in chosen])
    return float(np.mean([of_said[line] @ row for line, row in zip(said, of_true, strict=True)]))


def reliability(confidences: NDArray[np.floating], hits: NDArray[np.bool_]) -> dict[str, Any]:
    """How well confidences keep their word (Guo et al. 2017, arXiv 1706.04599).

    Args:
        confidences: (m,) in [0, 1], of shown words.
        hits: bool (m,), whether the prompt held the word.

    Returns:
        `ece`, the expected calibration error: mean over words of |confidence − share right| of
        the word's bin; and `bins`, of each of the `BINS` of equal width that holds words: `low`,
        `high`, `words`, `confidence` (mean), `right` (share).
    """
    place = np.minimum((confidences * BINS).astype(int), BINS - 1)
    rows = []
    for number in np.unique(place):
        mine = place == number
        rows.append(
            {
                "low": number / BINS,
                "high": (number + 1) / BINS,
                "words": int(mine.sum()),
                "confidence": float(confidences[mine].mean()),
                "right": float(hits[mine].mean()),
            }
        )
    error = sum(row["words"] * abs(row["confidence"] - row["right"]) for row in rows)
    return {"ece": error / max(len(confidences), 1), "bins": rows}


def is_hit(answers: Positions, true: TrueWords) -> NDArray[np.bool_]:
    """Which of each picture's answers (n, k) are among its true words: bool (n, k)."""
    return np.stack([np.isin(row, words) for row, words in zip(answers, true, strict=True)])


def artist_name(prompt: str, vectors: WordVectors) -> list[int]:
    """Positions of the words of the artist a prompt names last ("… by Ossip Zadkine"), in order.

    Empty where it names none, or none of whose name the embedding knows the last word.
    """
    found = after_by(prompt)
    words = [word for word in text.words(found[-1]) if text.is_content_word(word)] if found else []
    if not 0 < len(words) <= NAME_WORDS or words[-1] not in vectors:
        return []
    return vectors.positions(words).tolist()


def names_said(words: Positions, prompts: Sequence[str], vectors: WordVectors) -> dict[str, Any]:
    """How artists are answered: over the pictures whose prompt names one, the share of answers
    (n, 10) that hold the name's last word, any word of it, and all of it.
    """
    names = [artist_name(prompt, vectors) for prompt in prompts]
    rows = [(name, set(said.tolist())) for name, said in zip(names, words, strict=True) if name]
    n = max(len(rows), 1)
    return {
        "pictures": len(rows),
        "last": sum(name[-1] in said for name, said in rows) / n,
        "any": sum(bool(said.intersection(name)) for name, said in rows) / n,
        "all": sum(said.issuperset(name) for name, said in rows) / n,
    }


def hubness(words: Positions) -> float:
    """Share of all answers (n, 10) that the ten words said most often make up.

    1 for a constant answer; words near everything (hubs) drive it up.
    """
    counts = np.sort(np.unique(words, return_counts=True)[1])[::-1]
    return float(counts[:WORDS].sum() / counts.sum())


def by_source(groups: Sequence[str], values: Floats) -> dict[str, float]:
    """Mean of a value a picture (n,) over each source group; `groups` names that of each."""
    of_picture = np.array(groups, dtype=object)
    return {group: float(values[of_picture == group].mean()) for group in sorted(set(groups))}


def answer_overlap(words: Positions, pairs: int = 20_000, seed: int = 0) -> float:
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
    answers: Answers, texts: Texts, vectors: WordVectors, count: int = 10
) -> dict[str, list[dict[str, Any]]]:
    """The pictures with the best and the worst F1, one a prompt, for the report."""
    true = [vectors.prompt_positions(prompt) for prompt in texts.prompts]
    scores = f1_scores(answers.words, true)
    order = np.argsort(-scores, kind="stable")
    rows: dict[str, list[dict[str, Any]]] = {"best": [], "worst": []}
    for name, ranked in (("best", order), ("worst", order[::-1])):
        seen: set[str] = set()
        for i in ranked:
            folded = text.fold(texts.prompts[i])
            if folded in seen or not len(true[i]):
                continue
            seen.add(folded)
            rows[name].append(
                {
                    "picture": texts.names[i],
                    "source": texts.sources[i],
                    "prompt": texts.prompts[i],
                    "answer": [vectors.words[word] for word in answers.words[i]],
                    "f1": float(scores[i]),
                }
            )
            if len(rows[name]) == count:
                break
    return rows


def _best_cosine(predicted: NDArray[np.float32], true: TrueWords, vectors: WordVectors) -> Floats:
    unit = predicted / np.maximum(np.linalg.norm(predicted, axis=-1, keepdims=True), 1e-12)
    return np.array(
        [
            (unit[i] @ vectors.unit[words].T).max(axis=0).mean() if len(words) else 0.0
            for i, words in enumerate(true)
        ],
        dtype=np.float64,
    )


def _derangement(n: int, rng: np.random.Generator) -> Positions:
    """Positions (n,) where no picture keeps its own prompt: a random cyclic shift of a shuffle."""
    order = rng.permutation(n)
    out = np.empty(n, np.int64)
    out[order] = np.roll(order, 1)
    return out
