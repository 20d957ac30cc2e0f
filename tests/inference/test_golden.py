"""The shipped models on the shipped pictures: words and scores stay what they were.

`golden.json` beside it is written by `PYTHONPATH=tests python tests/inference/test_golden.py`,
after models or examples were changed.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT

from img2prompt.inference.artifacts import Assets

GOLDEN = Path(__file__).with_name("golden.json")
EXAMPLES = sorted((ROOT / "assets" / "examples").glob("*.jpg"))


def answers(preset: str) -> dict[str, list]:
    """File name → [[word, score], …] of one shipped preset."""
    predictor = Assets().predictor(preset)
    return {
        path.name: [[word.word, round(word.score, 4)] for word in predictor(path).words]
        for path in EXAMPLES
    }


@pytest.mark.parametrize("preset", ["gaze", "original", "notebook"])
def test_shipped_answers(preset: str) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))[preset]
    now = answers(preset)
    assert set(now) == set(golden)
    for name, rows in golden.items():
        scores = dict(map(tuple, now[name]))
        # Other processors add in another order: the last places may move and near ties swap.
        assert len(set(scores) & {word for word, _ in rows}) >= 8, name
        same = [(scores[word], score) for word, score in rows if word in scores]
        np.testing.assert_allclose(*zip(*same, strict=True), atol=5e-3)


def test_the_default_tells_pictures_apart_and_the_notebook_does_not() -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))

    def distinct(preset: str) -> int:
        return len({word for rows in golden[preset].values() for word, _ in rows})

    assert len(EXAMPLES) >= 8
    assert distinct("gaze") > 60 > distinct("notebook")


if __name__ == "__main__":
    table = {preset: answers(preset) for preset in ("gaze", "original", "notebook")}
    GOLDEN.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
