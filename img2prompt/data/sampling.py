"""How often training draws each picture, so that big sources don't drown the others."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.errors import UserError
from img2prompt.data import text
from img2prompt.data.filters import beyond_cap
from img2prompt.data.shards import ShardIndex
from img2prompt.data.splits import near_duplicate_key

# Rarer words count as if they came in so many pictures: nobody learns a word from one, and its
# weight would drown the rest.
RARE = 10


def sampling_weights(
    pictures: ShardIndex, power: float = 0.5, chosen: NDArray[np.integer] | None = None
) -> NDArray[np.float64]:
    """Probability of drawing each picture, so that big sources don't drown the others.

    A source of n pictures gets a share proportional to n**power: 0 gives every source the same
    share. Each is weighed by itself, also where figures are reported of several together
    (`splits.source_group`). Within a source pictures of one prompt share a single prompt's weight,
    the remedy against the most repeated prompts. At 1 the data stays as it lies, every picture
    alike.

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
    del which, repeats  # of 14 million pictures 224 MB
    for members in _of_each_source(pictures, chosen):
        weights[members] *= len(members) ** power / weights[members].sum()
    return weights / weights.sum()


def cap_mask(
    pictures: ShardIndex, max_per_prompt: int, chosen: NDArray[np.integer] | None = None
) -> NDArray[np.bool_]:
    """Which pictures stay if near-duplicate prompts are capped: bool (m,).

    Args:
        pictures: the table.
        max_per_prompt: pictures that prompts of one `near_duplicate_key` may have, the first of
            them; 0 for all.
        chosen: int (m,), the positions looked at; unset, all of them.

    Raises:
        UserError: a negative cap.
    """
    if max_per_prompt < 0:
        raise UserError("data.negative_cap")
    if chosen is None:
        chosen = np.arange(len(pictures))
    if max_per_prompt == 0:
        return np.ones(len(chosen), bool)
    keys = np.empty(len(chosen), np.uint64)
    for block, prompts in pictures.prompt_blocks(chosen):
        keys[block] = [near_duplicate_key(prompt) for prompt in prompts]
    return ~beyond_cap(keys, np.ones(len(chosen), bool), max_per_prompt)


def balanced_weights(
    pictures: ShardIndex,
    power: float = 0.5,
    word_power: float = 0.0,
    chosen: NDArray[np.integer] | None = None,
) -> NDArray[np.float64]:
    """Probability of drawing each picture, so that frequent words don't drown the rare.

    `sampling_weights` times the mean, over the prompt's content words, of f**-word_power, where f
    is the share of draws by `sampling_weights` that hold the word; words in fewer than `RARE`
    pictures count as if in so many. At 0.5 it is what Mikolov et al. (2013, arXiv 1310.4546) do to
    frequent words and Mahajan et al. (2018, arXiv 1805.00932) to pictures of frequent hashtags,
    but with a mean for their maximum: here nearly every prompt holds a rare word. Sources keep
    the shares that `sampling_weights` gave them; otherwise the one whose prompts are a rare name
    and little else would take what the others lose.

    Args:
        pictures: the table.
        power: as in `sampling_weights`.
        word_power: 0 gives exactly `sampling_weights`; 0.5 is usual, 1 gives rare words most.
        chosen: int (m,), the positions that are drawn from; unset, all of them. Their prompts are
            read twice, in blocks.

    Returns:
        float64 (m,), summing to 1.

    Raises:
        UserError: a `word_power` outside [0, 1].
    """
    if not 0 <= word_power <= 1:
        raise UserError("data.word_power", power=word_power)
    if chosen is None:
        chosen = np.arange(len(pictures))
    base = sampling_weights(pictures, power, chosen)
    if word_power == 0 or not len(chosen):
        return base
    factor = np.maximum(_word_shares(pictures, chosen, base), RARE / len(chosen)) ** -word_power
    weights = np.empty(len(chosen))
    for block, item, row, count in _word_blocks(pictures, chosen, {}):
        sums = np.bincount(row, weights=factor[item], minlength=count)
        sizes = np.bincount(row, minlength=count)
        # A prompt without a content word says nothing rare: the factor of a word in every prompt.
        weights[block] = base[block] * np.where(sizes > 0, sums / np.maximum(sizes, 1), 1.0)
    for members in _of_each_source(pictures, chosen):
        weights[members] *= base[members].sum() / weights[members].sum()
    return weights / weights.sum()


def _of_each_source(pictures: ShardIndex, chosen: NDArray[np.integer]) -> list[NDArray[np.integer]]:
    """Of each source that is there, where its pictures stand in `chosen`, ascending."""
    source = pictures.source[chosen]
    order = np.argsort(source, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(source[order])) + 1)


def _word_shares(
    pictures: ShardIndex, chosen: NDArray[np.integer], base: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Of every word, in the order in which it first comes, the share of draws that hold it."""
    index: dict[str, int] = {}
    share = np.zeros(0)
    for block, item, row, _ in _word_blocks(pictures, chosen, index):
        share = np.concatenate([share, np.zeros(len(index) - len(share))])
        np.add.at(share, item, base[block][row])
    return share


def _word_blocks(
    pictures: ShardIndex, chosen: NDArray[np.integer], index: dict[str, int]
) -> Iterator[tuple[slice, NDArray[np.int64], NDArray[np.int64], int]]:
    """The content words of the prompts in blocks, numbered in the order in which they first come.

    Yields:
        a slice of `chosen`, the pairs (word, row within the slice) and the number of its rows.
    """
    for block, prompts in pictures.prompt_blocks(chosen):
        words = [text.content_words(prompt) for prompt in prompts]
        yield block, *incidence(words, index), len(prompts)


def incidence(
    items: Sequence[Sequence[str]], index: dict[str, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pairs (item, row) as two int64 arrays.

    Args:
        items: of each row.
        index: item → its number; what is new is added, in the order in which it comes.
    """
    item = [index.setdefault(name, len(index)) for names in items for name in names]
    row = np.repeat(np.arange(len(items)), [len(names) for names in items])
    return np.array(item, np.int64), row
