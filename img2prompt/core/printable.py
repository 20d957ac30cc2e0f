"""Texts of others, made safe to show: file names and prompts on a terminal, in a report, in JSON.

A name or a prompt may hold what a terminal obeys (escape sequences), what turns the direction of
reading round ("gnp.exe") and what nobody sees. None of it is printed as it is.
"""

import json
import re
import unicodedata
from typing import Any, TextIO

NAME_LENGTH = 120
# Control characters and lone surrogates show as a sign, line ends as a space; format characters,
# which are unseen, go.
_SHOWN = {"Cc": "\ufffd", "Cs": "\ufffd", "Cf": "", "Zl": " ", "Zp": " "}
_ODD = re.compile(r"[^\x20-\x7e]")
LAYOUT = frozenset("\n\r\t")  # what our own lines, and tqdm's bars, are laid out with


def visible(text: str, keep: frozenset[str] = frozenset()) -> str:
    """A text without control, format and line-end characters, but for those of `keep`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        letter if letter in keep else _SHOWN.get(unicodedata.category(letter), letter)
        for letter in text
    )


def one_line(text: str) -> str:
    """A prompt or a name as one line: runs of white space are one space each.

    >>> one_line("a dog,\\n in \\x1b[31moil")
    'a dog, in \ufffd[31moil'
    """
    return visible(" ".join(text.split()))


def excerpt(text: str, most: int) -> str:
    """The beginning of a foreign text, on one line, for a sentence."""
    text = one_line(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def encodable(text: str) -> str:
    """A text with a question mark for each half of a character.

    JSON can hold half a surrogate pair, which no UTF-8 file and no answer can.
    """
    return text.encode("utf-8", "replace").decode("utf-8")


def clean_name(name: str, length: int = NAME_LENGTH) -> str:
    """A name that is safe to show: one line, no control or direction marks, no way up or out.

    Too long ones keep their beginning and their end.
    """
    shown = visible(unicodedata.normalize("NFC", name.replace("\\", "/")))
    steps = [" ".join(step.split()) for step in shown.split("/")]
    clean = "/".join(step for step in steps if step not in ("", ".", "..")) or "\ufffd"
    if len(clean) <= length:
        return clean
    tail = length // 3
    return f"{clean[: length - tail - 1]}…{clean[-tail:]}"


def json_text(value: Any) -> str:
    """JSON on one line, in which what `visible` would change is escaped: it comes back whole.

    Letters of all scripts stay as they are.
    """
    return _ODD.sub(_escaped, json.dumps(value, ensure_ascii=False))


class CleanStream:
    """A text stream that passes on what is written to it by way of `visible`.

    Line ends and tabs stay, and everything but writing is the stream's own.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the visible form; returns the length of what was asked for."""
        self._stream.write(visible(text, LAYOUT))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each of the lines."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _escaped(found: re.Match[str]) -> str:
    # Lone surrogates stay: two of them, escaped, would come back as one letter.
    seen = unicodedata.category(found[0]) not in _SHOWN or unicodedata.category(found[0]) == "Cs"
    return found[0] if seen else json.dumps(found[0])[1:-1]
