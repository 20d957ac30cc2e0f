"""What follows a run: its F1 after every epoch, and its learning curves."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from img2prompt.core import html_report
from img2prompt.core.backend import keras
from img2prompt.evaluation.metrics import WORDS, f1_scores
from img2prompt.inference.decoder import Decoder
from img2prompt.training.inputs import Columns, Data, Index


class ValidationF1(keras.callbacks.Callback):
    """Adds `val_f1`, F1@10 on validation pictures averaged over images, to the epoch's figures.

    Args:
        columns: what the network reads.
        eval_model: the network itself, or the same weights outside of a cluster: callbacks run on
            the chief only, so they must not need the other workers.
        data: the pictures.
        decoder: how words are ranked.
    """

    def __init__(
        self, columns: Columns, eval_model: keras.Model, data: Data, decoder: Decoder
    ) -> None:
        super().__init__()
        self.columns, self.eval_model, self.decoder = columns, eval_model, decoder
        self.index = data.validation
        self.true = true_words_of(data, self.index, decoder)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        predicted = predict(self.eval_model, self.columns, self.index)
        scores = f1_scores(self.decoder.rank_vectors(predicted, WORDS)[0], self.true)
        if logs is not None:
            logs["val_f1"] = float(np.mean(scores))


def true_words_of(data: Data, index: Index, decoder: Decoder) -> Sequence[NDArray[np.int64]]:
    """The true words of the pictures at `index`, positions in the vocabulary."""
    return [decoder.vectors.prompt_positions(prompt) for prompt in data.pictures.prompts(index)]


def predict(network: keras.Model, columns: Columns, index: Index) -> NDArray[np.float32]:
    """Vectors float32 (n, steps, D) of the pictures at `index`."""
    batches = np.array_split(index, max(1, len(index) // 64))
    return np.concatenate([network.predict_on_batch(columns.inputs_of(b)) for b in batches])


def write_learning_curves(out: str | os.PathLike[str]) -> None:
    """`history.csv` of a run → `learning_curves.html`."""
    out = Path(out)
    with (out / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    blocks: list[go.Figure] = []
    for title, keys in (("Loss", ("loss", "val_loss")), ("F1@10 (validation)", ("val_f1",))):
        figure = go.Figure()
        for key, color in zip(keys, (html_report.ACCENT, html_report.SECOND), strict=False):
            if rows and key in rows[0]:
                x = [int(row["epoch"]) + 1 for row in rows]
                y = [float(row[key]) for row in rows]
                figure.add_scatter(x=x, y=y, name=key, line_color=color)
        figure.update_layout(title=title, xaxis_title="epoch", template="simple_white")
        blocks.append(figure)
    html_report.write_page(out / "learning_curves.html", f"Run {out.name}", blocks)
