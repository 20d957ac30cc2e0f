"""`FilePrompt`, what every reader returns, and the cleaning and limits of its fields.

Files are untrusted: each text has no control characters, can be encoded as UTF-8, and is bounded.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from img2prompt.core.printable import encodable
from img2prompt.data import text

MAX_PROMPT = 20_000  # characters; a longer text is no prompt
MAX_NAME = 200  # of a tool, a model, a sampler
# Joins the prompts of areas, characters and samplers, as NovelAI does.
BESIDE = " | "
_UNUSABLE = re.compile("[\0-\x08\x0b-\x1f\x7f\ufeff\ufffe\uffff]")


@dataclass(frozen=True)
class FilePrompt:
    """A prompt and its settings, as a file holds them.

    Attributes:
        prompt: at most `MAX_PROMPT` characters. Several prompts of one picture (areas, characters,
            a second sampler's own) are joined by " | ".
        negative: the negative prompt; "" where there is none.
        tool: the program's name, or the name of the field that holds a plain description.
        model: the checkpoint's name or hash, if known.
        sampler: its name, if known.
        seed, steps: if known.
    """

    prompt: str
    negative: str
    tool: str
    model: str | None = None
    sampler: str | None = None
    seed: int | None = None
    steps: int | None = None


def record(
    tool: str, prompt: Any, negative: Any = "", settings: dict[str, Any] | None = None
) -> FilePrompt:
    """A `FilePrompt` of raw fields; invalid ones become "" or None.

    Args:
        tool: the program's name.
        prompt, negative: any value; only a text counts.
        settings: `model`, `sampler`, `seed` and `steps`, whichever the file has.

    Raises:
        ValueError: the prompt is too long to be one.
    """
    settings = settings or {}
    words = clean(prompt)
    if len(words) > MAX_PROMPT:
        raise ValueError("too long for a prompt")
    return FilePrompt(
        words,
        clean(negative)[:MAX_PROMPT],
        clean(tool)[:MAX_NAME],
        model=name(settings.get("model")),
        sampler=name(settings.get("sampler")),
        seed=integer(settings.get("seed")),
        steps=integer(settings.get("steps")),
    )


def clean(value: Any) -> str:
    """A text without control characters and lone surrogates; "" for anything but a text."""
    if not isinstance(value, str):
        return ""
    value = value.replace("\r\n", "\n").replace("\r", "\n")
    return _UNUSABLE.sub("", encodable(value)).strip()


def name(value: Any) -> str | None:
    """The name of a model or sampler, on one line; None for none."""
    words = " ".join(clean(value).split())[:MAX_NAME]
    return words if words and words.casefold() not in ("none", "null", "unknown") else None


def integer(value: Any) -> int | None:
    """A seed or a number of steps, written as a number or as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, float) and not value.is_integer():
        return None
    if isinstance(value, int | float) and not 0 <= value < 2**66:
        return None  # the digits of a huge number take long to write
    digits = value.strip() if isinstance(value, str) else str(int(value))
    return int(digits) if re.fullmatch(r"\d{1,20}", digits, re.ASCII) else None


def distinct(texts: Iterable[str]) -> list[str]:
    """Texts in order, without empty ones and without those that only repeat an earlier one.

    Case and white space are ignored: base and refiner often have the same prompt.
    """
    seen: dict[str, str] = {}
    for written in texts:
        seen.setdefault(text.fold(written), written.strip())
    return [written for folded, written in seen.items() if folded]


def beside(texts: Iterable[str]) -> str:
    """Several prompts of one picture as one text."""
    return BESIDE.join(distinct(texts))
