"""How unevenly prepared pictures speak: words, artists, prompts, sources, and what evens them out.

The remedies are a cap on near-duplicate prompts (`cap_mask`) and training weights from what is
frequent (`balanced_weights`); `imbalance_report` shows the data under each of them.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from img2prompt.core.errors import UserError
from img2prompt.core.printable import one_line
from img2prompt.data import text
from img2prompt.data.filters import beyond_cap
from img2prompt.data.sampling import sampling_weights
from img2prompt.data.shards import Records
from img2prompt.data.splits import near_duplicate_key, source_group

KINDS = ("words", "artists", "prompts", "sources")
TOP = 30  # items listed of each kind
TOPS = (1, 10, 100)  # the share of the most frequent so many
NAME_WORDS = 4  # a longer name after "by" is a sentence
# Rarer words count as if they came in so many pictures: nobody learns a word from one, and its
# weight would drown the rest.
RARE = 10

# A full stop ends a name, but not after an initial: "by E. H. Shepard".
_ARTIST = re.compile(
    r"\b(?:by|style of|works? of)\s+((?:\b[^\W\d_]\.|[^,.;:()\[\]|])+)", re.IGNORECASE
)
_PHRASE = re.compile(r"(?:\b[^\W\d_]\.|[^,.;:()\[\]|])+")
_AND = re.compile(r"\s+and\s+|\s*&\s*", re.IGNORECASE)
_NO_NAMES = frozenset(
    "artist artists unknown various night day hand itself himself herself".split()
)


def cap_mask(records: Records, max_per_prompt: int) -> np.ndarray:
    """Which records stay if near-duplicate prompts are capped: bool (n,).

    Args:
        records: those of the first rows stay.
        max_per_prompt: pictures that prompts of one `near_duplicate_key` may have; 0 for all.

    Raises:
        UserError: a negative cap.
    """
    if max_per_prompt < 0:
        raise UserError("A cap per prompt must be 0 (off) or more.")
    if max_per_prompt == 0:
        return np.ones(len(records), bool)
    keys = np.array([near_duplicate_key(prompt) for prompt in records.prompt], np.uint64)
    return ~beyond_cap(keys, np.ones(len(records), bool), max_per_prompt)


def balanced_weights(records: Records, power: float = 0.5, word_power: float = 0.0) -> np.ndarray:
    """Probability of drawing each picture, so that frequent words don't drown the rare.

    `sampling_weights` times the mean, over the prompt's content words, of f**-word_power, where f
    is the share of draws by `sampling_weights` that hold the word; words in fewer than `RARE`
    pictures count as if in so many. At 0.5 it is what Mikolov et al. (2013, arXiv 1310.4546) do to
    frequent words and Mahajan et al. (2018, arXiv 1805.00932) to pictures of frequent hashtags,
    but with a mean for their maximum: here nearly every prompt holds a rare word. Source groups
    keep the shares that `sampling_weights` gave them; otherwise the one whose prompts are a rare
    name and little else would take what the others lose.

    Args:
        records: the pictures.
        power: as in `sampling_weights`.
        word_power: 0 gives exactly `sampling_weights`; 0.5 is usual, 1 gives rare words most.

    Returns:
        float64 (n,), summing to 1.

    Raises:
        UserError: a `word_power` outside [0, 1].
    """
    if not 0 <= word_power <= 1:
        raise UserError(f"The power of words must lie in 0…1, not {word_power}.")
    base = sampling_weights(records, power)
    if word_power == 0 or not len(records):
        return base
    _, item, row = _incidence([text.content_words(prompt) for prompt in records.prompt])
    share = np.bincount(item, weights=base[row])
    share = np.maximum(share, RARE / len(records))
    sums = np.bincount(row, weights=share[item] ** -word_power, minlength=len(records))
    sizes = np.bincount(row, minlength=len(records))
    # A prompt without a content word says nothing rare: the factor of a word in every prompt.
    weights = base * np.where(sizes > 0, sums / np.maximum(sizes, 1), 1.0)
    groups = np.array([source_group(source) for source in records.source], dtype=object)
    for group in set(groups):
        members = groups == group
        weights[members] *= base[members].sum() / weights[members].sum()
    return weights / weights.sum()


def artists_of(prompts: Sequence[str]) -> list[list[str]]:
    """The artists each prompt names, lower case, each once.

    What follows "by", "style of" or "work of" up to a comma, of at most four words ("art by Claude
    Monet and Degas" names two); and, because lists go on ("by Greg Rutkowski, Alphonse Mucha"),
    every phrase between commas that is a name of two words or more which other prompts of these put
    after "by" at least twice. There is no list of artists behind it: "by candlelight" counts too.
    """
    named = [
        [
            name
            for found in _ARTIST.findall(prompt)
            for name in map(_name, _AND.split(found))
            if name
        ]
        for prompt in prompts
    ]
    times = Counter(name for names in named for name in set(names))
    known = {name for name, count in times.items() if count > 1 and " " in name}
    result = []
    for prompt, names in zip(prompts, named, strict=True):
        listed = [
            name for phrase in _PHRASE.findall(prompt) for name in _names(phrase) if name in known
        ]
        result.append(list(dict.fromkeys([*names, *listed])))
    return result


def concentration(counts: np.ndarray) -> dict[str, float]:
    """How unevenly a total is spread over items.

    Args:
        counts: (m,) of the items, 0 or more; items of 0 are not there.

    Returns:
        `items`; `top_1`, `top_10`, `top_100`, shares of the total; `gini`, 0 for all alike to 1;
        `effective`, exp of the entropy in nats: so many items all alike are as uneven (Hill 1973).
    """
    counts = np.sort(counts[counts > 0])[::-1].astype(np.float64)
    n = len(counts)
    if not n:
        return {"items": 0, **{f"top_{top}": 0.0 for top in TOPS}, "gini": 0.0, "effective": 0.0}
    shares = counts / counts.sum()
    rank = np.arange(n, 0, -1)  # the smallest has 1
    return {
        "items": n,
        **{f"top_{top}": float(shares[:top].sum()) for top in TOPS},
        "gini": float(2 * (rank * shares).sum() / n - (n + 1) / n),
        "effective": float(np.exp(-(shares * np.log(shares)).sum())),
    }


def imbalance_report(
    records: Records, max_per_prompt: int = 1, power: float = 0.5, word_power: float = 0.5
) -> dict[str, Any]:
    """The data as it lies, capped, and as training draws it under each remedy.

    Args:
        records: prepared pictures.
        max_per_prompt: the cap to compare.
        power: of `sampling_weights`.
        word_power: of `balanced_weights`.

    Returns:
        JSON-ready: `views`, each with `name`, `pictures` (how many can come), `effective` (1 / the
        sum of squared chances) and a `concentration` for each of `KINDS`; and `top`, for each
        kind, the items most frequent in the first view with their share of each view's pictures.

    Raises:
        UserError: no records, or as `cap_mask` and `balanced_weights`.
    """
    if not len(records):
        raise UserError("There are no pictures to report on.")
    if max_per_prompt < 1:
        raise UserError("The cap to compare must be 1 or more.")
    kept = cap_mask(records, max_per_prompt)
    capped = records.take(kept)

    def spread(weights: np.ndarray) -> np.ndarray:
        whole = np.zeros(len(records))
        whole[kept] = weights
        return whole

    cap = f"at most {max_per_prompt} a prompt"
    views = {
        "as it lies": np.full(len(records), 1 / len(records)),
        cap: spread(np.full(len(capped), 1 / len(capped))),
        "source weights": sampling_weights(records, power),
        f"{cap}, source weights": spread(sampling_weights(capped, power)),
        f"{cap}, source and word weights": spread(balanced_weights(capped, power, word_power)),
    }
    named = {
        "words": [text.content_words(prompt) for prompt in records.prompt],
        "artists": artists_of(records.prompt),
        "prompts": [[str(near_duplicate_key(prompt))] for prompt in records.prompt],
        "sources": [[source_group(source)] for source in records.source],
    }
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "pictures": int((weights > 0).sum()),
            "effective": float(1 / (weights**2).sum()),
        }
        for name, weights in views.items()
    ]
    top = {}
    for kind, items in named.items():
        names, item, row = _incidence(items)
        shares = [
            np.bincount(item, weights=weights[row], minlength=len(names))
            for weights in views.values()
        ]
        for told, share in zip(rows, shares, strict=True):
            told[kind] = concentration(share)
        best = np.argsort(-shares[0], kind="stable")[:TOP]
        label: Callable[[int], str] = names.__getitem__
        if kind == "prompts":
            first = dict(zip(item[::-1].tolist(), row[::-1].tolist(), strict=True))
            label = lambda place, first=first: text.fold(records.prompt[first[place]])  # noqa: E731
        top[kind] = [
            {"item": label(place), "shares": [float(share[place]) for share in shares]}
            for place in best.tolist()
        ]
    return {
        "pictures": len(records),
        "max_per_prompt": max_per_prompt,
        "source_power": power,
        "word_power": word_power,
        "with_artist": sum(map(bool, named["artists"])) / len(records),
        "views": rows,
        "top": top,
    }


def markdown(report: dict[str, Any], top: int = 10) -> str:
    """The report's tables: a row a view for each kind, then the most frequent items."""
    lines = [
        f"{report['pictures']:,} pictures; {report['with_artist']:.0%} of their prompts name an "
        f"artist. Source weights of power {report['source_power']:g}, word weights of power "
        f"{report['word_power']:g}.",
        "",
        "| view | pictures | effective pictures |",
        "|---|---:|---:|",
    ]
    lines += [
        f"| {view['name']} | {view['pictures']:,} | {view['effective']:,.0f} |"
        for view in report["views"]
    ]
    for kind in KINDS:
        lines += [
            "",
            f"## {kind.capitalize()}",
            "",
            f"| view | {kind} | effective | top 1 | top 10 | top 100 | Gini |",
            "|---|---:|---:|---:|---:|---:|---:|",
        ]
        for view in report["views"]:
            told = view[kind]
            lines.append(
                f"| {view['name']} | {told['items']:,} | {told['effective']:,.0f} | "
                + " | ".join(f"{told[f'top_{n}']:.1%}" for n in TOPS)
                + f" | {told['gini']:.2f} |"
            )
        heads = " | ".join(view["name"] for view in report["views"])
        lines += [
            "",
            f"| share of pictures | {heads} |",
            "|---" + "|---:" * len(report["views"]) + "|",
        ]
        for row in report["top"][kind][:top]:
            shares = " | ".join(f"{share:.2%}" for share in row["shares"])
            lines.append(f"| {one_line(row['item'])[:60].replace('|', '/')} | {shares} |")
    return "\n".join(lines) + "\n"


def _incidence(items: Sequence[Sequence[str]]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Distinct items, and the pairs (item, row) as two int64 arrays."""
    index: dict[str, int] = {}
    item = [index.setdefault(name, len(index)) for names in items for name in names]
    row = np.repeat(np.arange(len(items)), [len(names) for names in items])
    return list(index), np.array(item, np.int64), row


def _names(phrase: str) -> list[str]:
    return [name for name in map(_name, _AND.split(phrase)) if name]


def _name(phrase: str) -> str:
    """A name as words in lower case; "" where a phrase is none."""
    words = text.words(phrase)
    while words and words[0] in ("the", "attributed", "to", "by", "an", "a"):
        words = words[1:]
    if not 0 < len(words) <= NAME_WORDS or not any(map(text.is_content_word, words)):
        return ""
    return "" if _NO_NAMES.intersection(words) else " ".join(words)
