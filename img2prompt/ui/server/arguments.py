"""What an event was sent, read by the kind of component that it is for, before Gradio sees it.

Gradio checks little of what a program sends to a component, and what it does find it tells by a
traceback that quotes what was sent. Here each kind says what it takes, in one sentence.
"""

import math
import re
from collections.abc import Callable
from typing import Any

import gradio as gr
from pydantic import ValidationError

from img2prompt.core.files import nests_deeper
from img2prompt.core.printable import encodable
from img2prompt.data.file_prompts.records import MAX_PROMPT
from img2prompt.inference.archives import MAX_FILES

MAX_DEPTH = 20  # lists and objects within each other; a list of files has four
_NUMBER = re.compile(r"[+-]?\d{1,9}(?:[.,]\d{0,9})?", re.ASCII)


class Misunderstood(ValueError):  # the page says it; it is no error of ours
    """A value that its component cannot take.

    Attributes:
        key: of the sentence, in the table `mistake` of the texts.
        values: what the sentence quotes, but for the value's name.
    """

    def __init__(self, key: str, **values: Any) -> None:
        super().__init__(key)
        self.key, self.values = key, values


def understood(block: Any, value: Any) -> Any:
    """A sent value as its component can take it.

    Numbers written as text ("5", " 5.0 ") become numbers, a missing text becomes "", and half
    a character (a lone surrogate, which no UTF-8 answer can hold) a question mark.

    Args:
        block: the component.
        value: what JSON can hold.

    Raises:
        Misunderstood: the value is none that the component takes, or nested too deep.
    """
    if nests_deeper(value, MAX_DEPTH):
        raise Misunderstood("call")
    for kind, read in READERS:
        if isinstance(block, kind):
            return read(block, value)
    raise Misunderstood("call")


def _number(block: Any, value: Any) -> int | float:
    """Of a slider or a number's box: whole where its step or precision says so."""
    low, high = block.minimum, block.maximum
    whole = getattr(block, "step", None) == 1 or block.precision == 0
    number = value
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        number = float(value.strip().replace(",", "."))
    right = isinstance(number, int | float) and not isinstance(number, bool)
    right = right and not (isinstance(number, float) and not math.isfinite(number))
    if not right or not low <= number <= high or (whole and number != int(number)):
        key = "whole" if whole else "number"
        raise Misunderstood(key, low=f"{low:g}", high=f"{high:g}", usual=f"{block.value:g}")
    return int(number) if whole else number


def _choice(block: Any, value: Any) -> Any:
    """Of a row of choices."""
    choices = [choice for _, choice in block.choices]
    if not isinstance(value, str) or value not in choices:
        raise Misunderstood("choice", choices=", ".join(choices))
    return value


def _text(block: Any, value: Any) -> str:
    """Of a text box; nothing is an empty text."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Misunderstood("text")
    most = block.max_length or MAX_PROMPT
    if len(value) > most:
        raise Misunderstood("long", length=len(value), most=most)
    return encodable(value)


def _files(block: Any, value: Any) -> Any:
    """Of an upload box: only the form; what a file may be is the component's own business."""
    if isinstance(value, list) and len(value) > MAX_FILES:
        raise Misunderstood("many", most=MAX_FILES)
    if value is not None:
        try:
            block.data_model.model_validate(value)
        except (ValidationError, ValueError, TypeError):
            raise Misunderstood("file") from None
    return value


def _state(block: Any, value: Any) -> Any:
    """What the server keeps itself; nothing that is sent in its place is read."""
    return None


# The first kind that fits counts.
READERS: tuple[tuple[type, Callable[[Any, Any], Any]], ...] = (
    (gr.State, _state),
    (gr.Slider, _number),
    (gr.Number, _number),
    (gr.Radio, _choice),
    (gr.Textbox, _text),
    (gr.Image, _files),
    (gr.File, _files),
)
