"""What the tests of metrics and baselines share."""

import numpy as np
import pytest

from img2prompt.embedding.vectors import WordVectors


@pytest.fixture
def axes() -> WordVectors:
    """Twelve words, each along an axis of its own: cosines are 0 or 1."""
    words = "dog cat fox owl bee ant elk emu yak hen ape cow".split()
    return WordVectors(words, np.eye(12, dtype=np.float32) * 3, np.arange(12, 0, -1))
