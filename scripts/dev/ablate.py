"""What each part of `gaze` is worth: trains and measures the rows of docs/ablations.md.

    python scripts/dev/ablate.py --data prepared/main-192 --auxiliary prepared/auxiliary-192 \\
        --smaller prepared/main prepared/auxiliary --embedding assets/embedding.npz \\
        --runs runs/ablations --out docs/ablations

Every row is a whole training run without the sources `HELD_OUT`, with the same seed, split and
schedule, measured twice: in-distribution (in OUT.json `home`) on the validation split of the other
sources, held out (`abroad`) on every picture of those it never saw. Rows on the decoder alone take
the trained model of the last row. Twelve training runs, half an hour on two CPU cores from cached
features. Rows whose runs are there are only measured, so a stopped command goes on. Writes OUT.md
and OUT.json.
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from other_decoders import Measured, OtherDecoders, predicted_by, training_pictures, true_words

from img2prompt.core.cli import run_command
from img2prompt.core.errors import UserError
from img2prompt.core.files import atomic_path, read_json, write_json
from img2prompt.core.forms import Settings
from img2prompt.data.shards import read_shards, settings_of
from img2prompt.embedding.class_words import CLASS_WORDS_FILE, ClassWords
from img2prompt.embedding.vectors import WordVectors
from img2prompt.evaluation import metrics
from img2prompt.evaluation.baselines import constant_answers
from img2prompt.inference.decoder import Decoder
from img2prompt.models.features import float_feature_reader

# Other people and other generators than the rest of the data: a stand-in for the world.
HELD_OUT = ("ai-horde-style-previews", "enragedantelope-sd35", "gptimage2")
SEEDS = (1, 2, 3)  # of the last row; all others have the first
BACKBONE = "efficientnet_lite2"  # whose features every row reads


@dataclass(frozen=True)
class Row:
    """One training run of the table.

    Attributes:
        name: of the run's folder.
        title: what the table says.
        changes: fields of `TrainConfig` that differ from the preset's defaults.
    """

    name: str
    title: str
    changes: dict[str, Any]


_BARE = {"evidence": False, "soft_targets": 0.0, "prior": 0.0}
# Cumulative, from the original's idea on a pretrained CNN to what ships.
LADDER = (
    Row("ordered", "pretrained CNN, cosine to the words in order", _BARE | {"loss": "ordered"}),
    Row("assigned", "cosine under the best assignment", _BARE | {"loss": "assigned"}),
    Row("softmax", "softmax over the vocabulary", _BARE | {"pull": 0.0}),
    Row("pull", "+ pull to the true words", _BARE),
    Row("evidence", "+ classes seen as input", _BARE | {"evidence": True}),
    Row("linear", "+ ridge regression as teacher", {"class_teacher": 0.0, "prior": 0.0}),
    Row("taught", "+ class words as teacher", {"prior": 0.0}),
    Row("whole", "+ prior in loss and decoder (ships)", {}),
)
# One change each against the last row of the ladder.
OTHERS = (Row("no-auxiliary", "without auxiliary pictures", {"auxiliary_weight": 0.0}),)


@dataclass(frozen=True)
class Plan:
    """What is trained and measured.

    Attributes:
        data, auxiliary: prepared folders.
        embedding: the `.npz`; the class words lie beside it.
        out: a folder of runs, one a row and seed.
        smaller: `data` and `auxiliary` prepared at another size, for one more row.
        epochs, images_per_epoch: of every row, shorter than what ships.
        held_out: source groups or single sources that no row is trained on.
        rows: the last row of `LADDER` must be among them.
        seeds: of the last row of `LADDER`; the first one is that of all others.
    """

    data: Path
    auxiliary: Path
    embedding: Path
    out: Path
    smaller: tuple[Path, Path] | None = None
    epochs: int = 4
    images_per_epoch: int = 24_000
    held_out: Sequence[str] = HELD_OUT
    rows: Sequence[Row] = (*LADDER, *OTHERS)
    seeds: Sequence[int] = SEEDS


def run_ablations(plan: Plan, progress: Callable[[str], None] | None = None) -> dict[str, Any]:
    """Train what is missing, measure everything.

    Args:
        plan: what.
        progress: called with each row of the tables, unless unset.

    Returns:
        JSON-ready: `settings`, and `rows` of name, title, section, `home` and `abroad` figures.
    """
    vectors, whole = WordVectors.load(plan.embedding), LADDER[-1]
    if whole not in plan.rows:
        raise UserError("scripts.ablation_row", name=whole.name)
    results: list[dict[str, Any]] = []

    def add(row: dict[str, Any]) -> None:
        results.append(row)
        if progress is not None:
            progress(table_row(row))

    places = _places(plan, plan.data, vectors)
    results.append(_constant_row(plan, places, vectors))
    for row in plan.rows:
        seeds = plan.seeds if row == whole else plan.seeds[:1]
        runs = [_trained(plan, row, seed, (plan.data, plan.auxiliary), vectors) for seed in seeds]
        section = "ladder" if row in LADDER else "change"
        add(_head(row, section, len(runs)) | _measured(runs, places, vectors))
    if plan.smaller is not None:
        row = Row("smaller", f"pictures of {settings_of(plan.smaller[0]).size} pixels", {})
        runs = [_trained(plan, row, plan.seeds[0], plan.smaller, vectors)]
        smaller = _places(plan, plan.smaller[0], vectors)
        add(_head(row, "change", 1) | _measured(runs, smaller, vectors))
    runs = [plan.out / f"{whole.name}-{seed}" for seed in plan.seeds]
    class_words = ClassWords.load(plan.embedding.with_name(CLASS_WORDS_FILE), vectors)
    others = OtherDecoders(runs, plan.held_out, class_words, places, vectors)
    for name, (title, prior, values) in others.ways().items():
        add(_head(Row(name, title, {}), "decoder", 1) | others.figures(prior, values))
    return {
        "settings": {
            "epochs": plan.epochs,
            "images_per_epoch": plan.images_per_epoch,
            "seeds": list(plan.seeds),
            "abroad": list(plan.held_out),
            "side": settings_of(plan.data).size,
            "pictures": {place: len(measured.index) for place, measured in places.items()},
        },
        "rows": results,
    }


def _head(row: Row, section: str, runs: int) -> dict[str, Any]:
    return {"name": row.name, "title": row.title, "section": section, "runs": runs}


def _trained(
    plan: Plan, row: Row, seed: int, folders: tuple[Path, Path], vectors: WordVectors
) -> Path:
    """The folder of a row's run, trained unless it is there."""
    from img2prompt.training import trainer
    from img2prompt.training.config import LATER_SETTINGS, TrainJob, default_config

    settings: dict[str, Any] = {
        "epochs": plan.epochs,
        "images_per_epoch": plan.images_per_epoch,
        "seed": seed,
        "without": ",".join(plan.held_out),
    }
    config = default_config("gaze", **(settings | row.changes))
    folder = plan.out / f"{row.name}-{seed}"
    if (folder / "model.keras").exists():
        found = LATER_SETTINGS | read_json(folder / "config.json", Settings)
        asked = dataclasses.asdict(config) | {"embedding": vectors.fingerprint}
        if {name: found.get(name) for name in asked} != asked:
            raise UserError("scripts.ablation_run", folder=folder)
        return folder
    resume = (folder / "config.json").exists()
    job = TrainJob([folders[0]], plan.embedding, folder, [folders[1]], resume=resume)
    trainer.train(config, job, verbose=0)
    return folder


