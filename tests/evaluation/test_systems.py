"""What an evaluation refuses before it measures anything."""

from collections.abc import Callable
from pathlib import Path

import pytest

from img2prompt.core.errors import UserError
from img2prompt.core.files import write_json
from img2prompt.evaluation.systems import EvaluationConfig, _check_trained_without


@pytest.mark.parametrize(
    ("without", "held_out", "seen"),
    [
        ("small-repositories", ["small-repositories"], ""),
        ("small-repositories", ["owner/one"], ""),
        ("owner/one, other/two", ["small-repositories"], ""),
        ("owner/one", ["small-repositories"], "small-repositories"),
        ("owner/one", ["owner/one", "other/two"], "other/two"),
        ("gone/elsewhere", ["met"], "met"),
        ("", ["met", "owner/one"], "met, owner/one"),
    ],
)
def test_a_run_has_to_be_trained_without_what_is_held_out(
    make_table: Callable, tmp_path: Path, without: str, held_out: list[str], seen: str
) -> None:
    """By its own account, whichever of a source's two names either of them says."""
    pictures = make_table(["a dog"] * 4, ["met", "owner/one", "other/two", "rest"])
    write_json(tmp_path / "config.json", {"without": without})
    config = EvaluationConfig(presets=[tmp_path], held_out=held_out)
    if not seen:
        _check_trained_without(pictures, config)
        return
    with pytest.raises(UserError, match=f"trained without {seen}; train it with --without"):
        _check_trained_without(pictures, config)
