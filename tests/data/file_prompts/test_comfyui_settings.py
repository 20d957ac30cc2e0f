"""What ComfyUI's graphs tell beside the prompts: model, sampler, seed and steps."""

import json
from typing import Any

import pytest
from comfy_graphs import NO, SETTINGS, YES, custom, graph, node, sampler, told

from img2prompt.data.file_prompts.comfyui import read_graph
from img2prompt.data.file_prompts.records import FilePrompt


def found(table: Any) -> FilePrompt:
    result = read_graph(json.dumps(table))
    assert result is not None
    return result


def test_a_service_may_be_told_what_not_to_draw() -> None:
    service = {"a": node("Web", prompt=["b", 0], negative_prompt=["c", 0], seed=3, steps=9)}
    service |= {"b": node("String", value=YES), "c": node("String", value=NO)}
    result = found(service)
    assert (result.prompt, result.negative, result.seed, result.steps) == (YES, NO, 3, 9)
    assert told({"a": node("Web", prompt="", negative_prompt=NO)}) == ("", NO)


def test_settings_are_taken_from_the_first_sampler_or_its_links() -> None:
    plain = found(custom(guider=node("CFGGuider", positive=["yes", 0], model=["model", 0])))
    assert (plain.sampler, plain.seed, plain.steps) == ("dpmpp_2m", 7, 20)
    named = graph(
        own=node("SamplerEuler", eta=1.0),
        sampler=node("SamplerCustom", positive=["yes", 0], sampler=["own", 0], noise_seed=4),
    )
    result = found(named)
    assert (result.prompt, result.sampler, result.seed, result.steps) == (
        YES,
        "SamplerEuler",
        4,
        None,
    )
    typed = graph(sampler=sampler(["yes", 0], ["no", 0], model="typed.ckpt"))
    assert found(typed).model == "typed.ckpt"


@pytest.mark.parametrize(
    "name", ["ckpt_name", "unet_name", "model_name", "base_ckpt_name", "gguf_name", "model"]
)
def test_the_model_is_the_nearest_one_up_the_links(name: str) -> None:
    loras = {"model": ["model", 0], "lora_name": "fur"}
    table = graph(
        model=node("Loader", **{name: "dream.gguf"}),
        lora=node("LoraLoader", **loras),
        sampler=sampler(["yes", 0], ["no", 0], model=["lora", 0], **{}),
    )
    assert found(table).model == "dream.gguf"


def test_numbers_come_through_ten_nodes_and_no_more() -> None:
    for length, expected in ((9, 12), (10, None)):
        ways = {f"n{at}": node("Int", value=[f"n{at + 1}", 0]) for at in range(length)}
        ways[f"n{length}"] = node("Int", value=12)
        table = graph(**ways, sampler=sampler(["yes", 0], ["no", 0], steps=["n0", 0]))
        assert found(table).steps == expected
    assert SETTINGS["steps"] == found(graph()).steps == 25
