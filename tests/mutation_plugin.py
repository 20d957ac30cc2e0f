"""Makes `make mutation` quick: mutmut forks a process for each mutant from one that collected.

Loaded by `-p` in pyproject.toml's `[tool.mutmut]`, and by nothing else.
"""

import gc
import json
from pathlib import Path

import pytest

STATS = Path("mutmut-stats.json")  # mutmut runs pytest in its own folder, where it keeps them
_durations: dict[str, float] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The quickest tests first: a mutant that a quick one notices waits for no slow one."""
    if not _durations and STATS.is_file():
        _durations.update(json.loads(STATS.read_text("utf-8"))["duration_by_test"])
    items.sort(key=lambda item: _durations.get(item.nodeid, 0.0))


def pytest_collection_finish() -> None:
    """Leave what was imported alone: looking for garbage there would copy it for each mutant."""
    gc.freeze()
