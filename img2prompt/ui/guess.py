"""What the page asks for and gets: presets loaded once, pictures answered, no page layout."""

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from img2prompt.artifacts import Assets
from img2prompt.prediction import Prediction, Predictor
from img2prompt.projection import MAP_FILE, VocabularyMap, map_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class Guess:
    """One answer and its place on the map, if there is a map."""

    prediction: Prediction
    figure: "go.Figure | None"


class Guesser:
    """The models of a folder of artifacts, each loaded when first asked for, and then kept.

    Args:
        assets: where the models are.
        preset: the one to have ready from the start; unset, the default one.

    Raises:
        UserError: unknown preset, or files that are missing, changed or don't belong together.
    """

    def __init__(self, assets: Assets, preset: str | None = None) -> None:
        self.assets = assets
        self.preset = preset or assets.default
        self.vectors = assets.embedding()
        self.map = (
            VocabularyMap.load(assets.path(MAP_FILE), self.vectors)
            if MAP_FILE in assets.files
            else None
        )
        self._predictors: dict[str, Predictor] = {}
        self._lock = threading.Lock()
        self.predictor(self.preset)

    def predictor(self, preset: str) -> Predictor:
        """The predictor of a preset, loaded and warmed once whoever asks at the same time.

        Raises:
            UserError: as `Assets.predictor`.
        """
        with self._lock:
            if preset not in self._predictors:
                predictor = self.assets.predictor(preset, self.vectors)
                # The first call traces and compiles; better now than on a visitor's picture.
                predictor.predict_vectors(np.zeros((1, predictor.side, predictor.side, 3)))
                self._predictors[preset] = predictor
            return self._predictors[preset]

    def __call__(self, path: str, preset: str, words: int) -> Guess:
        """Answer one picture.

        Raises:
            ImageError: the picture cannot be used.
            UserError: unknown preset, or a number of words out of range.
        """
        prediction = self.predictor(preset)(path, words)
        return Guess(prediction, self.figure(prediction))

    def figure(self, prediction: Prediction | None = None) -> "go.Figure | None":
        """The map with an answer on it, or the bare map; None where there is no map."""
        return map_figure(self.map, prediction) if self.map is not None else None
