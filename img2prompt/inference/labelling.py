"""Words for many picture files, a batch a task: in this process, in several, or on a cluster."""

import functools
import os
import threading
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from img2prompt.core.executors import in_order
from img2prompt.data.images import ImageError
from img2prompt.inference.artifacts import ASSETS, MANIFEST, Assets, load
from img2prompt.inference.prediction import Prediction
from img2prompt.inference.predictor import BATCH, Predictor, predict_files

Labelled = tuple[str, Prediction | ImageError]
_LOADING = threading.Lock()


def label_files(
    executor: Executor,
    files: Sequence[str | os.PathLike[str]],
    preset: str | None = None,
    revision: str | None = None,
    words: int = 10,
    similar: int = 0,
) -> Iterator[Labelled]:
    """Predict files with an executor of `core.executors`; each worker loads the model once.

    Args:
        executor: where to predict; all its workers see the files and the model under these paths.
        files: pictures.
        preset, revision: as for `load`.
        words: how many a picture, 1–50.
        similar: how many similar pictures of the gallery with each, 0–50.

    Yields:
        Each file's name and its `Prediction`, or why it cannot be used, in order.

    Raises:
        UserError: as `load`; `words` or `similar` out of range, or there is no gallery.
    """
    names = [os.fspath(file) for file in files]
    # The batches are those of `predict_many`, so that the answers are the same to the last bit.
    batches = (names[start : start + BATCH] for start in range(0, len(names), BATCH))
    run = Run(uuid.uuid4().hex, preset, revision, str(Path.cwd()), words, similar)
    tasks = ((run, batch) for batch in batches)
    for rows in in_order(executor, _label, tasks):
        yield from rows


@dataclass(frozen=True)
class Run:
    """What all batches of a call of `label_files` share.

    Attributes:
        key: no two runs have the same.
        preset, revision, words, similar: as for `label_files`.
        folder: the one that relative names are of; a worker's own may be another.
    """

    key: str
    preset: str | None
    revision: str | None
    folder: str
    words: int
    similar: int


def _label(run: Run, names: list[str]) -> list[Labelled]:
    """Predict one batch."""
    here = run.folder == str(Path.cwd())
    with _LOADING:  # a cluster's worker has threads
        predictor = _load(run)
    paths = names if here else [str(Path(run.folder, name)) for name in names]
    rows = [row for _, row in predict_files(predictor, paths, run.words, run.similar)]
    return [
        (name, row if here or isinstance(row, Prediction) else _renamed(row, path, name))
        for name, path, row in zip(names, paths, rows, strict=True)
    ]


@functools.lru_cache(maxsize=1)
def _load(run: Run) -> Predictor:
    """The model of a run. Of the next one it may be another in the same folder, or a newer commit.

    A cluster's workers outlive a run.
    """
    preset = run.preset
    # As for `load`, a shipped name means the shipped preset, whatever folders there are.
    shipped = (ASSETS / MANIFEST).is_file() and preset in Assets().presets
    if preset is not None and not shipped and Path(run.folder, preset).is_dir():
        preset = str(Path(run.folder, preset))
    return load(preset, revision=run.revision)


def _renamed(error: ImageError, path: str, name: str) -> ImageError:
    """The error as it is told where the file has the name that was given."""
    values = {
        key: Path(name) if str(value) == path else value for key, value in error.values.items()
    }
    return type(error)(error.key, **values)
