"""Reads the prompt and settings that a generator wrote into its picture file.

`texts` extracts the text fields, `comfyui`, `web_ui` and `tools` interpret them, and this module
tries them in order. docs/prompts-in-files.md lists the tools and formats. Files are untrusted:
every text is bounded before it is read, and damaged metadata never stops a prediction.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from PIL import Image

from img2prompt.data.file_prompts.comfyui import read_graph
from img2prompt.data.file_prompts.hidden_texts import hidden_text
from img2prompt.data.file_prompts.records import FilePrompt, clean, record
from img2prompt.data.file_prompts.texts import read_texts
from img2prompt.data.file_prompts.tools import (
    TEXT_READERS,
    Fields,
    read_novelai,
    read_old_invokeai,
    read_table,
)
from img2prompt.data.file_prompts.web_ui import looks_like, read_web_ui
from img2prompt.data.images import EncodedSource, open_encoded

State = Literal["found", "empty", "unreadable", "none"]

# The fields that tools write, in the order in which they are tried, by their key in PNG. JSON in a
# comment and EXIF's "prompt: {…}" are mapped to the same keys.
KEYS = (
    "sui_image_params",
    "generation_data",
    "parameters-json",
    "parameters",
    "invokeai_metadata",
    "sd-metadata",
    "Dream",
    "Comment",
    "prompt",
    "extraMetadata",
)
# Keys that only generators write, so a file with one carries a prompt even if no reader understands
# it. Every painting program writes a "Comment".
SIGNS = (
    *(key for key in KEYS if key != "Comment"),
    *("workflow", "invokeai_graph", "invokeai_workflow", "fooocus_scheme", "smproj"),
)
_BESIDE = ("Description", "Source", "Software", "workflow")
# Free-text fields, in which tools write JSON or the web UI's text.
_COMMENTS = (
    "exif.UserComment",
    "xmp.UserComment",
    "comment",
    "exif.Make",
    "exif.Model",
    "exif.ImageDescription",
    "exif.XPComment",
    "xmp.parameters",
    "xmp.prompt",
    "xmp.description",
    "Description",
    "iptc.caption",
    "UserComment",
)
_LABELLED = re.compile(r"(prompt|workflow|parameters|extra_?metadata): ?(?=\{)", re.IGNORECASE)
_OBJECT = re.compile(r'\s{0,99}\{\s{0,99}["}]')  # JSON; "{red|blue} fox" are words
_PROMPT_KEY = re.compile(r'"\w{0,40}prompt\w{0,40}"', re.IGNORECASE)
# A plain description is a prompt only where another field names a generator.
_DESCRIPTIONS = (
    "exif.ImageDescription",
    "xmp.description",
    "Description",
    "iptc.caption",
    "exif.XPTitle",
    "exif.XPComment",
    "exif.UserComment",
    "xmp.title",
)
_MAKERS = (
    "exif.Software exif.Make exif.Model exif.Artist exif.XPKeywords xmp.CreatorTool xmp.creator "
    "xmp.Software xmp.DigitalSourceType Software Source Author Title iptc.program"
).split()
_MAKER = re.compile(
    r"diffusion|stability\.?ai|novelai|midjourney|comfyui|invokeai|automatic1111|fooocus|vqgan|"
    r"dream ?studio|nightcafe|craiyon|dall.?e|openai|\bimagen\b|firefly|leonardo\.?ai|ideogram|"
    r"image creator|wombo|pixai|tensor\.?art|seaart|recraft|"
    r"\bflux|sdxl|playground ?ai|\bai.?generated|trainedAlgorithmicMedia|text-to-image",
    re.IGNORECASE,
)
# What programs write about themselves into any file.
_GREETING = re.compile(
    r"screenshot\b|(?:created|made|edited|generated|saved|processed) (?:with|by|in|using)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Reading:
    """The result of reading a file's prompt.

    Attributes:
        state: "found"; "empty" where the file has settings and an empty prompt; "unreadable" where
            it carries a prompt in a format that cannot be read; "none".
        told: the prompt and the settings; None unless the state is "found" or "empty".
    """

    state: State
    told: FilePrompt | None = None


NOTHING = Reading("none")


def read_prompt(source: EncodedSource) -> FilePrompt | None:
    """The prompt that a picture file carries, never empty; None where none can be read.

    `read_making` also tells why there is none.

    Args:
        source: a path or encoded bytes.

    Raises:
        ImageError: the picture cannot be used, as `images.open_encoded`.
    """
    reading = read_making(source)
    return reading.told if reading.state == "found" else None


def read_making(source: EncodedSource) -> Reading:
    """The prompt and settings that a picture file carries, or why none can be read.

    Args:
        source: a path or encoded bytes.

    Raises:
        ImageError: the picture cannot be used, as `images.open_encoded`. Damaged metadata does not
            raise.
    """
    image = open_encoded(source)
    texts = read_texts(image)
    reading = _read(texts)
    if reading.state == "found":
        return reading
    hidden = _read_hidden(image)
    order: tuple[State, ...] = ("found", "empty", "unreadable", "none")
    return min(reading, hidden, key=lambda each: order.index(each.state))


def _read_hidden(image: Image.Image) -> Reading:
    try:
        text = hidden_text(image)
    except ValueError:
        return Reading("unreadable")
    except Exception:  # damaged pixels, which decoding reports
        return NOTHING
    if text is None:
        return NOTHING
    reading = _read({"comment": text})
    return Reading("unreadable") if reading.state == "none" else reading


def _read(texts: dict[str, str]) -> Reading:
    """Try every reader in order; the first prompt that is found counts."""
    fields = _fields(texts)
    empty: FilePrompt | None = None
    unknown: FilePrompt | None = None
    failed = False
    for read in _readings(fields, texts):
        try:
            told = read()
        except Exception:  # readers raise many types on hostile text, RecursionError among them
            failed = True
            continue
        if told is None:
            continue
        if told.prompt == "unknown":  # a ComfyUI node writes it where it finds no text itself
            unknown = unknown or told
        elif told.prompt:
            return Reading("found", told)
        else:
            empty = empty or told
    if unknown or empty:
        return Reading("found", unknown) if unknown else Reading("empty", empty)
    signs = any(key in fields for key in SIGNS)
    if failed or (signs and not _only_enlarged(fields)):
        return Reading("unreadable")
    return NOTHING


def _readings(fields: Fields, texts: Fields) -> Iterator[Callable[[], FilePrompt | None]]:
    for key in KEYS:
        if key in fields:
            yield partial(_READERS[key], fields)
    yield partial(_plain_prompt, texts)
    for name in _DESCRIPTIONS:
        if name in texts:
            for read in TEXT_READERS:
                yield partial(read, texts[name])
    yield partial(_tables, texts)
    yield partial(_description, texts)


def _fields(texts: Fields) -> dict[str, str]:
    """The texts by PNG's keys, from whichever field of the file."""
    named = (*KEYS, *SIGNS, *_BESIDE)
    fields = {key: texts[key] for key in named if key in texts}
    if _OBJECT.match(fields.get("parameters", "")):
        parameters = fields.pop("parameters")
        fields |= _table_fields(parameters) or {"parameters": parameters}
    for name in _COMMENTS:
        comment = texts.get(name, "").strip("\0 \n")
        if label := _LABELLED.match(comment):
            key = {"extrametadata": "extraMetadata"}.get(label[1].lower(), label[1].lower())
            fields.setdefault(key, comment[label.end() :])
        elif _OBJECT.match(comment):
            for key, value in _table_fields(comment).items():
                fields.setdefault(key, value)
        elif looks_like(comment):
            fields.setdefault("parameters", comment)
    return fields


