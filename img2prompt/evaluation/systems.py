"""Models and baselines measured side by side on one split: what `scripts/evaluate.py` prints."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.errors import UserError
from img2prompt.core.files import atomic_path, read_json, write_json
from img2prompt.core.forms import Settings
from img2prompt.data import text
from img2prompt.data.images import Fit, to_float
from img2prompt.data.shards import Records, load_records, pixel_reader, settings_of
from img2prompt.data.splits import SPLITS, of_source_groups, source_names
from img2prompt.embedding.vectors import WordVectors
from img2prompt.evaluation import baselines, tables
from img2prompt.evaluation.metrics import WORDS, Answers, examples, measure
from img2prompt.inference.artifacts import Assets, load
from img2prompt.inference.predictor import Predictor
from img2prompt.models.features import cache_features, cache_name, float_feature_reader

BATCH = 32  # pictures predicted together
Form = tuple[int, Fit]  # side and fit of prepared pictures


@dataclass(frozen=True)
class EvaluationConfig:
    """What is measured, and how.

    Attributes:
        assets: a folder with a manifest; unset, the shipped one.
        presets: preset names or folders of runs; unset, all of `assets`.
        backbone: whose features `knn` and `linear` use, at the first preset's size; None leaves
            all baselines out.
        minilm: whether to compute the MiniLM cosine.
        split: which split is measured; the baselines learn from `train`.
        held_out: source groups that nothing measured here was trained on. If given, all of their
            pictures are measured instead of a split, and `presets` must be runs trained without.
    """

    assets: str | os.PathLike[str] | None = None
    presets: Sequence[str | os.PathLike[str]] | None = None
    backbone: str | None = "efficientnet_lite2"
    minilm: bool = True
    split: str = "test"
    held_out: Sequence[str] = ()


@dataclass(frozen=True)
class Report:
    """The figures of all systems and their Markdown."""

    figures: dict[str, Any]
    markdown: str

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `path`.md and `path`.json, each atomically."""
        path = Path(path)
        write_json(path.with_suffix(".json"), self.figures)
        with atomic_path(path.with_suffix(".md")) as temporary:
            temporary.write_text(self.markdown, encoding="utf-8")


