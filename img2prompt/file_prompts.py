"""The true prompt that a picture file carries, as the tool that made the picture wrote it there.

Automatic1111's web UI and its kin, ComfyUI, InvokeAI, NovelAI and Fooocus are read, each from
where it writes: PNG text chunks, the EXIF of JPEG and WebP, JPEG comments. We take the texts out of
the file; what they mean says `sd-parsers` (MIT). Its own reading of files is not used: it keeps the
last picture's comment in a global, and finds neither ComfyUI's nor Fooocus's EXIF. A file comes
from anybody, so every text is bounded before a parser sees it.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PIL import Image
from sd_parsers.data import PromptInfo
from sd_parsers.parsers import (
    AUTOMATIC1111Parser,
    ComfyUIParser,
    FooocusParser,
    InvokeAIParser,
    NovelAIParser,
)

from img2prompt.images import ImageSource, open_encoded

MAX_TEXT = 2**20  # characters of one text; a big ComfyUI graph has a tenth
# The parsers search these with regular expressions that take quadratic time on hostile text.
MAX_PARAMETERS = 50_000
MAX_DREAM = 4_000
MAX_SOURCE = 200
# Of a ComfyUI graph; the paths from every sampler are followed.
MAX_NODES = 1_000
MAX_SAMPLERS = 10
MAX_PROMPT = 20_000  # characters; a longer one is no prompt

USER_COMMENT = 0x9286
EXIF_FOLDER = 0x8769
INVOKEAI_KEYS = ("invokeai_metadata", "sd-metadata", "Dream")
KEYS = ("parameters", "prompt", *INVOKEAI_KEYS, "Description", "Source", "Comment")
_UNUSABLE = re.compile("[\0-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class FilePrompt:
    """What a file says of its own making.

    Attributes:
        prompt: never empty.
        negative: what was not wanted; "" where there is none.
        tool: the program's name; that of the web UI stands for its kin too.
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


def read_prompt(source: ImageSource) -> FilePrompt | None:
    """The prompt that a picture file carries; None where it carries none that can be read.

    Damaged metadata is no metadata: it never stops a guess.

    Args:
        source: a path or encoded bytes; PNG, JPEG and WebP can carry a prompt.

    Raises:
        ImageError: the file is no picture we take, as `images.open_encoded`.
    """
    image = open_encoded(source)
    try:
        texts = _texts(image)
    except Exception:  # Pillow's readers raise many types on damaged metadata
        return None
    for keys, tool, parse in _TOOLS:
        if not any(key in texts for key in keys):
            continue
        try:
            found = _file_prompt(tool, parse(texts))
        except Exception:  # so do the parsers, by KeyError, AttributeError, RecursionError …
            continue
        if found is not None:
            return found
    return None


def _texts(image: Image.Image) -> dict[str, str]:
    """The file's texts of `KEYS`, of whatever tool."""
    texts: dict[str, Any] = {}
    if image.format == "PNG":
        texts |= image.info
        data = image.fp.getvalue()
        pixels = data.find(b"IDAT")
        if any(data.rfind(kind) > pixels for kind in (b"tEXt", b"iTXt", b"zTXt")):
            texts |= image.text  # texts behind the pixels are only found by decoding them
    comment = image.info.get("comment")
    if isinstance(comment, bytes):
        texts |= _comment_texts(comment.decode("utf-8", "replace"))
    exif = image.getexif()
    for value in exif.values():
        # ComfyUI writes "prompt:{…}" and "workflow:{…}" into the tags of camera and maker.
        if isinstance(value, str) and value[:7].lower() == "prompt:":
            texts["prompt"] = value[7:]
    # Fooocus writes the comment into the first folder, as text; all others where it belongs.
    comment = exif.get(USER_COMMENT) or exif.get_ifd(EXIF_FOLDER).get(USER_COMMENT)
    if comment:
        texts |= _comment_texts(comment if isinstance(comment, str) else _decoded(comment))
    wanted = {key: texts[key] for key in KEYS if isinstance(texts.get(key), str)}
    return {key: value for key, value in wanted.items() if len(value) <= MAX_TEXT}


def _comment_texts(comment: str) -> dict[str, Any]:
    """A comment is a web UI's `parameters`, or a JSON object of what PNG keeps in single texts."""
    if len(comment) <= MAX_TEXT and comment.lstrip().startswith("{"):
        try:
            table = json.loads(comment)
        except (ValueError, RecursionError):
            return {}
        inner = {key: table[key] for key in KEYS if key in table and key != "prompt"}
        if isinstance(table.get("prompt"), dict):  # a graph; Fooocus has a text of that name
            inner["prompt"] = table["prompt"]
        if inner:
            return {k: v if isinstance(v, str) else json.dumps(v) for k, v in inner.items()}
        return {"parameters": comment}
    # Cameras and painting programs leave comments too ("Created with GIMP").
    return {"parameters": comment} if "Steps: " in comment else {}


def _decoded(comment: bytes) -> str:
    """EXIF's UserComment: eight bytes that name the encoding, then the text."""
    kind, body = comment[:8], comment[8:]
    if kind != b"UNICODE\0":
        return body.decode("utf-8", "replace")
    # The standard leaves the byte order open: zeros stand before ASCII letters or behind them.
    little = body[1::2].count(0) > body[::2].count(0)
    return body.decode("utf-16-le" if little else "utf-16-be", "replace")


