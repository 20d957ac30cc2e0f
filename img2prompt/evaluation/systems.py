"""Presets and baselines side by side on one split: what `scripts/evaluate.py` prints."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from img2prompt.core.errors import UserError
from img2prompt.core.files import atomic_path, read_json, write_json
from img2prompt.core.forms import Settings
from img2prompt.core.printable import one_line
from img2prompt.data import text
from img2prompt.data.images import Fit, to_float
from img2prompt.data.shards import Records, load_records, pixel_reader, settings_of
from img2prompt.data.splits import SPLITS, of_source_groups, source_names
from img2prompt.embedding.vectors import WordVectors
from img2prompt.evaluation import metrics as evaluation
from img2prompt.inference.artifacts import Assets, load
from img2prompt.inference.predictor import Predictor
from img2prompt.models.features import cache_features, float_feature_reader


@dataclass(frozen=True)
class Report:
    """The figures of all systems and their Markdown."""

    figures: dict[str, Any]
    markdown: str

    def save(self, path: str | os.PathLike) -> None:
        """Write `path`.md and `path`.json, each atomically."""
        path = Path(path)
        write_json(path.with_suffix(".json"), self.figures)
        with atomic_path(path.with_suffix(".md")) as temporary:
            temporary.write_text(self.markdown, encoding="utf-8")


def evaluate_systems(
    folders: Sequence[str | os.PathLike],
    assets: str | os.PathLike | None = None,
    presets: Sequence[str | os.PathLike] | None = None,
    backbone: str | None = "efficientnet_lite2",
    minilm: bool = True,
    split: str = "test",
    abroad: Sequence[str] = (),
    progress: Callable[[str], None] = lambda name: None,
) -> Report:
    """Measure presets, and the baselines when a backbone is given, on one split.

    Args:
        folders: prepared folders; where presets take pictures of different sizes, the same
            pictures prepared at each size.
        assets: a folder with a manifest; unset, the shipped one.
        presets: preset names or folders of runs; unset, all of `assets`.
        backbone: whose features `knn` and `linear` use, at the first preset's size; None leaves
            all baselines out.
        minilm: whether to compute the MiniLM cosine.
        split: which split is measured; the baselines learn from `train`.
        abroad: source groups that nothing measured here was trained on. If given, all of their
            pictures are measured instead of a split, and `presets` must be runs trained without.
        progress: called with each system's name once it has answered, before it is measured.

    Raises:
        UserError: unknown preset, split or source, no pictures, a run that was trained on what is
            measured, or MiniLM is not installed.
    """
    forms = _records_by_form(folders)
    if abroad:
        _check_trained_without(presets or (), abroad)
        presets = [Path(run) for run in presets or ()]  # a folder, never a shipped preset's name
    predictors = _predictors(assets, presets)
    vectors = predictors[0].vectors
    for predictor in predictors:
        if (predictor.side, predictor.fit) not in forms:
            made = ", ".join(f"{size} pixels by {fit}" for size, fit in forms)
            raise UserError(
                f"{predictor.preset} takes pictures of {predictor.side} pixels fitted by "
                f"{predictor.fit}, these were prepared at {made}; prepare them alike."
            )
    first = (predictors[0].side, predictors[0].fit)
    records = forms[first]
    measured = _measured(records, split, abroad)
    training = np.flatnonzero((records.split == "train") & ~of_source_groups(records, abroad))
    _check_prompts_apart(records, training, measured, split)
    sentence = None
    if minilm:
        from img2prompt.evaluation.minilm import MiniLM

        sentence = MiniLM()

    systems: list[Callable[[], evaluation.Answers]] = []
    if backbone is not None:
        systems += _baselines(records, training, measured, backbone, first[0], vectors)
    for predictor in predictors:
        reader = pixel_reader(forms[(predictor.side, predictor.fit)].take(measured))
        systems.append(
            lambda predictor=predictor, reader=reader: evaluation.model_answers(
                predictor.preset,
                predictor.predict_vectors,
                lambda index: to_float(reader(index)),
                len(measured),
                predictor.decoder,
            )
        )
    chosen = records.take(measured)
    rows, shown = [], {}
    for system in systems:
        answers = system()
        progress(answers.name)
        rows.append(evaluation.measure(answers, chosen, vectors, sentence))
        shown[answers.name] = evaluation.examples(answers, chosen, vectors)
    figures = evaluation.stamp(folders, vectors) | {
        "split": "abroad" if abroad else split,
        "abroad": list(abroad),
        "pictures": len(chosen),
        "prompts": len({text.fold(prompt) for prompt in chosen.prompt}),
        "systems": rows,
        "examples": shown,
    }
    return Report(figures, _markdown(figures))


def _records_by_form(
    folders: Sequence[str | os.PathLike],
) -> dict[tuple[int, Fit], Records]:
    """The records of the folders of each size and fit; they must be the same pictures."""
    groups: dict[tuple[int, Fit], list] = {}
    for folder in folders:
        load_records(folder)  # says best what is wrong with a folder
        made = settings_of(folder)
        groups.setdefault((made.size, made.fit), []).append(folder)
    forms = {form: load_records(group) for form, group in groups.items()}
    first = next(iter(forms.values()))
    for records in forms.values():
        alike = len(records) == len(first) and all(
            np.array_equal(getattr(records, column), getattr(first, column))
            for column in ("name", "prompt", "source")
        )
        if not alike:
            raise UserError(
                "The folders of different sizes hold different pictures; prepare the same data "
                "at each size."
            )
    return forms


def _measured(records: Records, split: str, abroad: Sequence[str]) -> np.ndarray:
    """Positions of the pictures to measure: a split, or all of the groups `abroad`."""
    if split not in SPLITS:
        raise UserError(f"Unknown split {split!r}; choose one of {', '.join(SPLITS)}.")
    found = np.flatnonzero(of_source_groups(records, abroad) if abroad else records.split == split)
    if not len(found):
        raise UserError(f"The split {split} has no pictures; prepare more parts.")
    return found


def _check_trained_without(runs: Sequence[str | os.PathLike], abroad: Sequence[str]) -> None:
    """Only a run's own account can say what it was not trained on."""
    for run in runs:
        path = Path(run) / "config.json"
        left_out = read_json(path, Settings).get("without", "") if path.is_file() else ""
        missing = set(abroad) - set(source_names(left_out))
        if missing:
            raise UserError(
                f"{run} is not a run trained without {', '.join(sorted(missing))}; "
                f'train it with --without "{",".join(abroad)}".'
            )
    if not runs:
        raise UserError("Name the runs that were trained without these sources (--presets).")


