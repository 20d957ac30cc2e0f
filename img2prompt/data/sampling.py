"""How often training draws each picture, so that big sources don't drown the others."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.errors import UserError
from img2prompt.data import text
from img2prompt.data.filters import beyond_cap
from img2prompt.data.shards import Records
from img2prompt.data.splits import Grouped, near_duplicate_key

# Rarer words count as if they came in so many pictures: nobody learns a word from one, and its
# weight would drown the rest.
RARE = 10


class Sampled(Grouped, Protocol):
    """A table of pictures that knows which of them share a prompt."""

    @property
    def prompt_hash(self) -> NDArray[np.uint64]:
        """uint64 (n,), the same for prompts that fold alike."""

    def __len__(self) -> int: ...


def sampling_weights(
    pictures: Sampled, power: float = 0.5, chosen: NDArray[np.integer] | None = None
) -> NDArray[np.float64]:
    """Probability of drawing each picture, so that big sources don't drown the others.

    A source group of n pictures gets a share proportional to n**power: 0 gives every group the
    same share. Within a group pictures of one prompt share a single prompt's weight, the remedy
    against the most repeated prompts. At 1 the data stays as it lies, every picture alike.

    Args:
        pictures: the table.
        power: in [0, 1].
        chosen: int (m,), the positions that are drawn from; unset, all of them.

    Returns:
        float64 (m,), summing to 1.
    """
    if chosen is None:
        chosen = np.arange(len(pictures))
    if power == 1:
        return np.full(len(chosen), 1 / len(chosen))
    _, which, repeats = np.unique(
        pictures.prompt_hash[chosen], return_inverse=True, return_counts=True
    )
    weights: NDArray[np.float64] = (1 / repeats)[which]
    group = pictures.group[chosen]
    for number in np.unique(group):
        members = group == number
        weights[members] *= np.count_nonzero(members) ** power / weights[members].sum()
    return weights / weights.sum()


def cap_mask(records: Records, max_per_prompt: int) -> NDArray[np.bool_]:
    """Which records stay if near-duplicate prompts are capped: bool (n,).

    Args:
        records: those of the first rows stay.
        max_per_prompt: pictures that prompts of one `near_duplicate_key` may have; 0 for all.

    Raises:
        UserError: a negative cap.
    """
    if max_per_prompt < 0:
        raise UserError("data.negative_cap")
    if max_per_prompt == 0:
        return np.ones(len(records), bool)
    keys = np.array([near_duplicate_key(prompt) for prompt in records.prompt], np.uint64)
    return ~beyond_cap(keys, np.ones(len(records), bool), max_per_prompt)


def balanced_weights(
    records: Records, power: float = 0.5, word_power: float = 0.0
) -> NDArray[np.float64]:
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
        raise UserError("data.word_power", power=word_power)
    base = sampling_weights(records, power)
    if word_power == 0 or not len(records):
        return base
    _, item, row = incidence([text.content_words(prompt) for prompt in records.prompt])
    share = np.bincount(item, weights=base[row])
    share = np.maximum(share, RARE / len(records))
    sums = np.bincount(row, weights=share[item] ** -word_power, minlength=len(records))
    sizes = np.bincount(row, minlength=len(records))
    # A prompt without a content word says nothing rare: the factor of a word in every prompt.
    weights = base * np.where(sizes > 0, sums / np.maximum(sizes, 1), 1.0)
    for group in np.unique(records.group):
        members = records.group == group
        weights[members] *= base[members].sum() / weights[members].sum()
    return weights / weights.sum()


def incidence(
    items: Sequence[Sequence[str]],
) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """Distinct items, and the pairs (item, row) as two int64 arrays."""
    index: dict[str, int] = {}
    item = [index.setdefault(name, len(index)) for names in items for name in names]
    row = np.repeat(np.arange(len(items)), [len(names) for names in items])
    return list(index), np.array(item, np.int64), row