def _table_fields(comment: str) -> dict[str, str]:
    """A comment's JSON as PNG's fields: an object with several of them, or one of them itself."""
    try:
        table = json.loads(comment.rstrip("\0 \n"))
    except (ValueError, RecursionError):
        # Truncated, or a web UI's text whose prompt is written as JSON.
        told = _PROMPT_KEY.search(comment) or looks_like(comment)
        return {"parameters": comment} if told else {}
    if not isinstance(table, dict):
        return {}
    if any(isinstance(node, dict) and "class_type" in node for node in table.values()):
        extra = table.get("extraMetadata")  # Civitai puts it among the nodes
        beside = {"extraMetadata": extra} if isinstance(extra, str) else {}
        return {"prompt": comment, **beside}
    graph = table.get("prompt")
    if isinstance(graph, str) and not graph.lstrip().startswith("{"):
        graph = None  # the prompt itself, among other settings
    inner = {
        key: table[key] for key in (*KEYS, *SIGNS, *_BESIDE) if key in table and key != "prompt"
    }
    if graph:
        inner["prompt"] = graph
    if not set(inner) - set(_BESIDE):
        # Cameras and phones write JSON, too.
        told = _PROMPT_KEY.search(comment) or {"c", "uc"} <= set(table)
        return {"parameters": comment} if told else {}
    return {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in inner.items()
    }


