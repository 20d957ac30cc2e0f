"""What each part of `gaze` is worth: one row a change, the same seed, split and schedule.

Every row is a whole training run without the sources `ABROAD`, measured twice: *home* on the
validation split of the other sources, *abroad* on every picture of those it never saw. Rows on the
decoder alone take the trained model of the last row. `scripts/dev/ablate.py` runs them; a row that
has been trained is not trained again.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from img2prompt.core.errors import UserError
from img2prompt.core.files import read_json
from img2prompt.core.forms import Run, Settings
from img2prompt.data.images import to_float
from img2prompt.data.shards import Records, load_records, pixel_reader, settings_of
from img2prompt.data.splits import of_source_groups
from img2prompt.embedding.class_words import CLASS_WORDS_FILE, ClassWords
from img2prompt.embedding.vectors import WordVectors, top_k
from img2prompt.evaluation import metrics as evaluation
from img2prompt.evaluation.baselines import constant_answers, nearest_pictures
from img2prompt.inference.decoder import Decoder, nearest_cosines, prior_of_background
from img2prompt.models.features import float_feature_reader

# Other people and other generators than the rest of the data: a stand-in for the world.
ABROAD = ("ai-horde-style-previews", "enragedantelope-sd35", "gptimage2")
SEEDS = (1, 2, 3)  # of the last row; all others have the first
BACKBONE = "efficientnet_lite2"  # whose features every row reads
BLOCK = 64  # pictures decoded at a time
HUB_NEIGHBOURS = 10  # of CSLS, as in its paper
KNN_SHARE = 0.2  # how much a unanimous vote of the neighbours adds to a word's cosine


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
class Measured:
    """The pictures a row is measured on, and the features of its backbone."""

    records: Records
    index: np.ndarray
    true: list[np.ndarray]
    features: Callable[[np.ndarray], np.ndarray]

    def figures(
        self, words: np.ndarray, vectors: np.ndarray | None, embedding: WordVectors
    ) -> dict:
        """F1@10 by picture and by source, distinct words, and cosine per word if vectors come."""
        scores = evaluation.f1_scores(words, self.true)
        chosen = self.records.take(self.index)
        by_source = evaluation.by_source(chosen, scores)
        answers = evaluation.Answers("", words, np.zeros(0) if vectors is None else vectors)
        return {
            "f1": float(scores.mean()),
            "f1_macro": float(np.mean(list(by_source.values()))),
            "gain": float((scores - evaluation.shuffled_f1(words, self.true)).mean()),
            "distinct_words": len(np.unique(words)),
            "alike": evaluation.answer_overlap(words),
            "cosine_per_word": None
            if vectors is None
            else float(evaluation.cosine_per_word(answers, self.true, embedding).mean()),
        }


def run_ablations(
    data: Path,
    auxiliary: Path,
    embedding: Path,
    out: Path,
    *,
    smaller: tuple[Path, Path] | None = None,
    epochs: int = 4,
    images_per_epoch: int = 24_000,
    abroad: Sequence[str] = ABROAD,
    rows: Sequence[Row] = (*LADDER, *OTHERS),
    seeds: Sequence[int] = SEEDS,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train what is missing, measure everything.

    Args:
        data, auxiliary: prepared folders.
        embedding: the `.npz`; the class words lie beside it.
        out: a folder of runs, one a row and seed.
        smaller: `data` and `auxiliary` prepared at another size, for one more row.
        epochs, images_per_epoch: of every row, shorter than what ships.
        abroad: source groups that no row is trained on.
        rows: the last row of `LADDER` must be among them.
        seeds: of the last row of `LADDER`.
        progress: called with a line before each row.

    Returns:
        JSON-ready: `settings`, and `rows` of name, title, section, `home` and `abroad` figures.
    """
    from img2prompt.training.config import LATER_SETTINGS, TrainConfig, TrainJob, default_config
    from img2prompt.training.trainer import train

    vectors = WordVectors.load(embedding)
    whole = LADDER[-1]
    if whole not in rows:
        raise UserError(f"The row {whole.name} must be among the rows.")
    results: list[dict[str, Any]] = []

    def run(row: Row, seed: int, folders: tuple[Path, Path]) -> Path:
        config: TrainConfig = default_config(
            "gaze",
            **{"epochs": epochs, "images_per_epoch": images_per_epoch, "seed": seed}
            | {"without": ",".join(abroad)}
            | row.changes,
        )
        folder = out / f"{row.name}-{seed}"
        if (folder / "model.keras").exists():
            told = LATER_SETTINGS | read_json(folder / "config.json", Settings)
            asked = dataclasses.asdict(config) | {"embedding": vectors.fingerprint}
            if {name: told.get(name) for name in asked} != asked:
                raise UserError(f"{folder} was trained otherwise; give another folder of runs.")
        else:
            job = TrainJob([folders[0]], embedding, folder, auxiliary=[folders[1]],
                           resume=(folder / "config.json").exists())  # fmt: skip
            train(config, job, verbose=0)
        return folder

    def measure(row: Row, section: str, folders: list[Path], places: dict[str, Measured]) -> None:
        figures: dict[str, list[dict]] = {"home": [], "abroad": []}
        for folder in folders:
            predict = _head(folder)
            decoder = Decoder.load(folder / "model.decoder.npz", vectors)
            for place, measured in places.items():
                predicted = predict(measured)
                words = decoder.rank_vectors(predicted, evaluation.WORDS)[0]
                figures[place].append(measured.figures(words, predicted, vectors))
        results.append(
            {"name": row.name, "title": row.title, "section": section, "runs": len(folders)}
            | {place: _mean(found) for place, found in figures.items()}
        )
        progress(table_row(results[-1]))

    places = _places(data, vectors, abroad)
    results.append(_constant_row(data, vectors, abroad, places))
    for row in rows:
        section = "ladder" if row in LADDER else "change"
        folders = [
            run(row, seed, (data, auxiliary)) for seed in (seeds if row == whole else seeds[:1])
        ]
        measure(row, section, folders, places)
    if smaller is not None:
        side = settings_of(smaller[0]).size
        row = Row("smaller", f"pictures of {side} pixels", {})
        measure(row, "change", [run(row, seeds[0], smaller)], _places(smaller[0], vectors, abroad))
    trained = [out / f"{whole.name}-{seed}" for seed in seeds]
    results += _decoder_rows(trained, data, embedding, vectors, abroad, places, progress)
    return {
        "settings": {
            "epochs": epochs,
            "images_per_epoch": images_per_epoch,
            "seeds": list(seeds),
            "abroad": list(abroad),
            "side": settings_of(data).size,
            "pictures": {place: len(measured.index) for place, measured in places.items()},
        },
        "rows": results,
    }


