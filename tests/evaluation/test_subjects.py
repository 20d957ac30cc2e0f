"""Whether the first words of an answer name what an example shows."""

from pathlib import Path

import pytest
from paths import ASSETS
from PIL import Image

from img2prompt.core.errors import UserError
from img2prompt.core.files import write_json
from img2prompt.evaluation.subjects import subjects_named
from img2prompt.inference.examples import load_examples
from img2prompt.inference.predictor import Predictor


def example(folder: Path, name: str, colour: str, **told: object) -> dict[str, object]:
    Image.new("RGB", (40, 40), colour).save(folder / "examples" / name)
    return {"file": name, "title": name, "alt": name} | told


def test_one_of_the_first_three_words_has_to_name_the_subject(
    predictor: Predictor, tmp_path: Path
) -> None:
    (tmp_path / "examples").mkdir()
    entries = [example(tmp_path, name, name.split(".")[0]) for name in ("red.png", "blue.png")]
    path = tmp_path / "examples" / "examples.json"
    write_json(path, entries)
    assert subjects_named(predictor, tmp_path) is None  # nobody says what they show
    answers = [[word.word for word in predictor(one.path).words] for one in load_examples(tmp_path)]
    told = [{"subject_words": ["nothing", answers[0][2]]}, {"subject_words": [answers[1][3]]}]
    write_json(path, [entry | more for entry, more in zip(entries, told, strict=True)])
    assert subjects_named(predictor, tmp_path) == {"named": 1, "pictures": 2}
    write_json(path, [*entries, entries[0] | told[0]])
    assert subjects_named(predictor, tmp_path) == {"named": 1, "pictures": 1}
    write_json(path, [entries[0] | {"file": "gone.png"}])
    with pytest.raises(UserError, match=r"gone\.png"):
        subjects_named(predictor, tmp_path)


def test_every_shipped_example_says_what_it_shows() -> None:
    examples = load_examples(ASSETS)
    assert len(examples) >= 12 and all(one.subject_words for one in examples)
