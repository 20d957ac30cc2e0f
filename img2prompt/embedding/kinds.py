"""What kind a word is: subject, artist, medium, style, light or quality, where we can say so.

A classifier, trained once and offline, decides from a word's vector and from where in prompts it
appears. It learns from `kind_seeds.toml`, which was written by hand. A word that it is not sure of
has no kind. Serving reads one number a word from `kinds.npz`.
"""

import os
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.arrays import TEXT, ArrayFile, Form, load_arrays, save_arrays
from img2prompt.core.errors import UserError
from img2prompt.data import text
from img2prompt.data.prompts import iter_prompts
from img2prompt.embedding.vectors import WordVectors

KINDS = ("subject", "artist", "medium", "style", "light", "quality")  # the order for a reader
NONE = "none"  # in the seeds: words that belong to no kind
KINDS_FILE = "kinds.npz"
_FILE = ArrayFile(
    "embedding.kind_kinds",
    "scripts/build_kinds.py",
    {"codes": Form("u", (None,)), "kinds": TEXT, "method": TEXT, "embedding": TEXT},
)
SEEDS_FILE = Path(__file__).with_name("kind_seeds.toml")

PRECISION = 0.9  # of a kind's words, what the thresholds aim for
# Our estimate of how the answerable words share out, from 200 drawn at random and read through.
# The seeds share out otherwise (a kind of few words still needs seeds), so they are weighted.
SHARES = {
    "subject": 0.25,
    "artist": 0.08,
    "medium": 0.03,
    "style": 0.03,
    "light": 0.02,
    "quality": 0.015,
    NONE: 0.575,
}
_LOWEST_THRESHOLD = 0.5  # below it another kind may be as likely
_FOLDS = 5
_REGULARISATION = 0.03  # of the regression, by the likelihood of held-out seeds
_MENTIONS = 8.0  # uses that count as much as the mean word's habits: rare words prove little
_STYLE_WORDS = frozenset(("style", "styled", "art", "artwork", "aesthetic", "core", "punk"))
_LIGHT_WORDS = frozenset(("light", "lights", "lighting", "lit", "glow", "glowing"))
_MEDIUM_WORDS = frozenset(("painting", "photo", "photograph", "photography", "drawing", "print"))
_ARTICLES = frozenset(("a", "an", "the"))
_PLACES = frozenset(("in", "on", "at", "with", "under", "near", "behind", "beside", "into"))
# What is counted of each use of a word; shares of its uses.
CONTEXTS = (
    "after by",  # "by" or "style of" stands before it in its phrase (up to a comma)
    "right after by",
    "first phrase",
    "last phrase",
    "later half",
    "alone",  # the phrase is the word
    "ends its phrase",
    "after an article",
    "after a place",
    "after of",
    "before of",
    "before style",
    "before light",
    "before medium",
    "capitalised",  # where the prompt is not all in capitals
)