def _predictors(
    folder: str | os.PathLike | None, presets: Sequence[str | os.PathLike] | None
) -> list[Predictor]:
    if presets is None:
        assets = Assets(folder)
        vectors = assets.embedding()
        return [assets.predictor(name, vectors) for name in assets.presets]
    if not presets:
        raise UserError("Name at least one preset, or none at all for every shipped one.")
    assets = Assets(folder) if folder is not None else None
    in_assets = set(assets.presets) if assets else set()
    found = [assets.predictor(name) if name in in_assets else load(name) for name in presets]
    if len({predictor.vectors.fingerprint for predictor in found}) > 1:
        raise UserError("These presets belong to different embeddings; compare them one by one.")
    return found


def _baselines(
    records: Records,
    training: np.ndarray,
    measured: np.ndarray,
    backbone: str,
    side: int,
    vectors: WordVectors,
) -> list[Callable[[], evaluation.Answers]]:
    from img2prompt.models.gaze import build_tower

    words = [evaluation.true_words(records.prompt[i], vectors) for i in training]
    cache_features(build_tower(backbone, side), backbone, records.places())
    reader = float_feature_reader(records, backbone)

    def constant() -> evaluation.Answers:
        return evaluation.constant_answers(words, len(measured), vectors)

    def knn() -> evaluation.Answers:
        return evaluation.knn_answers(reader(measured), reader(training), words, vectors)

    def linear() -> evaluation.Answers:
        return evaluation.linear_answers(reader(measured), reader(training), words, vectors)

    return [constant, knn, linear]


