"""Labelling of many files: which model a worker loads, and when."""

import os
from pathlib import Path
from typing import Any

import pytest

from img2prompt.core.executors import Inline
from img2prompt.inference import labelling


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """What `load` was asked for; the model answers nothing."""
    names: list[str | None] = []

    def load(name: str | None, revision: str | None = None) -> str | None:
        names.append(name)
        return name

    def predict_files(_: Any, paths: list[str], words: int, similar: int) -> list[tuple[str, Any]]:
        assert (words, similar) == (10, 0)
        return [(path, labelling.ImageError("page.gone")) for path in paths]

    monkeypatch.setattr(labelling, "load", load)
    monkeypatch.setattr(labelling, "predict_files", predict_files)
    return names


def test_each_run_loads_its_model_once(loaded: list[str | None]) -> None:
    # A cluster's workers outlive a run, and the folder may hold another model by then.
    for runs in (1, 2):
        list(labelling.label_files(Inline(), ["a.png"] * 100, "run"))
        assert len(loaded) == runs


def test_a_worker_elsewhere_loads_what_the_run_would(
    loaded: list[str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("gaze", "mine"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(labelling, "in_order", _elsewhere)
    monkeypatch.chdir(tmp_path)
    for name in ("gaze", "mine", "user/name", None):
        list(labelling.label_files(Inline(), ["a.png"], name))
        monkeypatch.chdir(tmp_path)
    # A shipped name means the shipped preset, whatever folders there are.
    assert loaded == ["gaze", str(tmp_path / "mine"), "user/name", None]


def _elsewhere(_executor: Inline, function: Any, tasks: Any) -> Any:
    tasks = list(tasks)
    os.chdir("/")
    return [function(*task) for task in tasks]
