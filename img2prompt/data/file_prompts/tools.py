"""Reads prompts that tools write as JSON of their own, or as texts of their own.

`TABLES` names the JSON keys of each tool; a tool that writes in another way has a function below.
The older formats of InvokeAI are read by `sd-parsers` (MIT).
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from sd_parsers.parsers import InvokeAIParser

from img2prompt.data.file_prompts.records import FilePrompt, beside, clean, record

Fields = Mapping[str, str]
# characters: `sd-parsers` reads it with regular expressions that take quadratic time
MAX_DREAM = 4_000

# Tool; keys that must all be there to recognise it; then the key of each field.
TABLES: tuple[tuple[str, tuple[str, ...], dict[str, str]], ...] = (
    (
        "SwarmUI",
        ("prompt", "swarm_version"),
        {"negative": "negativeprompt", "model": "model", "sampler": "sampler"},
    ),
    (
        "RuinedFooocus",
        ("Prompt", "base_model_name"),
        {
            "prompt": "Prompt",
            "negative": "Negative",
            "model": "base_model_name",
            "sampler": "sampler_name",
        },
    ),
    (
        "Fooocus",
        ("prompt", "base_model"),
        {"negative": "negative_prompt", "model": "base_model", "sampler": "sampler"},
    ),
    (
        "Easy Diffusion",
        ("prompt", "use_stable_diffusion_model"),
        {
            "negative": "negative_prompt",
            "model": "use_stable_diffusion_model",
            "sampler": "sampler_name",
            "steps": "num_inference_steps",
        },
    ),
    (
        "Easy Diffusion",
        ("Prompt", "Stable Diffusion model"),
        {
            "prompt": "Prompt",
            "negative": "Negative Prompt",
            "model": "Stable Diffusion model",
            "sampler": "Sampler",
            "seed": "Seed",
            "steps": "Steps",
        },
    ),
    (
        "Hugging Face Space",
        ("prompt", "Model"),
        {
            "negative": "negative_prompt",
            "model": "Model",
            "sampler": "sampler",
            "steps": "num_inference_steps",
        },
    ),
    (
        "Stability Matrix",
        ("PositivePrompt",),
        {
            "prompt": "PositivePrompt",
            "negative": "NegativePrompt",
            "model": "ModelName",
            "sampler": "Sampler",
            "seed": "Seed",
            "steps": "Steps",
        },
    ),
    (
        "TensorArt",
        ("prompt", "baseModel", "ksamplerName"),
        {"negative": "negativePrompt", "model": "baseModel", "sampler": "ksamplerName"},
    ),
    (
        "Draw Things",
        ("c", "uc"),
        {"prompt": "c", "negative": "uc", "model": "model", "sampler": "sampler"},
    ),
    (
        "InvokeAI",
        ("positive_prompt", "app_version"),
        {
            "prompt": "positive_prompt",
            "negative": "negative_prompt",
            "model": "model",
            "sampler": "scheduler",
        },
    ),
    (
        "Civitai",
        ("prompt", "cfgScale"),
        {"negative": "negativePrompt", "model": "baseModel", "sampler": "sampler"},
    ),
)
# A tool not named above: a prompt, and one of the settings that only generators have.
PROMPTS = ("prompt", "Prompt", "positive_prompt", "positivePrompt", "positive", "prompts")
NEGATIVES = (
    *("negative_prompt", "negativePrompt", "negativeprompt", "Negative Prompt", "negative"),
    *("negativePrompts", "promptNeg"),
)
SETTINGS = {
    "model": (
        *("model", "Model", "model_name", "base_model", "base_model_name", "checkpoint"),
        "Base Model",
    ),
    "sampler": ("sampler", "sampler_name", "Sampler", "scheduler"),
    "seed": ("seed", "Seed"),
    "steps": ("steps", "Steps", "num_inference_steps", "iterations", "samplingSteps"),
}
MADE = frozenset((*SETTINGS["sampler"], *SETTINGS["seed"], *SETTINGS["steps"], "cfg_scale", "cfg"))
_HASHED = re.compile(r"[0-9A-F]{8}")


def read_table(table: Any, tool: str = "JSON") -> FilePrompt | None:
    """The prompt of a JSON table of settings, which may be empty; None for other JSON.

    Args:
        table: any decoded JSON; only an object can be such a table.
        tool: the name of the tool where the table does not name it.
    """
    if not isinstance(table, dict):
        return None
    inner = table.get("sui_image_params")
    if isinstance(inner, dict):
        return _of_keys("SwarmUI", {"swarm_version": "", "prompt": "", **inner}, TABLES[0][2])
    for known, needed, keys in TABLES:
        if all(key in table for key in needed):
            found = _of_keys(known, table, keys)
            if found is not None:
                return found
    key = next((key for key in PROMPTS if isinstance(table.get(key), str)), None)
    if key is None or MADE.isdisjoint(table):
        return None
    prompt, negative = table[key], next((table[k] for k in NEGATIVES if k in table), "")
    if not negative and "###" in prompt:  # AI Horde writes both prompts as one text
        prompt, _, negative = prompt.partition("###")
    settings = {
        field: next((_plain(table[k]) for k in keys if k in table), None)
        for field, keys in SETTINGS.items()
    }
    return record(clean(table.get("software")) or tool, prompt, negative, settings)


def _of_keys(tool: str, table: dict[str, Any], keys: dict[str, str]) -> FilePrompt | None:
    told = {
        field: _plain(table.get(keys.get(field, field)))
        for field in ("prompt", "negative", "model", "sampler", "seed", "steps")
    }
    if not isinstance(told["prompt"], str):
        return None
    return record(tool, told["prompt"], told["negative"], told)


def _plain(value: Any) -> Any:
    """A model's name, where it is given as a path to its file or as a table."""
    if isinstance(value, dict):
        names = ("model_name", "name", "modelFileName", "key")
        value = next((value[name] for name in names if isinstance(value.get(name), str)), None)
    if isinstance(value, str) and value.endswith((".safetensors", ".ckpt", ".gguf", ".pt")):
        value = re.split(r"[/\\]", value)[-1]
    return value


