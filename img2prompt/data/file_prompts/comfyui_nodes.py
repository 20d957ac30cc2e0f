"""Names of ComfyUI's inputs, output slots and node classes that carry a prompt.

ComfyUI has thousands of nodes by hundreds of authors. Nodes are recognised by the names of their
inputs, which are few, and by their class only where these do not suffice.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeGuard

Inputs = Mapping[str, Any]

POSITIVE = ("positive", "positive_prompt", "text_positive", "positive_text", "positive_cond", "pos")
NEGATIVE = ("negative", "negative_prompt", "text_negative", "negative_text", "negative_cond", "neg")
# The same inside longer names: "positive_NEW", "base_positive", "conditioning_positive".
_SIDED = re.compile(r"(?:\A|_)(pos|neg)(?:itive|ative)?(?:_|\d|\Z)", re.IGNORECASE)
_NO_CONDITION = re.compile(r"image|mask|latent|strength|clip|weight", re.IGNORECASE)
# The inputs of samplers and guiders, with those that lack the two names above.
CONDITIONS = {
    "positive": (*POSITIVE, "conditioning", "cond", "cond1", "cond2"),
    "negative": (*NEGATIVE, "neg_conditioning", "negative_conditioning", "uncond"),
}
# One link that holds model, both prompts and more.
BUNDLES = (
    "guider text_embeds pipe basic_pipe detailer_pipe sdxl_pipe sdxl_tuple base_ctx ctx_01 ctx bus "
    "pipe_line context"
).split()
SAMPLING = ("sampler_name", "steps", "sigmas", "sampler")

# An encoder with several language models, each with a text of its own.
HALVES = ("text_g", "text_l", "clip_g", "clip_l", "t5xxl", "llama", "bert", "mt5xl")
# The first of these inputs is a node's text. `populated_text` is a wildcard filled in.
TEXTS = (
    "populated_text result text Text prompt user_prompt string String STRING value positive "
    "text_positive positive_prompt prompt_text wildcard_text input_string source any anything input"
).split()
CACHED = "text_0"  # the text that a display node showed, stored after the run
PART = re.compile(
    r"(?:(?:text|string|str|prompt|part|input|value)_?(?:[a-z]|\d+)|[ab])\Z", re.IGNORECASE
)
DELIMITERS = ("delimiter", "separator")
_NAMED_DELIMITERS = {"none": "", "comma": ", ", "space": " ", "newline": "\n"}
JOINS = re.compile(r"concat|join|combine|append|merge", re.IGNORECASE)
# A language model or a tagger wrote the text while the graph ran; the file does not hold it.
WRITTEN_LATER = re.compile(
    r"textgenerate|llm|ollama|openai|chatgpt|gemini|caption|tagger|interrogat|florence|joytag|"
    r"describe|vlm|qwen.?vl|image.?to.?(?:text|prompt)",
    re.IGNORECASE,
)
ZEROED = re.compile(r"zero.?out", re.IGNORECASE)
ANY_SWITCH = re.compile(r"any.?switch", re.IGNORECASE)
HOLDS_TEXT = re.compile(r"text|prompt|string|encode|wildcard", re.IGNORECASE)
SAVES = re.compile(r"save|output|combine", re.IGNORECASE)

# Inputs that never carry conditions.
ASIDE = re.compile(
    r"(?:opt_)?(?:clip(?!_regions)|model|unet|vae|image|pixels|mask|latent|samples?|control_?net|style_model|"
    r"clip_vision|noise|sigmas|sampler|lora|seed|width|height|strength|cfg|guidance|audio|video)",
    re.IGNORECASE,
)
LEADS_ON = re.compile(r"cond|positive|negative|embed|prompt|\A\Z", re.IGNORECASE)

# The slots of the positive and the negative output, where they aren't the first two.
SLOTS = (
    (re.compile(r"instantid", re.IGNORECASE), (1, 2)),
    (
        re.compile(r"\beff(?:icient|\.)? loader|loader \(efficient|sdxl loader", re.IGNORECASE),
        (1, 2),
    ),
    (re.compile(r"from.?basic.?pipe_v2", re.IGNORECASE), (4, 5)),
    (re.compile(r"from.?(?:basic|detailer).?pipe", re.IGNORECASE), (3, 4)),
    (re.compile(r"context.*rgthree", re.IGNORECASE), (4, 5)),
    (re.compile(r"pipe.?out", re.IGNORECASE), (2, 3)),
)
CHECKPOINTS = ("ckpt_name", "unet_name", "model_name", "base_ckpt_name", "gguf_name", "model")
NUMBERS = ("seed", "noise_seed", "value", "Value", "int", "INT", "number", "Number", "steps")


def is_link(value: Any) -> TypeGuard[list[Any]]:
    """Whether an input's value is another node's output: [node, slot]."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str | int)
        and isinstance(value[1], int)
    )