def _web_ui(texts: dict[str, str]) -> PromptInfo | dict[str, str]:
    parameters = texts["parameters"]
    if parameters.lstrip().startswith("{"):
        raise ValueError("this is JSON, of Fooocus or of a tool we don't know")
    if len(parameters) > MAX_PARAMETERS:
        raise ValueError("too long for the parser's regular expressions")
    try:
        return AUTOMATIC1111Parser().parse(texts)
    except Exception:
        # No line of settings, or "Negative prompt:" twice: the prompt itself is plain enough.
        prompt, _, rest = parameters.partition("\nNegative prompt:")
        prompt = re.split(r"\nSteps: ", prompt, maxsplit=1)[0]
        return {"prompt": prompt, "negative": re.split(r"\nSteps: ", rest, maxsplit=1)[0]}


def _fooocus(texts: dict[str, str]) -> PromptInfo:
    return FooocusParser().parse(texts)


def _invokeai(texts: dict[str, str]) -> PromptInfo:
    fields = {key: texts[key] for key in INVOKEAI_KEYS if key in texts}
    if len(fields.get("Dream", "")) > MAX_DREAM:
        del fields["Dream"]
    if "invokeai_metadata" in fields:
        # Since version 4 the model's name has another key, and FLUX pictures have no scheduler.
        table = json.loads(fields["invokeai_metadata"])
        table.setdefault("scheduler", "")
        model = table.get("model")
        if isinstance(model, dict) and "name" in model:
            table["model"] = {"model_name": model["name"]}
        elif not isinstance(model, dict):
            table.pop("model", None)
        fields["invokeai_metadata"] = json.dumps(table)
    return InvokeAIParser().parse(fields)


def _novelai(texts: dict[str, str]) -> PromptInfo:
    fields = {"Source": "", **texts}
    fields["Source"] = fields["Source"][:MAX_SOURCE]
    fields.setdefault("Description", json.loads(texts["Comment"]).get("prompt"))
    return NovelAIParser().parse(fields)


def _comfyui(texts: dict[str, str]) -> PromptInfo:
    """The parser follows the links of `workflow`, which pictures made through ComfyUI's own
    interface for programs lack and newer versions write otherwise; the graph has the same ones.
    """
    graph = json.loads(texts["prompt"])
    if len(graph) > MAX_NODES:
        raise ValueError("too many nodes to follow their links")
    links, samplers = [], 0
    for number, node in graph.items():
        inputs = node.get("inputs", {})
        samplers += "sampler_name" in inputs or node.get("class_type") == "WanVideoSampler"
        # Encoders of SDXL and FLUX have a text for each of their halves, mostly the same.
        halves = [inputs[key] for key in ("text_g", "t5xxl", "text_l", "clip_l") if key in inputs]
        if halves:
            inputs.setdefault("text", next((half for half in halves if half), ""))
        for name, value in inputs.items():
            if isinstance(value, list) and len(value) == 2:
                links.append([0, str(value[0]), value[1], number, 0, name.upper()])
    if samplers > MAX_SAMPLERS:
        raise ValueError("too many samplers to follow their links")
    return ComfyUIParser().parse({"prompt": graph, "workflow": {"links": links}})


_TOOLS: tuple[tuple[tuple[str, ...], str, Callable[[dict[str, str]], Any]], ...] = (
    (("parameters",), "Fooocus", _fooocus),
    (("parameters",), "AUTOMATIC1111", _web_ui),
    (INVOKEAI_KEYS, "InvokeAI", _invokeai),
    (("Comment",), "NovelAI", _novelai),
    (("prompt",), "ComfyUI", _comfyui),
)


def _file_prompt(tool: str, found: PromptInfo | dict[str, str]) -> FilePrompt | None:
    if isinstance(found, dict):
        prompt, negative = _clean(found["prompt"]), _clean(found["negative"])
        return FilePrompt(prompt, negative, tool) if 0 < len(prompt) <= MAX_PROMPT else None
    sampler = found.samplers[0]
    settings = {**found.metadata, **sampler.parameters}
    prompt = ", ".join(filter(None, (_clean(p.value) for p in found.prompts)))
    if not 0 < len(prompt) <= MAX_PROMPT:
        return None
    if tool == "AUTOMATIC1111" and str(settings.get("Version", "")).startswith("Fooocus"):
        tool = "Fooocus"
    negative = ", ".join(filter(None, (_clean(p.value) for p in found.negative_prompts)))
    return FilePrompt(
        prompt,
        negative[:MAX_PROMPT],
        tool,
        model=_clean(str(sampler.model))[:MAX_SOURCE] or None if sampler.model else None,
        sampler=_clean(sampler.name)[:MAX_SOURCE] or None,
        seed=_integer(settings.get("seed", settings.get("noise_seed"))),
        steps=_integer(settings.get("steps")),
    )


def _clean(value: Any) -> str:
    """A text without what no UTF-8 file and no page can show; "" for anything but a text."""
    if not isinstance(value, str):
        return ""
    return _UNUSABLE.sub("", value.encode("utf-8", "replace").decode("utf-8")).strip()


def _integer(value: Any) -> int | None:
    digits = str(value)
    return int(digits) if re.fullmatch(r"\d{1,20}", digits, re.ASCII) else None