def _parameters(fields: Fields) -> FilePrompt | None:
    text = fields["parameters"]
    if _OBJECT.match(text) and not looks_like(text):
        return read_table(json.loads(text.rstrip("\0 \n")))
    for read in TEXT_READERS:
        if (told := read(text)) is not None:
            return told
    return read_web_ui(text)


def _json(key: str, **more: Any) -> Callable[[Fields], FilePrompt | None]:
    def read(fields: Fields) -> FilePrompt | None:
        table = json.loads(fields[key].rstrip("\0 \n"))
        return read_table({**more, **table}) if isinstance(table, dict) else None

    return read


def _comment(fields: Fields) -> FilePrompt | None:
    """PNG's "Comment": NovelAI's settings, or another tool's JSON; None for "Created with GIMP"."""
    comment = fields["Comment"]
    if not comment.lstrip().startswith("{"):
        return read_web_ui(comment) if looks_like(comment) else None
    if not (_PROMPT_KEY.search(comment) or '"uc"' in comment):
        return None
    told = read_novelai(fields) or _json("Comment")(fields)
    if told is None:
        raise ValueError("a prompt in a table that is not known here")
    return told


def _tables(texts: Fields) -> FilePrompt | None:
    """JSON with a prompt under a key that only its own tool uses.

    Raises:
        ValueError: there is such JSON, in no format that is known here.
    """
    tables = {
        key: value
        for key, value in texts.items()
        if key not in (*KEYS, *SIGNS, *_BESIDE, *_COMMENTS)
        and _OBJECT.match(value)
        and _PROMPT_KEY.search(value)
    }
    for key, value in tables.items():
        if (told := read_table(json.loads(value), tool=f'"{key}"')) is not None:
            return told
    if tables:
        raise ValueError("a prompt in a table that is not known here")
    return None


def _graph(fields: Fields) -> FilePrompt | None:
    if not fields["prompt"].lstrip().startswith("{"):
        return None
    return read_graph(fields["prompt"], fields.get("workflow", ""))


def _plain_prompt(texts: Fields) -> FilePrompt | None:
    """A text under the key "prompt" that is no graph: the prompt itself, with each setting under a
    key of its own, as Easy Diffusion and many scripts write it.
    """
    texts = {key.removeprefix("SD:"): value for key, value in texts.items()}  # sd-webui's keys
    for key in ("prompt", "Prompt"):
        words = texts.get(key, "")
        if words.strip() and not words.lstrip().startswith(("{", "[")):
            told = read_table(texts, tool=f'"{key}"')
            negative = texts.get("negative_prompt", texts.get("Negative Prompt", ""))
            return told or record(f'"{key}"', words, negative)
    return None


def _description(texts: Fields) -> FilePrompt | None:
    """A plain description, where another field names a generator.

    So a camera's "OLYMPUS DIGITAL CAMERA", "Created with GIMP" and a photographer's caption do not
    count.
    """
    maker = next(
        (texts[name] for name in _MAKERS if _MAKER.search(texts.get(name, "")[:500])), None
    )
    if maker is None:
        return None
    for name in _DESCRIPTIONS:
        words = clean(texts.get(name, ""))
        if not words or words.startswith(("{", "[")) or _GREETING.match(words):
            continue
        if any(words == clean(texts.get(other, "")) for other in _MAKERS):
            continue  # "AI generated image" does not say what it shows
        return record(f"{name.rpartition('.')[2]}, {maker[:80]}", words)
    return None


def _only_enlarged(fields: Fields) -> bool:
    """Whether the file holds nothing but a graph without a prompt, which only enlarges say."""
    if {key for key in SIGNS if key in fields} - {"prompt", "workflow"} or "prompt" not in fields:
        return False
    try:
        return read_graph(fields["prompt"]) is None
    except Exception:  # hostile graphs raise many types; the state is then "unreadable"
        return False


_READERS: dict[str, Callable[[Fields], FilePrompt | None]] = {
    "sui_image_params": lambda fields: read_table(
        {"sui_image_params": json.loads(fields["sui_image_params"])}
    ),
    "generation_data": _json("generation_data"),
    "parameters-json": _json("parameters-json"),
    "parameters": _parameters,
    "invokeai_metadata": _json("invokeai_metadata", app_version=""),
    "sd-metadata": read_old_invokeai,
    "Dream": read_old_invokeai,
    "Comment": _comment,
    "prompt": _graph,
    "extraMetadata": _json("extraMetadata", cfgScale=None),
}