def read_novelai(fields: Fields) -> FilePrompt | None:
    """NovelAI: the prompt in `Description`, the rest in `Comment`; characters since version 4."""
    table = json.loads(fields["Comment"])
    if not isinstance(table, dict) or not ("uc" in table or "v4_prompt" in table):
        return None
    words = table.get("prompt")
    positive = [words if isinstance(words, str) else fields.get("Description", "")]
    negative = [clean(table.get("uc"))]
    for side, key in ((positive, "v4_prompt"), (negative, "v4_negative_prompt")):
        base, characters = _captions(table.get(key))
        if not side[0].strip():
            side[0] = base
        side += characters
    source = clean(fields.get("Source")).split()
    if source and _HASHED.fullmatch(source[-1]):
        source.pop()
    settings = {
        "model": " ".join(source),
        **{k: table.get(k) for k in ("sampler", "seed", "steps")},
    }
    return record("NovelAI", beside(positive), beside(negative), settings)


def _captions(value: Any) -> tuple[str, list[str]]:
    """The prompt of the picture, and that of each character in it."""
    caption = value.get("caption") if isinstance(value, dict) else None
    if not isinstance(caption, dict):
        return "", []
    listed = caption.get("char_captions")
    characters = [
        clean(each.get("char_caption"))
        for each in (listed[:20] if isinstance(listed, list) else ())
        if isinstance(each, dict)
    ]
    return clean(caption.get("base_caption")), characters


def read_old_invokeai(fields: Fields) -> FilePrompt | None:
    """InvokeAI before version 3: "sd-metadata", and before that the command line in "Dream".

    Raises:
        ValueError: neither is in a known format.
        Exception: of `sd-parsers`, for what it cannot read.
    """
    told = {}
    if "sd-metadata" in fields:
        # Version 2.3 writes one text where the parser expects a list of weighted ones.
        table = json.loads(fields["sd-metadata"])
        image = table["image"]
        if isinstance(image.get("prompt"), str):
            image["prompt"] = [{"prompt": image["prompt"]}]
        image.setdefault("sampler", "unknown")
        told["sd-metadata"] = json.dumps(table)
    else:
        told["Dream"] = _command(fields["Dream"])
    found = InvokeAIParser().parse(told)
    sampler = found.samplers[0]
    settings = {**found.metadata, **sampler.parameters, "sampler": sampler.name}
    settings["model"] = sampler.model and sampler.model.name
    positive, negative = (
        ", ".join(clean(each.value) for each in side).replace(_QUOTE, '"')
        for side in (found.prompts, found.negative_prompts)
    )
    return record("InvokeAI", positive, negative, settings)


