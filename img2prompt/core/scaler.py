"""`Scaler`: features on one scale, for whatever compares them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CLIP = 6.0  # standard deviations: pooled statistics have long tails


@dataclass(frozen=True)
class Scaler:
    """Standardises features and clips them at `CLIP` standard deviations.

    Attributes:
        centre: float32 (F,), the means.
        spread: float32 (F,), the standard deviations, never 0.
    """

    centre: NDArray[np.float32]
    spread: NDArray[np.float32]

    @classmethod
    def fit(cls, features: NDArray[np.float32]) -> "Scaler":
        """The scaler of features (n, F)."""
        return cls(features.mean(axis=0), features.std(axis=0) + 1e-4)

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features (n, F) → float32 (n, F) in [−`CLIP`, `CLIP`]."""
        scaled = np.clip((features - self.centre) / self.spread, -CLIP, CLIP)
        return np.asarray(scaled, np.float32)