def evaluate_systems(
    folders: Sequence[str | os.PathLike[str]],
    config: EvaluationConfig,
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Measure models, and the baselines when a backbone is given, on one split.

    Args:
        folders: prepared folders; where presets take pictures of different sizes, the same
            pictures prepared at each size.
        config: what is measured.
        progress: called with each system's name once it has answered, before it is measured.

    Raises:
        UserError: unknown preset, split or source, no pictures, a run that was trained on what is
            measured, or MiniLM is not installed.
    """
    forms = _records_by_form(folders)
    predictors = _predictors(config)
    for predictor in predictors:
        if (predictor.side, predictor.fit) not in forms:
            made = ", ".join(f"{size} pixels by {fit}" for size, fit in forms)
            raise UserError(
                "evaluation.other_form",
                preset=predictor.preset, side=predictor.side, fit=predictor.fit, made=made,
            )  # fmt: skip
    vectors, side = predictors[0].vectors, predictors[0].side
    records = forms[side, predictors[0].fit]
    measured = _measured(records, config)
    training = np.flatnonzero(
        (records.split == "train") & ~of_source_groups(records, config.held_out)
    )
    _check_prompts_apart(records, training, measured, config.split)
    sentence = None
    if config.minilm:
        from img2prompt.evaluation.minilm import MiniLM

        sentence = MiniLM()
    systems: list[Callable[[], Answers]] = []
    if config.backbone is not None:
        systems += _baselines(records, training, measured, (config.backbone, side), vectors)
    systems += [_system(one, forms[one.side, one.fit].take(measured)) for one in predictors]
    chosen = records.take(measured)
    rows, shown = [], {}
    for system in systems:
        answers = system()
        progress(answers.name)
        rows.append(measure(answers, chosen, vectors, sentence))
        shown[answers.name] = examples(answers, chosen, vectors)
    figures = {
        "stop_words_version": text.STOP_WORDS_VERSION,
        "embedding": vectors.fingerprint,
        "prepared": [dataclasses.asdict(settings_of(folder)) for folder in folders],
        "split": "abroad" if config.held_out else config.split,
        "abroad": list(config.held_out),
        "pictures": len(chosen),
        "prompts": len({text.fold(prompt) for prompt in chosen.prompt}),
        "systems": rows,
        "examples": shown,
    }
    return Report(figures, tables.page(figures))


def _records_by_form(folders: Sequence[str | os.PathLike[str]]) -> dict[Form, Records]:
    """The records of the folders of each size and fit; they must be the same pictures."""
    groups: dict[Form, list[str | os.PathLike[str]]] = {}
    for folder in folders:
        load_records(folder)  # says best what is wrong with a folder
        made = settings_of(folder)
        groups.setdefault((made.size, made.fit), []).append(folder)
    forms = {form: load_records(group) for form, group in groups.items()}
    first = next(iter(forms.values()))
    for records in forms.values():
        same = len(records) == len(first) and all(
            np.array_equal(getattr(records, column), getattr(first, column))
            for column in ("name", "prompt", "source")
        )
        if not same:
            raise UserError("evaluation.other_pictures")
    return forms


def _measured(records: Records, config: EvaluationConfig) -> NDArray[np.int64]:
    """Positions of the pictures to measure: a split, or all of the held-out sources."""
    if config.split not in SPLITS:
        raise UserError("data.no_split", split=config.split, splits=", ".join(SPLITS))
    found = np.flatnonzero(
        of_source_groups(records, config.held_out)
        if config.held_out
        else records.split == config.split
    )
    if not len(found):
        raise UserError("evaluation.empty_split", split=config.split)
    return found


def _predictors(config: EvaluationConfig) -> list[Predictor]:
    if config.held_out:
        _check_trained_without(config.presets or (), config.held_out)
    presets: Sequence[str | os.PathLike[str]] | None = config.presets
    if presets is None:
        assets = Assets(config.assets)
        vectors = assets.embedding()
        return [assets.predictor(name, vectors) for name in assets.presets]
    if not presets:
        raise UserError("evaluation.no_preset")
    if config.held_out:
        presets = [Path(run) for run in presets]  # a folder, never a shipped preset's name
    named = Assets(config.assets) if config.assets is not None else None
    found = [
        named.predictor(str(name)) if named and name in named.presets else load(name)
        for name in presets
    ]
    if len({predictor.vectors.fingerprint for predictor in found}) > 1:
        raise UserError("evaluation.presets_of_two_embeddings")
    return found


def _check_trained_without(runs: Sequence[str | os.PathLike[str]], held_out: Sequence[str]) -> None:
    """Only a run's own account can say what it was not trained on."""
    for run in runs:
        path = Path(run) / "config.json"
        left_out = read_json(path, Settings).get("without", "") if path.is_file() else ""
        if missing := sorted(set(held_out) - set(source_names(left_out))):
            raise UserError(
                "evaluation.not_trained_without",
                run=run, missing=", ".join(missing), held_out=",".join(held_out),
            )  # fmt: skip
    if not runs:
        raise UserError("evaluation.no_runs")


def _check_prompts_apart(
    records: Records, training: NDArray[np.int64], measured: NDArray[np.int64], split: str
) -> None:
    """The promise every figure rests on, checked on the data at hand."""
    if split == "train":
        return
    trained = {text.fold(prompt) for prompt in records.prompt[training]}
    shared = trained & {text.fold(prompt) for prompt in records.prompt[measured]}
    if shared:
        raise UserError("evaluation.prompts_in_both", count=len(shared))


def _baselines(
    records: Records,
    training: NDArray[np.int64],
    measured: NDArray[np.int64],
    backbone: tuple[str, int],
    vectors: WordVectors,
) -> list[Callable[[], Answers]]:
    """The baselines that read the features of a backbone, given by name and side of a picture."""
    from img2prompt.models.gaze import build_tower

    words = [vectors.prompt_positions(records.prompt[i]) for i in training]
    tower = build_tower(*backbone)
    name = cache_name(backbone[0], tower)
    cache_features(tower, name, records.places())
    features = float_feature_reader(records, name)

    def reading(answers: Callable[..., Answers]) -> Callable[[], Answers]:
        def answer() -> Answers:
            learned = baselines.TrainingSet(features(training), words)
            return answers(features(measured), learned, vectors)

        return answer

    return [
        lambda: baselines.constant_answers(words, len(measured), vectors),
        reading(baselines.knn_answers),
        reading(baselines.linear_answers),
    ]


def _system(predictor: Predictor, records: Records) -> Callable[[], Answers]:
    """A model's answers to all pictures of some records."""
    pixels = pixel_reader(records)

    def answer() -> Answers:
        blocks = [
            predictor.predict_vectors(to_float(pixels(np.arange(start, stop))))
            for start in range(0, len(records), BATCH)
            for stop in [min(start + BATCH, len(records))]
        ]
        predicted = np.concatenate(blocks)
        words, values = predictor.decoder.rank_vectors(predicted, WORDS)
        return Answers(predictor.preset, words, predicted, predictor.decoder.confidence(values))

    return answer