def markdown(report: dict[str, Any]) -> str:
    """The report as the page `docs/ablations.md`."""
    settings = report["settings"]
    lines = [
        "# Ablations",
        "",
        "`python scripts/dev/ablate.py`: every row is a training run of "
        f"{settings['epochs']} epochs of {settings['images_per_epoch']:,} draws, seed "
        f"{settings['seeds'][0]}, without the sources {', '.join(settings['abroad'])}. *Home* is "
        f"the validation split of the other sources ({settings['pictures']['home']:,} pictures, "
        "whose prompts no training picture has), *abroad* all "
        f"{settings['pictures']['abroad']:,} pictures of the sources left out. "
        "F1 is F1@10 by picture, *macro* its mean over sources, *gain* F1@10 less that "
        "with the pictures shuffled, *alike* the share of words that two random answers have in "
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
    "| | home F1 | macro | gain | alike | cosine | distinct "
    "| abroad F1 | macro | gain | distinct |",
    "|---|" + "---:|" * 10,
)


def table_row(row: dict[str, Any]) -> str:
    """One line of the Markdown tables."""
    abroad = ("f1", "f1_macro", "gain", "distinct_words")
    cells = [_cell(row["home"], name) for name in COLUMNS]
    cells += [_cell(row["abroad"], name) for name in abroad]
    return f"| {row['title']} | {' | '.join(cells)} |"


def _cell(figures: dict[str, Any], name: str) -> str:
    value = figures[name]
    if value is None:
        return "–"
    if name == "distinct_words":
        return f"{round(value):,}"
    spread = figures.get("deviation", {}).get(name)
    return f"{value:.3f}" + (f" ± {spread:.3f}" if spread is not None else "")