def _check_prompts_apart(
    records: Records, training: np.ndarray, measured: np.ndarray, split: str
) -> None:
    """The promise every figure rests on, checked on the data at hand."""
    if split == "train":
        return
    trained = {text.fold(prompt) for prompt in records.prompt[training]}
    shared = trained & {text.fold(prompt) for prompt in records.prompt[measured]}
    if shared:
        raise UserError(
            f"{len(shared)} prompts lie in training and in what is measured; "
            "prepare the data again."
        )


def _markdown(figures: dict[str, Any]) -> str:
    rows = figures["systems"]
    where = (
        f"all pictures of {', '.join(figures['abroad'])}, sources that nothing here was trained on"
        if figures["abroad"]
        else f"split `{figures['split']}`"
    )
    lines = [
        "# Evaluation abroad" if figures["abroad"] else "# Evaluation",
        "",
        f"`python scripts/evaluate.py`, {where}: {figures['pictures']:,} "
        f"pictures of {figures['prompts']:,} prompts, none of which occurs in training. Ten words "
        "a picture. `constant`, `knn` and `linear` learn from the training split without auxiliary "
        "pictures. *95 %* is the bootstrap interval of F1@10, resampling prompts; *image gain* "
        "is F1@10 minus what the same answers score when the pictures are shuffled; *F1 macro* "
        "is the mean over sources; *alike* is the share of words that the answers to two random "
        "pictures have in common; *hubs* the share of all answers that the ten words said most "
        "often make up. *Soft recall* is the mean over the true words of the best cosine "
        "to a predicted word, *cosine/word* to a predicted vector (the notebook's one vector: its "
        "loss without padding; with ten vectors each word may take its nearest), *MiniLM* the "
        "cosine of the sentence embeddings of answer and prompt over a thousand pictures, "
        "*distinct* the number of different words over all answers, *ECE* the expected "
        "calibration error of the confidence shown beside each word.",
        "",
        evaluation.table(rows),
        "",
    ]
    if rows[0]["name"] == "constant":
        lines += ["Against the constant answer:", "", *evaluation.ratios(rows), ""]
    lines += ["## F1@10 by source", "", evaluation.source_table(rows, "f1"), ""]
    lines += ["## Image gain by source", "", evaluation.source_table(rows, "gain"), ""]
    named = rows[0]["names"]["pictures"]
    if named:
        lines += [
            "## Artists' names",
            "",
            f"The prompts of {named:,} pictures name an artist, or look so (“by …”, “style of …”). "
            "The share of answers that hold the last word of the name, any word of it, "
            "and all of it:",
            "",
            evaluation.names_table(rows),
            "",
        ]
    for row in rows:
        if row["reliability"] is not None:
            lines += [f"## {row['name']}: what the confidence is worth", ""]
            lines += ["| confidence | words | mean confidence | really in the prompt |"]
            lines += ["|---|---:|---:|---:|"]
            lines += [
                f"| {part['low']:.0%}–{part['high']:.0%} | {part['words']:,} | "
                f"{part['confidence']:.1%} | {part['right']:.1%} |"
                for part in row["reliability"]["bins"]
            ]
            lines.append("")
    for name, shown in figures["examples"].items():
        if name in ("constant", "knn", "linear"):
            continue
        lines += [f"## {name}: best and worst", ""]
        for kind in ("best", "worst"):
            for row in shown[kind][:5]:
                prompt = row["prompt"] if len(row["prompt"]) < 120 else row["prompt"][:119] + "…"
                prompt = one_line(prompt).replace("|", "/")
                lines.append(
                    f"- {kind}, F1 {row['f1']:.2f}, {row['source']}: “{prompt}” → "
                    f"{', '.join(row['answer'])}"
                )
        lines.append("")
    return "\n".join(lines)
