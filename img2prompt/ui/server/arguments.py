"""What an event was sent, read by the kind of component that it is for, before Gradio sees it.

Gradio checks little of what a program sends to a component, and what it does find it tells by a
traceback that quotes what was sent. Here each kind says what it takes, in one sentence.
"""

import base64
import math
import re
from collections.abc import Callable, Collection
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction

from img2prompt.core.errors import UserError
from img2prompt.core.files import nests_deeper
from img2prompt.core.printable import encodable
from img2prompt.data.file_prompts.records import MAX_PROMPT
from img2prompt.inference.archives import MAX_FILES

MAX_DEPTH = 20  # lists and objects within each other; a list of files has four
SHOWN_NAME = 40  # characters of a name that somebody made up
UPLOADS = (gr.Image, gr.File)
_DATA = re.compile(r"data:[\w.+/-]*;base64,")
_NUMBER = re.compile(r"[+-]?\d{1,9}(?:[.,]\d{0,9})?", re.ASCII)


class Arguments:
    """What an event takes.

    Args:
        event: of the page.

    Attributes:
        names: what a caller knows its inputs by: a program its parameters, a person the labels.
        pictures: those among them that are pictures.
        generic: the key of the sentence where no better one is known.
    """

    def __init__(self, event: BlockFunction) -> None:
        self._blocks: list[Any] = event.inputs
        self._public = event.api_visibility == "public"
        self.generic = "mistake.call" if self._public else "mistake.page"
        labels = [str(getattr(block, "label", None) or "") for block in self._blocks]
        told = event.input_parameter_names if self._public else labels
        self.names = [name or label for name, label in zip(told, labels, strict=True)]
        named = zip(self.names, self._blocks, strict=True)
        self.pictures = [name for name, block in named if isinstance(block, gr.Image)]

    def read(self, sent: list[Any]) -> list[Any]:
        """An event's arguments, each as its component takes it.

        Raises:
            UserError: which one is wrong.
        """
        if len(sent) != len(self._blocks):
            if not self._public:
                raise UserError("mistake.page")
            raise UserError("mistake.count", names=", ".join(self.names), given=len(sent))
        return [
            self._one(block, value, name)
            for block, value, name in zip(self._blocks, sent, self.names, strict=True)
        ]

    def read_named(self, sent: dict[str, Any], required: Collection[str]) -> dict[str, Any]:
        """A tool's arguments: files are addresses there, and what has a default may be missing.

        Args:
            sent: value by name.
            required: the names of those without a default.

        Raises:
            UserError: which one is wrong.
        """
        for name in sent:
            if name not in self.names:
                shown = encodable(name)[:SHOWN_NAME]
                raise UserError("mistake.name", name=shown, names=", ".join(self.names))
        read = {}
        for block, name in zip(self._blocks, self.names, strict=True):
            value = sent.get(name)
            if isinstance(block, UPLOADS):
                if value is not None:
                    read[name] = _addresses(block, value, name)
            elif name in sent:
                read[name] = self._one(block, value, name)
        for name in required:
            if name not in read:
                raise UserError("mistake.missing", name=name)
        return read

    def of_files(self, sent: list[Any]) -> UserError:
        """The sentence for what only Gradio found wrong; it is about a file where there is one."""
        pairs = zip(self._blocks, sent, strict=False)
        files = any(isinstance(block, UPLOADS) and value for block, value in pairs)
        return UserError("mistake.upload" if files else self.generic)

    def _one(self, block: Any, value: Any, name: str) -> Any:
        """A sent value as its component can take it.

        Numbers written as text ("5", " 5.0 ") become numbers, a missing text becomes "", and half
        a character (a lone surrogate, which no UTF-8 answer can hold) a question mark.
        """
        if value is None and not self._public and isinstance(block, gr.Slider):
            return block.value  # the box was emptied, mostly to write another number
        if not nests_deeper(value, MAX_DEPTH):
            for kind, read in READERS:
                if isinstance(block, kind):
                    return read(block, value, name)
        raise UserError(self.generic)


def data_of(address: str) -> bytes | None:
    """The bytes in a data: address; None where it is no such address."""
    head = _DATA.match(address)
    try:
        return base64.b64decode(address[head.end() :], validate=True) if head is not None else None
    except ValueError:
        return None


def _addresses(block: Any, value: Any, name: str) -> Any:
    """A picture's address, or a list of files' addresses, if they look like it."""
    if isinstance(block, gr.File):
        if isinstance(value, list) and all(map(_is_address, value)):
            return value
        raise UserError("mistake.addresses", name=name)
    if _is_address(value) or (isinstance(value, str) and data_of(value)):
        return value
    raise UserError("mistake.address", name=name)


def _is_address(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("http://", "https://"))


def _number(block: Any, value: Any, name: str) -> int | float:
    """Of a slider or a number's box: whole where its step or precision says so."""
    low, high = block.minimum, block.maximum
    whole = getattr(block, "step", None) == 1 or block.precision == 0
    number = value
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        number = float(value.strip().replace(",", "."))
    right = isinstance(number, int | float) and not isinstance(number, bool)
    right = right and not (isinstance(number, float) and not math.isfinite(number))
    if not right or not low <= number <= high or (whole and number != int(number)):
        key = "mistake.whole" if whole else "mistake.number"
        raise UserError(key, name=name, low=f"{low:g}", high=f"{high:g}", usual=f"{block.value:g}")
    return int(number) if whole else number


def _choice(block: Any, value: Any, name: str) -> Any:
    """Of a row of choices."""
    choices = [choice for _, choice in block.choices]
    if not isinstance(value, str) or value not in choices:
        raise UserError("mistake.choice", name=name, choices=", ".join(choices))
    return value


def _text(block: Any, value: Any, name: str) -> str:
    """Of a text box; nothing is an empty text."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UserError("mistake.text", name=name)
    most = block.max_length or MAX_PROMPT
    if len(value) > most:
        raise UserError("mistake.long", name=name, length=len(value), most=most)
    return encodable(value)


def _files(block: Any, value: Any, name: str) -> Any:
    """Of an upload box: only the form; what a file may be is the component's own business."""
    if isinstance(value, list) and len(value) > MAX_FILES:
        raise UserError("mistake.many", name=name, most=MAX_FILES)
    if value is not None:
        try:
            block.data_model.model_validate(value)
        except (ValueError, TypeError):
            raise UserError("mistake.file", name=name) from None
    return value


# The first kind that fits counts.
READERS: tuple[tuple[type, Callable[[Any, Any, str], Any]], ...] = (
    (gr.State, lambda *_: None),  # the server keeps it itself: nothing that is sent is read
    (gr.Slider, _number),
    (gr.Number, _number),
    (gr.Radio, _choice),
    (gr.Textbox, _text),
    *((kind, _files) for kind in UPLOADS),
)