@dataclass(frozen=True)
class Kinds:
    """The kind of each word of an embedding.

    Attributes:
        vectors: the embedding.
        codes: uint8 (V,), 0 for no kind, else 1 + the position in `KINDS`.
        method: how they were found, for a reader.
    """

    vectors: WordVectors = field(repr=False)
    codes: NDArray[np.uint8] = field(repr=False)
    method: str = ""

    def __post_init__(self) -> None:
        if self.codes.shape != (len(self.vectors),) or self.codes.max(initial=0) > len(KINDS):
            raise UserError("embedding.uneven_kinds")

    def of(self, word: str) -> str | None:
        """A word's kind; None where nobody can say, or the vocabulary lacks or hides the word."""
        row = self.vectors.index.get(word)
        if row is None or word in self.vectors.hidden or self.codes[row] == 0:
            return None
        return KINDS[self.codes[row] - 1]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the `.npz`, atomically; the same contents give the same bytes."""
        arrays = {
            "codes": self.codes,
            "kinds": "\n".join(KINDS),
            "method": self.method,
            "embedding": self.vectors.fingerprint,
        }
        save_arrays(path, _FILE, arrays, compressed=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str], vectors: WordVectors) -> "Kinds":
        """Read what `save` wrote.

        Raises:
            UserError: missing, damaged, or of another embedding.
        """
        arrays = load_arrays(path, _FILE, vectors.fingerprint)
        if tuple(arrays["kinds"].split("\n")) != KINDS:
            raise _FILE.error(
                "core.unfit_array_file", path, reason=UserError("embedding.other_kinds")
            )
        return cls(vectors, arrays["codes"].astype(np.uint8), arrays["method"])


def read_seeds(path: str | os.PathLike[str] = SEEDS_FILE) -> dict[str, str]:
    """Word → kind or `NONE`, from a TOML file with a text of words for each kind.

    Raises:
        UserError: not such a file, or a word in two kinds.
    """
    path = Path(path)
    try:
        lists = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        raise UserError("embedding.no_seeds", path=path) from None
    seeds: dict[str, str] = {}
    for kind, words in lists.items():
        if kind not in (*KINDS, NONE) or not isinstance(words, str):
            raise UserError(
                "embedding.unknown_kind", path=path, kind=kind, known=", ".join((*KINDS, NONE))
            )
        for word in words.split():
            if seeds.setdefault(word, kind) != kind:
                raise UserError(
                    "embedding.seed_of_two_kinds", path=path, word=word, one=seeds[word], other=kind
                )
    return seeds


def count_contexts(
    files: Iterable[str | os.PathLike[str]], vectors: WordVectors
) -> NDArray[np.float32]:
    """Where prompts use each word.

    Args:
        files: parquet with a column `prompt`, or text; streamed.
        vectors: the embedding whose words are counted.

    Returns:
        float32 (V, 1 + len(CONTEXTS)): the uses, and the share of them in each of `CONTEXTS`.
    """
    counts = np.zeros((len(vectors), 1 + len(CONTEXTS)))
    for path in files:
        for prompt, *_ in iter_prompts(path):
            rows, uses = _uses(prompt, vectors.index)
            if rows:
                np.add.at(counts, rows, np.array(uses, dtype=np.float64))
    seen = counts[:, :1]
    mean = counts.sum(axis=0)[1:] / max(seen.sum(), 1.0)
    shares = (counts[:, 1:] + _MENTIONS * mean) / (seen + _MENTIONS)
    return np.concatenate([seen, shares], axis=1).astype(np.float32)


def _uses(prompt: str, index: dict[str, int]) -> tuple[list[int], list[tuple[float, ...]]]:
    phrases = [phrase for phrase in prompt.replace(";", ",").split(",") if phrase.strip()]
    shouted = prompt.isupper()
    rows: list[int] = []
    uses: list[tuple[float, ...]] = []
    for place, phrase in enumerate(phrases):
        raw = text.WORD.findall(phrase)
        words = [word.lower() for word in raw]
        by = next(
            (
                i
                for i, word in enumerate(words)
                if word == "by" or (word == "of" and i and words[i - 1] == "style")
            ),
            len(words),
        )
        last = len(words) - 1
        for i, word in enumerate(words):
            row = index.get(word)
            if row is None:
                continue
            before = words[i - 1] if i else ""
            after = words[i + 1] if i < last else ""
            rows.append(row)
            uses.append(
                (
                    1,
                    i > by,
                    i == by + 1,
                    place == 0,
                    place == len(phrases) - 1,
                    2 * place >= len(phrases),
                    last == 0,
                    i == last,
                    before in _ARTICLES,
                    before in _PLACES,
                    before == "of",
                    after == "of",
                    after in _STYLE_WORDS,
                    after in _LIGHT_WORDS,
                    after in _MEDIUM_WORDS,
                    i > 0 and not shouted and raw[i][0].isupper(),
                )
            )
    return rows, uses


def word_features(vectors: WordVectors, contexts: NDArray[np.float32]) -> NDArray[np.float32]:
    """The classifier's input for each word: float32 (V, F), columns of mean 0 and deviation 1.

    A column that is the same for every word is 0.

    The unit vector, the logits of the context's shares, the logarithm of the count, and the
    word's letters as far as they tell: digits, and the ends "s", "ed", "ing", "ly", "ism", "ist".
    """
    shares = np.clip(contexts[:, 1:], 1e-3, 1 - 1e-3)
    ends = ("s", "ed", "ing", "ly", "ism", "ist", "y")
    letters = np.array(
        [
            [any(c.isdigit() for c in word), *(word.endswith(end) for end in ends)]
            for word in vectors.words
        ],
        dtype=np.float32,
    )
    columns = np.concatenate(
        [
            vectors.unit,
            np.log(shares / (1 - shares)),
            np.log1p(contexts[:, :1]),
            letters,
        ],
        axis=1,
    )
    # The deviation of a column that never varies is its mean's rounding error, and no zero.
    varies = np.ptp(columns, axis=0) > 0
    spread = np.where(varies, columns.std(axis=0), 1)
    return np.where(varies, (columns - columns.mean(axis=0)) / spread, 0).astype(np.float32)


@dataclass(frozen=True)
class KindReport:
    """How well a kind is known.

    Attributes:
        kind: its name.
        seeds: how many words taught it.
        threshold: the probability from which a word is given the kind; above 1 if never.
        precision: share of the held-out seed words given the kind that are of it; nan if none.
        recall: share of its held-out seed words that are given it.
        words: how many answerable words are given it.
    """

    kind: str
    seeds: int
    threshold: float
    precision: float
    recall: float
    words: int


def fit_kinds(
    vectors: WordVectors,
    contexts: NDArray[np.float32],
    seeds: dict[str, str],
    precision: float = PRECISION,
    seed: int = 1,
) -> tuple[Kinds, list[KindReport]]:
    """Learn from the seeds what kind every answerable word is.

    Multinomial logistic regression, every seed weighted so that the kinds have their `SHARES`. A
    kind's threshold is the lowest probability (at least 0.5) at which held-out seed words are
    right to `precision`; five-fold cross-validation finds it, and a second one, folded otherwise,
    measures it, by the same weights. Seed words keep the kind they were given.

    Args:
        vectors: the embedding.
        contexts: `count_contexts` of the same.
        seeds: word → kind or `NONE`; words that the vocabulary lacks are ignored.
        precision: what to reach, in [0, 1]; a kind that never does is given to its seeds alone.
        seed: of the folds.

    Raises:
        UserError: a kind has fewer than five seeds in the vocabulary, or scikit-learn is missing.
    """
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedKFold, cross_val_predict
    except ImportError:
        raise UserError("embedding.needs_sklearn") from None

    names = (NONE, *KINDS)
    taught = [word for word in seeds if word in vectors]
    rows = vectors.positions(taught)
    truth = np.array([names.index(seeds[word]) for word in taught], np.int64)
    seeds_of = np.bincount(truth, minlength=len(names))
    for name, count in zip(names, seeds_of, strict=True):
        if count < _FOLDS:
            raise UserError("embedding.few_seeds", kind=name, least=_FOLDS)
    table = word_features(vectors, contexts)
    weights = np.array([SHARES[name] for name in names])[truth] / seeds_of[truth] * len(rows)
    model = LogisticRegression(C=_REGULARISATION, max_iter=2000)
    first, second = (
        cross_val_predict(
            model,
            table[rows],
            truth,
            cv=StratifiedKFold(_FOLDS, shuffle=True, random_state=seed + repeat),
            method="predict_proba",
            params={"sample_weight": weights},
        )
        for repeat in range(2)
    )
    chances = model.fit(table[rows], truth, weights).predict_proba(table)
    codes = np.zeros(len(vectors), dtype=np.uint8)
    numbers = range(1, len(names))
    thresholds = [_threshold(first[:, n], truth == n, weights, precision) for n in numbers]
    for number, threshold in zip(numbers, thresholds, strict=True):
        codes[vectors.answerable & (chances[:, number] >= threshold)] = number
    codes[rows] = truth
    reports = []
    for number, threshold in zip(numbers, thresholds, strict=True):
        given, right = second[:, number] >= threshold, truth == number
        reports.append(
            KindReport(
                KINDS[number - 1],
                int(right.sum()),
                threshold,
                _share(right, given, weights),
                float((given & right).sum() / right.sum()),
                int(((codes == number) & vectors.answerable).sum()),
            )
        )
    method = (
        f"logistic regression on {len(rows)} seed words, a kind from the probability where "
        f"held-out seeds are right to {precision:.0%}"
    )
    return Kinds(vectors, codes, method), reports


def _share(
    right: NDArray[np.bool_], given: NDArray[np.bool_], weights: NDArray[np.float64]
) -> float:
    """How much of what is given is right, by weight; nan where nothing is given."""
    return float(weights[given & right].sum() / weights[given].sum()) if given.any() else np.nan


def _threshold(
    chances: NDArray[np.float64],
    right: NDArray[np.bool_],
    weights: NDArray[np.float64],
    precision: float,
) -> float:
    """The lowest chance from which `right` is at least `precision`; 1.01, never, if there is none.

    Args:
        chances: float (n,), in [0, 1].
        right: bool (n,).
        weights: float (n,), how much each counts.
    """
    order = np.argsort(-chances, kind="stable")
    share = np.cumsum((right * weights)[order]) / np.cumsum(weights[order])
    good = np.flatnonzero((share >= precision) & (chances[order] >= _LOWEST_THRESHOLD))
    # A single lucky word at the top proves nothing.
    return float(chances[order[good[-1]]]) if len(good) and good[-1] >= 2 else 1.01


def coverage(kinds: Kinds) -> tuple[float, float]:
    """The share of the answerable words that have a kind, and of their uses in prompts."""
    answerable, given = kinds.vectors.answerable, kinds.codes > 0
    counts = kinds.vectors.counts
    return (
        float(given[answerable].mean()),
        float(counts[answerable & given].sum() / counts[answerable].sum()),
    )


def summary(reports: Sequence[KindReport]) -> dict[str, dict[str, float | int]]:
    """Reports as the manifest keeps them."""
    names = ("precision", "recall", "threshold", "words")
    rows = {row.kind: {name: round(getattr(row, name), 3) for name in names} for row in reports}
    # A kind that no held-out seed was given has no precision.
    return {
        kind: {name: value for name, value in row.items() if not np.isnan(value)}
        for kind, row in rows.items()
    }
