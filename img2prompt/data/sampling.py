"""How often training draws each picture, so that big sources don't drown the others."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from img2prompt.data.splits import Grouped


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