def _measured(
    runs: Sequence[Path], places: dict[str, Measured], vectors: WordVectors
) -> dict[str, Any]:
    """A row's figures at each place, the mean over its runs."""
    figures: dict[str, list[dict[str, Any]]] = {place: [] for place in places}
    for run in runs:
        decoder = Decoder.load(run / "model.decoder.npz", vectors)
        for place, measured in places.items():
            predicted = predicted_by(run, measured)
            words = decoder.rank_vectors(predicted, metrics.WORDS)[0]
            figures[place].append(measured.figures(words, predicted, vectors))
    return {place: _mean(found) for place, found in figures.items()}


def _mean(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean over runs; with several, `deviation` holds their standard deviations."""
    mean: dict[str, Any] = {
        name: None if value is None else float(np.mean([row[name] for row in found]))
        for name, value in found[0].items()
    }
    if len(found) > 1:
        mean["deviation"] = {
            name: float(np.std([row[name] for row in found], ddof=1))
            for name in ("f1", "f1_macro", "gain")
        }
    return mean


def _places(plan: Plan, folder: Path, vectors: WordVectors) -> dict[str, Measured]:
    pictures = read_shards(folder)
    left_out = pictures.of_sources(plan.held_out)
    features = float_feature_reader(pictures, BACKBONE)
    chosen = {
        "home": np.flatnonzero(pictures.in_split("validation") & ~left_out),
        "abroad": np.flatnonzero(left_out),
    }
    return {
        place: Measured(pictures, index, true_words(pictures, index, vectors), features)
        for place, index in chosen.items()
    }


def _constant_row(plan: Plan, places: dict[str, Measured], vectors: WordVectors) -> dict[str, Any]:
    pictures = places["home"].pictures
    training = true_words(pictures, training_pictures(pictures, plan.held_out), vectors)
    row = Row("constant", "the ten most frequent words of the training prompts", {})
    return _head(row, "baseline", 1) | {
        place: measured.figures(
            constant_answers(training, len(measured.index), vectors).words, None, vectors
        )
        for place, measured in places.items()
    }


# --- the page -----------------------------------------------------------------------------------


def markdown(report: dict[str, Any]) -> str:
    """The report as the page `docs/ablations.md`."""
    settings = report["settings"]
    lines = [
        "# Ablations",
        "",
        "`python scripts/dev/ablate.py`: every row is a training run of "
        f"{settings['epochs']} epochs of {settings['images_per_epoch']:,} draws, seed "
        f"{settings['seeds'][0]}, without the sources {', '.join(settings['abroad'])}. "
        "*In-distribution* is "
        f"the validation split of the other sources ({settings['pictures']['home']:,} pictures, "
        "whose prompts no training picture has), *held-out* all "
        f"{settings['pictures']['abroad']:,} pictures of the sources left out. "
        "F1 is F1@10 by picture, *macro* its mean over sources, *gain* F1@10 less that "
        "with the pictures shuffled, *overlap* the share of words that two random answers have in "
        "common, *cosine* that of each true word to the nearest predicted vector. Rows with a ± "
        f"are the mean of {len(settings['seeds'])} seeds and the standard deviation between them.",
        "",
    ]
    for section, title in SECTIONS.items():
        rows = [row for row in report["rows"] if row["section"] == section]
        if rows:
            lines += [f"## {title}", "", *HEADER, *map(table_row, rows), ""]
    return "\n".join(lines)


SECTIONS = {
    "baseline": "The constant answer",
    "ladder": "Step by step, each row on top of the one before",
    "change": "One change to the last step",
    "decoder": "The last step, decoded otherwise (no training)",
}
COLUMNS = ("f1", "f1_macro", "gain", "alike", "cosine_per_word", "distinct_words")
HEADER = (
    "| | in-distribution F1 | macro | gain | overlap | cosine | distinct "
    "| held-out F1 | macro | gain | distinct |",
    "|---|" + "---:|" * 10,
)


def table_row(row: dict[str, Any]) -> str:
    """One line of the Markdown tables."""
    held_out = ("f1", "f1_macro", "gain", "distinct_words")
    cells = [_cell(row["home"], name) for name in COLUMNS]
    cells += [_cell(row["abroad"], name) for name in held_out]
    return f"| {row['title']} | {' | '.join(cells)} |"


def _cell(figures: dict[str, Any], name: str) -> str:
    value = figures[name]
    if value is None:
        return "–"
    if name == "distinct_words":
        return f"{round(value):,}"
    spread = figures.get("deviation", {}).get(name)
    return f"{value:.3f}" + (f" ± {spread:.3f}" if spread is not None else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="prepared folder")
    parser.add_argument("--auxiliary", type=Path, required=True, help="only teach words")
    parser.add_argument("--smaller", type=Path, nargs=2, help="both, prepared at another size")
    parser.add_argument("--embedding", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True, help="folder of the training runs")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--out", type=Path, required=True, help="writes OUT.md and OUT.json")
    args = parser.parse_args()

    smaller = (args.smaller[0], args.smaller[1]) if args.smaller else None
    folders = (args.data, args.auxiliary, args.embedding, args.runs)
    plan = Plan(*folders, smaller=smaller, epochs=args.epochs)
    report = run_ablations(plan, lambda line: print(line, file=sys.stderr, flush=True))
    write_json(args.out.with_suffix(".json"), report)
    with atomic_path(args.out.with_suffix(".md")) as temporary:
        temporary.write_text(markdown(report), encoding="utf-8")
    print(markdown(report))


if __name__ == "__main__":
    sys.exit(run_command(main))
