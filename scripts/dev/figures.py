"""Drawings of docs/: learning curves, calibration, answer overlap, what each step changed."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")  # no window, no display
# The same figure gives the same bytes.
matplotlib.rcParams.update({"svg.hashsalt": "img2prompt", "svg.fonttype": "path", "font.size": 11})

import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from img2prompt.core.files import atomic_path  # noqa: E402
from img2prompt.core.html_report import ACCENT, INK, SECOND  # noqa: E402
from img2prompt.inference.artifacts import Assets  # noqa: E402

QUIET = "#9aa5b1"
DEFAULT, *LESSONS = Assets().presets
COLOURS = dict(zip((DEFAULT, *LESSONS), (ACCENT, "#7b5ea7", SECOND), strict=False))
MARKERS = dict(zip((DEFAULT, *LESSONS), "o^s", strict=False))  # told apart in grey too


def draw_all(
    histories: dict[str, list[dict[str, str]]], reports: dict[str, Any], folder: Path
) -> list[Path]:
    """Draw every figure into `folder`.

    Args:
        histories: preset → rows of its `history.csv`.
        reports: `evaluation` and `held-out-sources` of `evaluate.py`, `ablations` of `ablate.py`.
        folder: where the `.svg` go.

    Returns:
        The paths written.
    """
    systems = {row["name"]: row for row in reports["evaluation"]["systems"]}
    figures = {
        "learning_curves": learning_curves(histories),
        "answer_overlap": answer_overlap(systems),
        "steps": steps(reports["ablations"]["rows"]),
        "reliability": reliability(
            {
                "in-distribution (test split)": systems[DEFAULT]["reliability"],
                "held-out sources": next(
                    row["reliability"]
                    for row in reports["held-out-sources"]["systems"]
                    if row["reliability"]
                ),
            }
        ),
    }
    paths = []
    for name, figure in figures.items():
        path = folder / f"{name}.svg"
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="svg", bbox_inches="tight", metadata={"Date": None})
        plt.close(figure)
        paths.append(path)
    return paths


def learning_curves(histories: dict[str, list[dict[str, str]]]) -> Figure:
    """Training and validation loss of the two originals, and validation F1@10 of all three."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 3.6), layout="constrained")
    for axis, preset in zip(axes, LESSONS, strict=False):
        rows = histories[preset]
        epochs = [int(row["epoch"]) + 1 for row in rows]
        for key, style, label in (("loss", "-", "training"), ("val_loss", "--", "validation")):
            values = [-float(row[key]) for row in rows]
            axis.plot(epochs, values, style, color=COLOURS[preset], label=label)
        axis.set_title(f"{preset}: cosine similarity", color=INK)
        axis.set_xlabel("epoch")
        axis.legend(frameon=False)
    for preset, rows in histories.items():
        epochs = [int(row["epoch"]) + 1 for row in rows]
        values = [float(row["val_f1"]) for row in rows]
        axes[2].plot(
            epochs, values, color=COLOURS[preset], marker=MARKERS[preset], ms=4, label=preset
        )
    axes[2].set_title("F1@10 on validation pictures", color=INK)
    axes[2].set_xlabel("epoch")
    axes[2].set_ylim(bottom=0)
    axes[2].legend(frameon=False)
    for axis in axes:
        _plain(axis)
    return figure


def answer_overlap(systems: dict[str, dict[str, Any]]) -> Figure:
    """Overlap of the answers to two pictures, hubness, and what shuffling the pictures costs."""
    order = ("constant", *LESSONS, "linear", "knn", DEFAULT)
    names = [name for name in order if name in systems]
    figure, axes = plt.subplots(1, 3, figsize=(13, 3.2), layout="constrained", sharey=True)
    panels = (
        ("same_words", "words that two random answers share"),
        ("hub_share", "answers taken by ten words"),
        ("gain_share", "score lost when pictures are shuffled"),
    )
    for axis, (key, title) in zip(axes, panels, strict=True):
        values = [systems[name][key] * 100 for name in names]
        colours = [COLOURS.get(name, QUIET) for name in names]
        axis.barh(names, values, color=colours)
        for place, value in enumerate(values):
            axis.text(max(value, 0) + 1, place, f"{value:.0f} %", va="center", color=INK)
        axis.set_xlim(0, 115)
        axis.set_title(title, color=INK)
        axis.set_xticks([])
        _plain(axis)
    axes[0].invert_yaxis()
    return figure


def steps(rows: list[dict[str, Any]]) -> Figure:
    """F1@10 of each step of the ladder, in-distribution (macro) and on held-out sources."""
    constant = next(row for row in rows if row["section"] == "baseline")
    ladder = [row for row in rows if row["section"] == "ladder"]
    figure, axes = plt.subplots(1, 2, figsize=(13, 3.8), layout="constrained", sharey=True)
    titles = [row["title"] for row in ladder]
    for axis, (place, key, title, colour) in zip(
        axes,
        (
            ("home", "f1_macro", "in-distribution: F1@10, mean over sources", ACCENT),
            ("abroad", "f1", "held-out sources: F1@10", SECOND),
        ),
        strict=True,
    ):
        values = [row[place][key] for row in ladder]
        axis.barh(titles, values, color=colour)
        for number, value in enumerate(values):
            axis.text(value, number, f" {value:.3f}", va="center", color=INK)
        base = constant[place][key]
        axis.axvline(base, color=INK, ls=":", lw=1.2)
        axis.text(base, -0.75, f"constant answer {base:.3f}", ha="left", color=INK, fontsize=9)
        axis.set_xlim(0, max(values) * 1.15)
        axis.set_title(title, color=INK, pad=18)
        _plain(axis)
    axes[0].invert_yaxis()
    return figure


def reliability(curves: dict[str, dict[str, Any]]) -> Figure:
    """Shown confidence against the share of words that really stood in the prompt."""
    figure, axes = plt.subplots(1, len(curves), figsize=(10, 4.4), layout="constrained")
    for axis, (title, curve) in zip(axes, curves.items(), strict=True):
        rows = curve["bins"]
        axis.plot([0, 1], [0, 1], ls=":", color=INK, lw=1.2)
        axis.plot(
            [row["confidence"] for row in rows],
            [row["right"] for row in rows],
            marker="o",
            color=ACCENT,
        )
        for row in rows:
            axis.annotate(
                f"{row['words']:,}",
                (row["confidence"], row["right"]),
                textcoords="offset points",
                xytext=(6, -12),
                fontsize=8,
                color=INK,
            )
        axis.set_title(f"{title}\nexpected calibration error {curve['ece']:.3f}", color=INK)
        axis.set_xlabel("confidence shown")
        axis.set_ylabel("share of words in the prompt")
        axis.set_xlim(0, 1)
        axis.set_ylim(0, 1)
        _plain(axis)
    return figure


def _plain(axis: Axes) -> None:
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.tick_params(colors=INK)