_COMMAND = re.compile(r'"(.*?)"(?=\s+-|\Z)(.*)', re.DOTALL)
_QUOTE = "\ue000"  # stands for a quote within the prompt; nobody writes this character


def _command(dream: str) -> str:
    """InvokeAI's command line, rewritten so that `sd-parsers` can read it (d3x-at/sd-parsers 0.6,
    parsers/_invokeai/_variant_dream.py): it ends the prompt at the first quote or line end, takes
    "-s50" for a switch without a value, and fails without a sampler.
    """
    found = _COMMAND.match(dream.strip()) if len(dream) <= MAX_DREAM else None
    if found is None:
        raise ValueError("no command line, or one too long for the parser's regular expressions")
    words = " ".join(found[1].replace('\\"', '"').split()).replace('"', _QUOTE)
    options = dict(re.findall(r"\s-([ACHsSW])\s*([^\s-]\S*)", found[2]))
    options.setdefault("A", "unknown")
    return f'"{words}"' + "".join(f" -{key} {value}" for key, value in options.items())


_MIDJOURNEY = re.compile(r"Job ID: ?[0-9a-f-]{36}", re.IGNORECASE)
_OPTION = re.compile(r"\s(?:--|—)([a-z]\w{0,15})((?: +(?!--|—)[^\s]{1,100}){0,20})", re.IGNORECASE)


def read_midjourney(text: str) -> FilePrompt | None:
    """ "a red fox --ar 3:2 --no snow Job ID: …", as Midjourney describes its pictures."""
    if not (job := _MIDJOURNEY.search(text)):
        return None
    words = f" {text[: job.start()][:4_000]}"
    options = {found[1].lower(): found[2].strip() for found in _OPTION.finditer(words)}
    version = f"v{options['v']}" if options.get("v") else options.get("niji") and "niji"
    settings = {"model": version, "seed": options.get("seed"), "steps": None}
    return record("Midjourney", _OPTION.sub("", words), options.get("no", ""), settings)


def read_mochi(text: str) -> FilePrompt | None:
    """ "Include in Image: a red fox; Exclude from Image: …", as Mochi Diffusion writes."""
    if not text.lstrip().startswith("Include in Image:"):
        return None
    cuts = re.split(
        r"(?:\A|;) {0,3}(Include in Image|Exclude from Image|Model|Steps|Seed|Scheduler|Size|"
        r"Guidance Scale|ML Compute Unit|Generator):",
        text.strip()[:20_000],
    )
    told = dict(zip(cuts[1::2], (value.strip() for value in cuts[2::2]), strict=True))
    settings = {
        "model": told.get("Model"),
        "sampler": told.get("Scheduler"),
        "seed": told.get("Seed"),
        "steps": told.get("Steps"),
    }
    prompt, negative = told.get("Include in Image", ""), told.get("Exclude from Image", "")
    return record("Mochi Diffusion", prompt, negative, settings)


_VQGAN = re.compile(
    r"text_prompts: (.*?), (?:image_prompts|noise_prompts|iterations|init_image|seed): ", re.DOTALL
)


def read_vqgan(text: str) -> FilePrompt | None:
    """ "text_prompts: a red fox, image_prompts: [], …, seed: 5", as vqgan-clip-generator writes."""
    if not text.startswith("text_prompts: ") or not (found := _VQGAN.match(text[:20_000])):
        return None
    numbers = dict(re.findall(r", (seed|iterations): (\d{1,20})\b", text[:20_000]))
    settings = {"seed": numbers.get("seed"), "steps": numbers.get("iterations")}
    return record("vqgan-clip-generator", found[1], "", settings)


TEXT_READERS: tuple[Callable[[str], FilePrompt | None], ...] = (
    read_midjourney,
    read_mochi,
    read_vqgan,
)