def sided(inputs: Inputs, role: str) -> list[str]:
    """The inputs that are linked to conditions of one side, whatever stands around its name.

    Args:
        inputs: a node's inputs.
        role: "positive" or "negative".
    """
    return [
        key
        for key, value in inputs.items()
        if is_link(value)
        and (found := _SIDED.search(key))
        and found[1].lower() == role[:3]
        and not _NO_CONDITION.search(key)
    ]


def is_sampler(inputs: Inputs) -> bool:
    """Whether a node samples a picture from conditions, by its inputs, whatever its class."""
    if any("filename" in key.lower() for key in inputs):
        return False  # it saves, and has the settings only to write them down
    told = any(is_link(inputs.get(key)) for key in (*CONDITIONS["positive"], *BUNDLES))
    plus, minus = sided(inputs, "positive"), sided(inputs, "negative")
    if plus and minus and ("seed" in inputs or "noise_seed" in inputs):
        return True
    return bool(told or plus) and any(key in inputs for key in SAMPLING)


def makes_of_text(inputs: Inputs) -> bool:
    """Whether a node asks a web service for a picture: it has a prompt and no encoder."""
    return "prompt" in inputs and "clip" not in inputs and "filename_prefix" not in inputs


def parts(kind: str, inputs: Inputs) -> list[str]:
    """The inputs that a node joins to one text, in order; [] for any other node."""
    found = sorted((key for key in inputs if PART.match(key)), key=lambda key: (len(key), key))
    joins = JOINS.search(kind) or inputs.get("action") == "append"
    if len(found) > 1 and (joins or any(key in inputs for key in DELIMITERS)):
        return found
    return []


def delimiter(inputs: Inputs) -> str:
    """What separates the parts."""
    for key in DELIMITERS:
        if isinstance(inputs.get(key), str):
            return _NAMED_DELIMITERS.get(inputs[key], inputs[key].replace("\\n", "\n"))
    if inputs.get("tidy_tags") == "yes":
        return ", "
    return "\n" if str(inputs.get("linebreak_addition", "")).lower() == "true" else ""


def branches(kind: str, inputs: Inputs, choice: Any) -> list[str] | None:
    """The inputs of a switch to follow, the chosen one first; None for any other node.

    Args:
        kind: the node's class.
        inputs: its inputs.
        choice: the value of the input that `chooser` names: a truth value, a number, or neither.
    """
    if ANY_SWITCH.search(kind):
        return sorted(key for key, value in inputs.items() if is_link(value))
    if chooser(inputs) is None:
        return None
    yes = [k for k in inputs if k in ("on_true", "tt_value", "true", "if_true")]
    no = [k for k in inputs if k in ("on_false", "ff_value", "false", "if_false")]
    if not (yes or no) and isinstance(choice, bool):
        yes = [k for k in inputs if k.endswith("_a")]
        no = [k for k in inputs if k.endswith("_b")]
    if yes or no:
        return [*no, *yes] if choice is False else [*yes, *no]
    numbered = [k for k in inputs if re.search(r"\d\Z", k)]
    if len(numbered) > 1 and isinstance(choice, int):
        return [k for k in numbered if _number(k) == choice] or None
    return None


def _number(key: str) -> int | None:
    """The number at the end of an input's name."""
    found = re.search(r"\d{1,6}\Z", key)
    return int(found[0]) if found else None


def chooser(inputs: Inputs) -> str | None:
    """The input that selects the branch of a switch."""
    names = ("switch", "boolean", "cond", "condition", "select", "Input", "index", "selection")
    return next(
        (name for name in names if name in inputs and not isinstance(inputs[name], dict)), None
    )