def _mean(found: list[dict]) -> dict[str, Any]:
    """Mean over runs; with several, `deviation` holds their standard deviations."""
    names = found[0].keys()
    mean: dict[str, Any] = {
        name: None if found[0][name] is None else float(np.mean([row[name] for row in found]))
        for name in names
    }
    if len(found) > 1:
        mean["deviation"] = {
            name: float(np.std([row[name] for row in found], ddof=1))
            for name in ("f1", "f1_macro", "gain")
        }
    return mean


def _places(folder: Path, vectors: WordVectors, abroad: Sequence[str]) -> dict[str, Measured]:
    records = load_records(folder)
    left_out = of_source_groups(records, abroad)
    features = float_feature_reader(records, BACKBONE)
    chosen = {
        "home": np.flatnonzero((records.split == "validation") & ~left_out),
        "abroad": np.flatnonzero(left_out),
    }
    return {
        place: Measured(
            records,
            index,
            [evaluation.true_words(records.prompt[i], vectors) for i in index],
            features,
        )
        for place, index in chosen.items()
    }


def _head(folder: Path) -> Callable[[Measured], np.ndarray]:
    """A run's head on cached features: the measured pictures → vectors (n, steps, D)."""
    from img2prompt.inference.predictor import load_model

    head = load_model(folder / "model.keras").get_layer("head")

    def predict(measured: Measured) -> np.ndarray:
        blocks = np.array_split(measured.index, max(1, len(measured.index) // 256))
        return np.concatenate([head.predict_on_batch(measured.features(b)) for b in blocks])

    return predict


def _constant_row(
    folder: Path, vectors: WordVectors, abroad: Sequence[str], places: dict[str, Measured]
) -> dict[str, Any]:
    records = load_records(folder)
    chosen = (records.split == "train") & ~of_source_groups(records, abroad)
    training = [evaluation.true_words(prompt, vectors) for prompt in records.prompt[chosen]]
    figures = {}
    for place, measured in places.items():
        answers = constant_answers(training, len(measured.index), vectors)
        figures[place] = measured.figures(answers.words, None, vectors)
    title = "the ten most frequent words of the training prompts"
    return {"name": "constant", "title": title, "section": "baseline", "runs": 1} | figures


def _decoder_rows(
    runs: list[Path],
    data: Path,
    embedding: Path,
    vectors: WordVectors,
    abroad: Sequence[str],
    places: dict[str, Measured],
    progress: Callable[[str], None],
) -> list[dict[str, Any]]:
    """The last row's model read in other ways; each a map from vectors to word values (n, V)."""
    background = ClassWords.load(embedding.with_name(CLASS_WORDS_FILE), vectors).background
    plain = Decoder.load(runs[0] / "model.decoder.npz", vectors)
    predicted = {
        place: [_head(run)(measured) for run in runs] for place, measured in places.items()
    }
    mirrored = {place: _mirrored(runs[0], measured, vectors) for place, measured in places.items()}
    votes = _neighbour_votes(data, vectors, abroad, places)
    sample = predicted["home"][0][:: max(1, len(predicted["home"][0]) // 1000)]
    hubs = _hubness(sample, vectors)
    common = vectors.unit[vectors.answerable].mean(axis=0)
    centred = WordVectors(vectors.words, vectors.unit - common, vectors.counts)

    def cosines(place: str, rows: slice, number: int = 0) -> np.ndarray:
        return nearest_cosines(predicted[place][number][rows], vectors)

    def csls(place: str, rows: slice) -> np.ndarray:
        said = predicted[place][0][rows]
        scores = vectors.similarities(said.reshape(-1, said.shape[-1]))  # (n · steps, V)
        own = top_k(scores, HUB_NEIGHBOURS)[1].mean(axis=1, keepdims=True)
        best = (2 * scores - own).reshape(len(said), -1, len(vectors)).max(axis=1)
        return best - hubs

    def without_common(place: str, rows: slice) -> np.ndarray:
        said = predicted[place][0][rows]
        said = said / np.linalg.norm(said, axis=-1, keepdims=True) - common
        return nearest_cosines(said, centred)

    def mean_of_mirrored(place: str, rows: slice) -> np.ndarray:
        return (cosines(place, rows) + nearest_cosines(mirrored[place][rows], vectors)) / 2

    def ensemble(place: str, rows: slice) -> np.ndarray:
        return np.mean([cosines(place, rows, number) for number in range(len(runs))], axis=0)

    nothing = np.zeros(len(vectors), np.float32)
    double = prior_of_background(background, 2 * _prior_of(runs[0]))
    ways: list[tuple[str, str, np.ndarray, Callable[[str, slice], np.ndarray]]] = [
        ("no-prior", "no prior", nothing, cosines),
        ("double-prior", "twice the prior", double, cosines),
        ("csls", "hubness correction (CSLS)", 2 * plain.prior, csls),
        ("centred", "common component removed", plain.prior, without_common),
        ("mirrored", "mean of picture and mirror image", plain.prior, mean_of_mirrored),
        (
            "knn",
            "+ votes of the 20 nearest training pictures",
            plain.prior,
            lambda p, r: cosines(p, r) + KNN_SHARE * votes[p](r),
        ),
        ("ensemble", f"mean of {len(runs)} seeds", plain.prior, ensemble),
    ]
    rows = []
    for name, title, prior, values in ways:
        decoder = dataclasses.replace(plain, prior=prior)
        figures = {}
        for place, measured in places.items():
            blocks = [
                decoder.rank(values(place, slice(start, start + BLOCK)), evaluation.WORDS)[0]
                for start in range(0, len(measured.index), BLOCK)
            ]
            figures[place] = measured.figures(np.concatenate(blocks), None, vectors)
        rows.append({"name": name, "title": title, "section": "decoder", "runs": 1} | figures)
        progress(table_row(rows[-1]))
    return rows


def _prior_of(run: Path) -> float:
    return read_json(run / "config.json", Run).get("prior", 0.0)


def _hubness(predicted: np.ndarray, vectors: WordVectors) -> np.ndarray:
    """Mean cosine of each word to its nearest predicted vectors, (V,): Conneau et al. 2018,
    arXiv 1710.04087, after Dinu et al. 2015."""
    flat = predicted.reshape(-1, predicted.shape[-1])
    flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    means = [
        top_k(vectors.unit[start : start + 1000] @ flat.T, HUB_NEIGHBOURS)[1].mean(axis=1)
        for start in range(0, len(vectors), 1000)
    ]
    return np.concatenate(means)


def _mirrored(run: Path, measured: Measured, vectors: WordVectors) -> np.ndarray:
    """Vectors of the mirror images (n, steps, D)."""
    from img2prompt.inference.predictor import Predictor, load_model

    predictor = Predictor(load_model(run / "model.keras"), vectors, "mirrored")
    pixels = pixel_reader(measured.records)
    blocks = np.array_split(measured.index, max(1, len(measured.index) // BLOCK))
    return np.concatenate(
        [predictor.predict_vectors(to_float(pixels(rows)[:, :, ::-1])) for rows in blocks]
    )


def _neighbour_votes(
    folder: Path, vectors: WordVectors, abroad: Sequence[str], places: dict[str, Measured]
) -> dict[str, Callable[[slice], np.ndarray]]:
    """For each place, rows → share of the neighbours' votes for each word, (n, V)."""
    records = load_records(folder)
    training = np.flatnonzero((records.split == "train") & ~of_source_groups(records, abroad))
    words = [evaluation.true_words(prompt, vectors) for prompt in records.prompt[training]]
    features = places["home"].features(training)
    found: dict[str, Callable[[slice], np.ndarray]] = {}
    for place, measured in places.items():
        near, weight = nearest_pictures(measured.features(measured.index), features)

        def votes(rows: slice, near: np.ndarray = near, weight: np.ndarray = weight) -> np.ndarray:
            table = np.zeros((len(near[rows]), len(vectors)), np.float32)
            for row, positions, weights in zip(table, near[rows], weight[rows], strict=True):
                for position, value in zip(positions, weights, strict=True):
                    row[words[position]] += max(value, 0.0) / max(weights.sum(), 1e-6)
            return table

        found[place] = votes
    return found
