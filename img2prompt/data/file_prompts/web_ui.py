"""Reads the text of AUTOMATIC1111's web UI and its forks: prompt, negative prompt, settings.

It replaces the reader of `sd-parsers` (d3x-at/sd-parsers 0.6, parsers/_automatic1111.py), which
splits the settings at commas inside quotes as well, so that an ADetailer prompt becomes settings,
fails without a sampler, and uses regular expressions that take quadratic time on hostile text.
"""

import json
import re

from img2prompt.data.file_prompts.records import FilePrompt, record

TOOL = "AUTOMATIC1111"
MAX_TEXT = 60_000  # characters in all: two prompts and the settings
MAX_SETTINGS = 20_000  # characters that are read of the settings
MAX_PAIRS = 200
_STEPS = re.compile(r"[ \t]*Steps: ?\d+\s*(?:,|\Z)", re.IGNORECASE)
_NEGATIVE = re.compile(r"^[ \t]*Negative prompt:", re.IGNORECASE | re.MULTILINE)
_KNOWN = frozenset("steps sampler cfg scale seed size model version".split()) | {
    "cfg scale",
    "model hash",
    "clip skip",
    "denoising strength",
    "schedule type",
}
_KEY = re.compile(r"[\s,]{0,9}([^\W\d_][\w /()\-]{0,59}):[ \t]*")
# Which program wrote the settings: key, how its value begins, the program's name.
_KIN = (
    ("version", "fooocus", "Fooocus"),
    ("version", "comfyui", "ComfyUI"),
    ("version", "stable-diffusion.cpp", "stable-diffusion.cpp"),
    ("version", "neo", "Forge"),
    ("version", "classic", "Forge"),
    ("version", "f", "Forge"),
    ("app", "sd.next", "SD.Next"),
    ("civitai resources", "", "Civitai"),
)


def looks_like(text: str) -> bool:
    """Whether a comment is such a text; cameras and painting programs write comments, too."""
    text = text[-MAX_TEXT:]
    lines = text.splitlines()
    return (
        bool(_NEGATIVE.search(text)) or any(map(_STEPS.match, lines)) or _inline(text) is not None
    )


def read_web_ui(text: str) -> FilePrompt:
    """The prompt of such a text; "" where it begins with the negative prompt or the settings.

    A text without settings is all prompt.

    Raises:
        ValueError: the text, or the prompt in it, is too long to be one.
    """
    if len(text) > MAX_TEXT:
        raise ValueError("too long")
    text = text.replace("\r\n", "\n").strip()
    words, settings = _cut(text)
    found = _NEGATIVE.search(words)
    if found is None and "\n" not in text:  # line ends were lost
        found = re.search(r"(?:^|\s)Negative prompt:", words)
    positive = words[: found.start()] if found else words
    negative = words[found.end() :] if found else ""
    table = read_settings(settings)
    tool = next((name for key, sign, name in _KIN if _says(table, key, sign)), TOOL)
    return record(
        tool,
        positive,
        negative,
        {
            "model": table.get("model") or table.get("unet") or table.get("model hash"),
            "sampler": table.get("sampler"),
            "seed": table.get("seed", "").partition(",")[0],
            "steps": table.get("steps", "").partition(",")[0],
        },
    )


def read_settings(line: str) -> dict[str, str]:
    """ "Steps: 20, Sampler: Euler a, Hashes: {…}" → lower-case key → value as text.

    A value in quotes or brackets ends where those end. Of two values of one key the first counts.
    """
    line, at = line[:MAX_SETTINGS], 0
    table: dict[str, str] = {}
    decoder = json.JSONDecoder()
    while len(table) < MAX_PAIRS and (found := _KEY.match(line, at)):
        at, value = found.end(), None
        if line[at : at + 1] in ('"', "{", "["):
            try:
                value, at = decoder.raw_decode(line, at)
            except (ValueError, RecursionError):
                value = None
        # Up to the next comma that a key follows: "Euler, Karras" is one value.
        end = _value_end(line, at)
        if value is None:
            value = line[at:end].strip()
        at = end
        table.setdefault(found[1].strip().lower(), value if isinstance(value, str) else "")
    return table


def _value_end(line: str, at: int) -> int:
    while (comma := line.find(",", at)) >= 0:
        if comma + 1 >= len(line) or _KEY.match(line, comma + 1):
            return comma
        at = comma + 1
    return len(line)


def _cut(text: str) -> tuple[str, str]:
    """The text before the settings, and the settings.

    These are the last line that begins with "Steps: 20" or holds three known settings.

    What extensions write below it (such as the template of a wildcard prompt) is left out.
    """
    lines = text.split("\n")
    for number in reversed(range(len(lines))):
        if _STEPS.match(lines[number]):
            return "\n".join(lines[:number]), lines[number]
    for number in reversed(range(max(len(lines) - 5, 0), len(lines))):
        table = read_settings(lines[number])
        # "a fox Negative prompt: …" and "a fox Steps: 20, …" are all of it, its line ends lost.
        whole = next(iter(table), "").endswith((" steps", "negative prompt"))
        if len(_KNOWN.intersection(table)) >= 3 and not whole:
            return "\n".join(lines[:number]), lines[number]
    at = _inline(text)
    return (text, "") if at is None else (text[:at], text[at:])


def _inline(text: str) -> int | None:
    """Where the settings begin in a text whose line ends were lost."""
    at = text.rfind("Steps: ")
    if (
        at > 0
        and text[at - 1].isspace()
        and len(_KNOWN.intersection(read_settings(text[at:]))) >= 3
    ):
        return at
    return None


def _says(table: dict[str, str], key: str, sign: str) -> bool:
    value = table.get(key, "").lower()
    if sign == "f":  # Forge counts its versions f2.0.1v1.10.1
        return bool(re.match(r"f\d", value))
    return key in table and value.startswith(sign)
