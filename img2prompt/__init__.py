"""img2prompt: which words of a prompt made this picture, how sure, and where they lie.

    >>> import img2prompt
    >>> predictor = img2prompt.load()
    >>> prediction = predictor("picture.png", words=10)
    >>> prediction.prompt

The way of the data is the way of the imports: core → data → embedding → models → inference →
evaluation → training; the page, `ui`, takes anything up to evaluation.
"""

from typing import TYPE_CHECKING, Any

from img2prompt.core.errors import UserError

if TYPE_CHECKING:
    from img2prompt.inference.artifacts import load
    from img2prompt.inference.prediction import Prediction
    from img2prompt.inference.predictor import Predictor

__version__ = "0.1.0"
__all__ = ["Prediction", "Predictor", "UserError", "load"]

_HOMES = {
    "load": "inference.artifacts",
    "Prediction": "inference.prediction",
    "Predictor": "inference.predictor",
}


def __getattr__(name: str) -> Any:
    # Resolved on first use: the data scripts need no TensorFlow.
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(f"img2prompt.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'img2prompt' has no attribute {name!r}")
