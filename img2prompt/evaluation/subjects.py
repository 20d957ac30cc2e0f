"""Whether an answer names what its picture shows: over the examples, whose subjects we know."""

from pathlib import Path

from img2prompt.evaluation.metrics import WORDS
from img2prompt.inference.examples import load_examples
from img2prompt.inference.predictor import Predictor

FIRST = 3  # words of an answer among which the subject has to be


def subjects_named(predictor: Predictor, assets: Path) -> dict[str, int] | None:
    """How many examples have a word of their subject among the first `FIRST` of ten.

    Args:
        predictor: what answers.
        assets: the folder of artifacts whose examples are asked for.

    Returns:
        `named` and `pictures`, of the examples that have subject words; None where none has.

    Raises:
        UserError: as `load_examples`, or a picture that cannot be read.
    """
    examples = [example for example in load_examples(assets) if example.subject_words]
    if not examples:
        return None
    named = 0
    for example in examples:
        first = predictor(example.path, words=WORDS).words[:FIRST]
        named += any(word.word in example.subject_words for word in first)
    return {"named": named, "pictures": len(examples)}
