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
from img2prompt.data.shards import (
    TEXTS_BLOCK,
    ShardIndex,
    pixel_reader,
    read_shards,
    settings_of,
    shard_files,
)
from img2prompt.data.splits import source_names
from img2prompt.embedding.vectors import WordVectors
from img2prompt.evaluation import baselines, tables
from img2prompt.evaluation.metrics import WORDS, Answers, examples, measure
from img2prompt.evaluation.subjects import subjects_named
from img2prompt.inference.artifacts import ASSETS, Assets, load
from img2prompt.inference.predictor import Predictor
from img2prompt.models.features import cache_features, float_feature_reader

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
        held_out: source groups or single sources that nothing measured here was trained on. If
            given, all of their
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
    forms = _pictures_by_form(folders)
    if config.held_out:
        _check_trained_without(next(iter(forms.values())), config)
    predictors = _predictors(config)
    for predictor in predictors:
        if (predictor.side, predictor.fit) not in forms:
            made = [UserError("evaluation.form", side=side, fit=fit) for side, fit in forms]
            raise UserError(
                "evaluation.other_form",
                preset=predictor.preset, side=predictor.side, fit=predictor.fit, made=made,
            )  # fmt: skip
    vectors, side = predictors[0].vectors, predictors[0].side
    pictures = forms[side, predictors[0].fit]
    measured = _measured(pictures, config)
    training = np.flatnonzero(pictures.in_split("train") & ~pictures.of_sources(config.held_out))
    _check_prompts_apart(pictures, training, measured, config.split)
    sentence = None
    if config.minilm:
        from img2prompt.evaluation.minilm import MiniLM

        sentence = MiniLM()
    lexicon = next((one.decoder.lexicon for one in predictors if one.decoder.lexicon), None)
    generic = lexicon.generic if lexicon is not None else None
    systems: list[Callable[[], Answers]] = []
    if config.backbone is not None:
        systems += _baselines(pictures, training, measured, (config.backbone, side), vectors)
    folder = Path(config.assets) if config.assets is not None else ASSETS
    systems += [_system(one, forms[one.side, one.fit], measured, folder) for one in predictors]
    texts = pictures.texts(measured)
    rows, shown = [], {}
    for system in systems:
        answers = system()
        progress(answers.name)
        rows.append(measure(answers, texts, vectors, sentence, generic))
        shown[answers.name] = examples(answers, texts, vectors)
    figures = {
        "stop_words_version": text.STOP_WORDS_VERSION,
        "embedding": vectors.fingerprint,
        "prepared": [dataclasses.asdict(settings_of(folder)) for folder in folders],
        "split": "abroad" if config.held_out else config.split,
        "abroad": list(config.held_out),
        "pictures": len(measured),
        "prompts": len(np.unique(pictures.prompt_hash[measured])),
        "systems": rows,
        "examples": shown,
    }
    return Report(figures, tables.page(figures))


def _pictures_by_form(folders: Sequence[str | os.PathLike[str]]) -> dict[Form, ShardIndex]:
    """The table of the folders of each size and fit; they must be the same pictures."""
    groups: dict[Form, list[str | os.PathLike[str]]] = {}
    for folder in folders:
        shard_files(folder)  # says best what is wrong with a folder
        made = settings_of(folder)
        groups.setdefault((made.size, made.fit), []).append(folder)
    forms = {form: read_shards(group) for form, group in groups.items()}
    first, *others = forms.values()
    if not all(_are_same(first, other) for other in others):
        raise UserError("evaluation.other_pictures")
    return forms


def _are_same(one: ShardIndex, other: ShardIndex) -> bool:
    """Whether two tables hold the same pictures in the same order, as their texts tell."""
    blocks = np.array_split(np.arange(len(one)), max(1, len(one) // TEXTS_BLOCK))
    return len(one) == len(other) and all(one.texts(b) == other.texts(b) for b in blocks)


def _measured(pictures: ShardIndex, config: EvaluationConfig) -> NDArray[np.int64]:
    """Positions of the pictures to measure: a split, or all of the held-out sources."""
    of_split = pictures.in_split(config.split)
    held_out = pictures.of_sources(config.held_out)
    found = np.flatnonzero(held_out if config.held_out else of_split)
    if not len(found):
        raise UserError("evaluation.empty_split", split=config.split)
    return found


def _predictors(config: EvaluationConfig) -> list[Predictor]:
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


def _check_trained_without(pictures: ShardIndex, config: EvaluationConfig) -> None:
    """Only a run's own account can say what it was not trained on."""
    for run in config.presets or ():
        path = Path(run) / "config.json"
        left_out = read_json(path, Settings).get("without", "") if path.is_file() else ""
        unseen = pictures.of_sources(source_names(left_out), strict=False)
        seen = [name for name in config.held_out if (pictures.of_sources([name]) & ~unseen).any()]
        if seen:
            raise UserError(
                "evaluation.not_trained_without",
                run=run, missing=", ".join(sorted(seen)), held_out=",".join(config.held_out),
            )  # fmt: skip
    if not config.presets:
        raise UserError("evaluation.no_runs")


def _check_prompts_apart(
    pictures: ShardIndex, training: NDArray[np.int64], measured: NDArray[np.int64], split: str
) -> None:
    """The promise every figure rests on, checked on the data at hand."""
    if split == "train":
        return
    shared = np.intersect1d(pictures.prompt_hash[training], pictures.prompt_hash[measured])
    if len(shared):
        raise UserError("evaluation.prompts_in_both", count=len(shared))


def _baselines(
    pictures: ShardIndex,
    training: NDArray[np.int64],
    measured: NDArray[np.int64],
    backbone: tuple[str, int],
    vectors: WordVectors,
) -> list[Callable[[], Answers]]:
    """The baselines that read the features of a backbone, given by name and side of a picture."""
    from img2prompt.models.gaze import build_tower

    words = [
        vectors.prompt_positions(prompt)
        for _, prompts in pictures.prompt_blocks(training)
        for prompt in prompts
    ]
    cache_features(build_tower(*backbone), backbone[0], pictures.places())
    features = float_feature_reader(pictures, backbone[0])

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


def _system(
    predictor: Predictor, pictures: ShardIndex, measured: NDArray[np.int64], assets: Path
) -> Callable[[], Answers]:
    """A model's answers to the pictures measured, and to the examples of some assets."""
    pixels = pixel_reader(pictures)

    def answer() -> Answers:
        blocks = [
            predictor.predict_vectors(to_float(pixels(measured[start : start + BATCH])))
            for start in range(0, len(measured), BATCH)
        ]
        predicted = np.concatenate(blocks)
        words, values = predictor.decoder.rank_vectors(predicted, WORDS)
        confidences = predictor.decoder.confidence(values)
        subjects = subjects_named(predictor, assets)
        return Answers(predictor.preset, words, predicted, confidences, subjects)

    return answer
