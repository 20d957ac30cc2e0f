"""ComfyUI's graphs: which text is which picture's prompt, through the nodes in between."""

import contextlib
import json
import time
from typing import Any

import pytest
from comfy_graphs import NO, SETTINGS, YES, custom, encoder, graph, node, sampler, through, told
from hypothesis import given
from hypothesis import strategies as st

from img2prompt.data.file_prompts import comfyui
from img2prompt.data.file_prompts.comfyui import read_graph


@pytest.mark.parametrize(
    "kind, more",
    [
        ("ControlNetApplyAdvanced", {"control_net": ["model", 0], "image": ["empty", 0]}),
        ("ControlNetApplySD3", {"control_net": ["model", 0], "vae": ["model", 2], "strength": 1.0}),
        ("ControlNetInpaintingAliMamaApply", {"mask": ["empty", 0]}),
        ("InpaintModelConditioning", {"vae": ["model", 2], "pixels": ["empty", 0]}),
        ("InstructPixToPixConditioning", {"vae": ["model", 2], "pixels": ["empty", 0]}),
        ("WanImageToVideo", {"width": 832, "height": 480, "length": 81}),
        ("WanFirstLastFrameToVideo", {"start_image": ["empty", 0]}),
        ("LTXVConditioning", {"frame_rate": 25.0}),
        ("LTXVImgToVideo", {"image": ["empty", 0]}),
        ("HunyuanImageToVideo", {"latent": ["empty", 0]}),
        ("PairConditioningSetProperties", {"strength": 1.0}),
        ("A node of somebody's own", {}),
    ],
)
def test_a_node_that_hands_both_prompts_on_keeps_them_apart(kind: str, more: dict) -> None:
    assert told(through(kind, **more)) == (YES, NO)


def test_the_slot_counts_not_the_node() -> None:
    assert told(through("ControlNetApplyAdvanced", (1, 0))) == (NO, YES)
    twice = graph(
        one=node("ControlNetApplyAdvanced", positive=["yes", 0], negative=["no", 0]),
        two=node("InpaintModelConditioning", positive=["one", 0], negative=["one", 1]),
        sampler=sampler(["two", 0], ["two", 1]),
    )
    assert told(twice) == (YES, NO)
    # A positive prompt alone goes through, the negative one goes beside it.
    half = graph(
        one=node("ControlNetApplyAdvanced", positive=["yes", 0], negative=["no", 0]),
        sampler=sampler(["one", 0], ["no", 0]),
    )
    assert told(half) == (YES, NO)


def test_nodes_with_other_slots_are_read_by_their_kind_or_by_the_drawn_graph() -> None:
    assert told(through("ApplyInstantID", (1, 2))) == (YES, NO)
    drawn = {"nodes": [{"id": "between", "outputs": [{"name": n} for n in "a b negative".split()]}]}
    drawn["nodes"][0]["outputs"].append({"name": "positive"})
    assert told(through("Strange", (3, 2), image=["empty", 0]), drawn) == (YES, NO)
    loader = graph(
        loader=node("Efficient Loader", ckpt_name="a.ckpt", positive=YES, negative=NO),
        sampler=sampler(["loader", 1], ["loader", 2], "KSampler (Efficient)", model=["loader", 0]),
    )
    assert told(loader) == (YES, NO)
    context = graph(
        big=node("Context Big (rgthree)", positive=["yes", 0], negative=["no", 0]),
        small=node("Context (rgthree)", base_ctx=["big", 0]),
        sampler=sampler(["small", 4], ["small", 5]),
    )
    assert told(context) == (YES, NO)


def test_zeroed_conditions_tell_nothing() -> None:
    zeroed = node("ConditioningZeroOut", conditioning=["yes", 0])
    assert told(graph(no=zeroed)) == (YES, "")


def test_pipes_hold_both_prompts() -> None:
    pipes = graph(
        pipe=node("ToBasicPipe", model=["model", 0], positive=["yes", 0], negative=["no", 0]),
        parts=node("FromBasicPipe_v2", basic_pipe=["pipe", 0]),
        sampler=sampler(["parts", 4], ["parts", 5]),
    )
    assert told(pipes) == (YES, NO)
    easy = graph(
        loader=node("easy fullLoader", ckpt_name="a.ckpt", positive=YES, negative=NO),
        pre=node("easy preSampling", pipe=["loader", 0], **SETTINGS),
        sampler=node("easy kSampler", pipe=["pre", 0], image_output="Preview"),
    )
    assert told(easy) == (YES, NO)
    whole = graph(
        pipe=node("ToBasicPipe", model=["model", 0], positive=["yes", 0], negative=["no", 0]),
        sampler=node("ImpactKSamplerBasicPipe", basic_pipe=["pipe", 0], **SETTINGS),
    )
    assert told(whole) == (YES, NO)


def test_samplers_in_pieces_are_put_together() -> None:
    sides = {"positive": ["yes", 0], "negative": ["no", 0], "model": ["model", 0]}
    found = read_graph(json.dumps(custom(guider=node("CFGGuider", cfg=8.0, **sides))))
    assert found is not None and (found.prompt, found.negative) == (YES, NO)
    assert (found.seed, found.steps, found.sampler) == (7, 20, "dpmpp_2m")
    assert found.model == "dream.safetensors"
    flux = custom(
        guider=node("BasicGuider", model=["model", 0], conditioning=["flux", 0]),
        flux=node("FluxGuidance", conditioning=["yes", 0], guidance=3.5),
    )
    assert told(flux) == (YES, "")
    ends = {"cond1": ["yes", 0], "cond2": ["more", 0], "negative": ["no", 0]}
    dual = custom(guider=node("DualCFGGuider", model=["model", 0], **ends), more=encoder("snow"))
    assert told(dual) == (f"{YES} | snow", NO)
    plain = graph(
        choice=node("KSamplerSelect", sampler_name="lcm"),
        sigmas=node("KarrasScheduler", steps=12),
        sampler=node(
            "SamplerCustom", noise_seed=3, sampler=["choice", 0], sigmas=["sigmas", 0], **sides
        ),
    )
    found = read_graph(json.dumps(plain))
    assert found is not None and (found.prompt, found.negative) == (YES, NO)
    assert (found.seed, found.steps, found.sampler) == (3, 12, "lcm")


def test_video_samplers_take_both_texts_from_one_encoder() -> None:
    texts = node("WanVideoTextEncode", positive_prompt=YES, negative_prompt=NO, t5=["model", 0])
    wan = graph(
        texts=texts,
        sampler=node("WanVideoSampler", text_embeds=["texts", 0], steps=30, seed=5, scheduler="x"),
    )
    assert told(wan) == (YES, NO)


@pytest.mark.parametrize(
    "source, expected",
    [
        (node("PrimitiveString", value=YES), YES),
        (node("PrimitiveStringMultiline", value=YES), YES),
        (node("String Literal", string=YES), YES),
        (node("DF_Text_Box", Text=YES), YES),
        (node("Text Multiline", text=YES), YES),
        (node("easy positive", positive=YES), YES),
        (node("CR Prompt Text", prompt=YES), YES),
        (node("Power Prompt (rgthree)", prompt=YES, insert_lora="CHOOSE"), YES),
        (node("StringConcatenate", string_a="a", string_b="b", delimiter=", "), "a, b"),
        (node("StringConcatenate", string_a="a", string_b="", delimiter=", "), "a"),
        (node("Text Concatenate", text_a="a", text_b="b", text_c="c", delimiter="\\n"), "a\nb\nc"),
        (node("CR Text Concatenate", text1="a", text2="b", separator=" "), "a b"),
        (node("CR Combine Prompt", part1="a", part2="b", part3="", separator=","), "a,b"),
        (node("easy promptConcat", prompt1="a", prompt2="b", separator=" / "), "a / b"),
        (node("JoinStringMulti", inputcount=2, string_1="a", string_2="b", delimiter=" "), "a b"),
        (
            node(
                "StringFunction|pysssss", action="append", tidy_tags="yes", text_a="a", text_b="b"
            ),
            "a, b",
        ),
        (node("JWStringConcat", a="a", b="b", separator=" "), "a b"),
        (node("Text Concatenate (JPS)", text1="a", text2="b", delimiter="comma"), "a, b"),
        (
            node(
                "Text Concatenate", text_a="a ", text_b=" b", delimiter=",", clean_whitespace="true"
            ),
            "a,b",
        ),
        (node("StringReplace", string="a cat", find="cat", replace="fox"), "a fox"),
        (node("ImpactWildcardProcessor", wildcard_text="a {b|c}", populated_text="a b"), "a b"),
        (node("ShowText|pysssss", text=["llm", 0], text_0="what it wrote"), "what it wrote"),
        (node("Reroute", **{"": ["deep", 0]}), YES),
        (node("PreviewAny", source=["deep", 0]), YES),
        (node("ComfySwitchNode", switch=True, on_true=["deep", 0], on_false="b"), YES),
        (node("ComfySwitchNode", switch=["off", 0], on_true="a", on_false=["deep", 0]), YES),
        (node("ComfySwitchNode", switch=True, on_true=["llm", 0], on_false=["deep", 0]), YES),
        (node("CR Text Input Switch", Input=2, text1="a", text2=["deep", 0]), YES),
        (node("ImpactSwitch", select=1, input1=["deep", 0], input2="b"), YES),
        (node("Any Switch (rgthree)", any_01=["llm", 0], any_02=["deep", 0]), YES),
    ],
    ids=lambda value: value["class_type"] if isinstance(value, dict) else "",
)
def test_a_text_from_another_node_is_found(source: dict, expected: str) -> None:
    more = {
        "deep": node("PrimitiveStringMultiline", value=YES),
        "off": node("PrimitiveBoolean", value=False),
        "llm": node("TextGenerate", prompt="You write prompts for pictures."),
    }
    assert told(graph(yes=encoder(["source", 0]), source=source, **more)) == (expected, NO)


def test_one_node_can_hold_several_texts_at_its_slots() -> None:
    styler = node("SDXLPromptStyler", text_positive=YES, text_negative=NO, style="none")
    both = graph(yes=encoder(["styler", 0]), no=encoder(["styler", 1]), styler=styler)
    assert told(both) == (YES, NO)
    four = node("Text String", text=YES, text_b=NO, text_c="", text_d="")
    both = graph(yes=encoder(["four", 0]), no=encoder(["four", 1]), four=four)
    assert told(both) == (YES, NO)
    wildcards = node("ImpactWildcardEncode", wildcard_text="{a|b}", populated_text=YES)
    assert told(graph(yes=wildcards, sampler=sampler(["yes", 2], ["no", 0]))) == (YES, NO)


@pytest.mark.parametrize(
    "texts, expected",
    [
        ({"text_g": YES, "text_l": YES}, YES),
        ({"text_g": YES, "text_l": ""}, YES),
        ({"text_g": YES, "text_l": "oil painting"}, f"{YES} | oil painting"),
        ({"clip_l": "white horse", "t5xxl": YES}, YES),
        ({"clip_l": "", "clip_g": YES, "t5xxl": YES}, YES),
        ({"clip_l": YES, "clip_g": YES, "t5xxl": YES, "llama": YES}, YES),
        ({"system_prompt": "You are an artist.", "user_prompt": YES}, YES),
        ({"text": YES, "text_g": "old", "text_l": "", "with_SDXL": False}, YES),
    ],
)
def test_encoders_of_several_texts_tell_each_once(texts: dict, expected: str) -> None:
    assert told(graph(yes=node("CLIPTextEncodeX", clip=["model", 1], **texts))) == (expected, NO)


def test_areas_and_joined_conditions_stand_side_by_side() -> None:
    area = graph(
        left=node("ConditioningSetArea", conditioning=["yes", 0], width=64, strength=1.0),
        right=node("ConditioningSetMask", conditioning=["other", 0], mask=["empty", 0]),
        other=encoder("a dark wood"),
        both=node("ConditioningCombine", conditioning_1=["left", 0], conditioning_2=["right", 0]),
        more=node("ConditioningConcat", conditioning_to=["both", 0], conditioning_from=["yes", 0]),
        late=node("ConditioningSetTimestepRange", conditioning=["more", 0], start=0.0, end=1.0),
        sampler=sampler(["late", 0], ["no", 0]),
    )
    assert told(area) == (f"{YES} | a dark wood", NO)


def test_base_and_refiner_tell_one_prompt_once() -> None:
    two = graph(
        base=sampler(["yes", 0], ["no", 0], "KSamplerAdvanced"),
        yes2=encoder(f" {YES.upper()}  "),
        no2=encoder(NO),
        sampler=sampler(["yes2", 0], ["no2", 0], "KSamplerAdvanced", latent_image=["base", 0]),
    )
    assert told(two) == (YES, NO)
    two["yes2"] = encoder("sharp fur")
    assert told(two) == (f"{YES} | sharp fur", NO)


def test_what_was_not_saved_does_not_count() -> None:
    beside = graph(
        other=encoder("a red fox"),
        sampler2=sampler(["other", 0], ["no", 0]),
        decode2=node("VAEDecode", samples=["sampler2", 0], vae=["model", 2]),
        seen=node("PreviewImage", images=["decode2", 0]),
    )
    assert told(beside) == (YES, NO)


def test_numbers_and_names_come_through_other_nodes() -> None:
    linked = graph(
        number=node("CR Seed", seed=99),
        count=node("PrimitiveInt", value=12),
        lora=node("LoraLoader", model=["model", 0], clip=["model", 1], lora_name="fur"),
        sampler=sampler(
            ["yes", 0], ["no", 0], seed=["number", 0], steps=["count", 0], model=["lora", 0]
        ),
    )
    found = read_graph(json.dumps(linked))
    assert found is not None
    assert (found.seed, found.steps, found.model) == (99, 12, "dream.safetensors")


def test_pictures_from_a_service_have_their_prompt() -> None:
    service = {
        "make": node("FluxProUltraImageNode", prompt=["words", 0], seed=3, aspect_ratio="16:9"),
        "words": node("PrimitiveString", value=YES),
        "save": node("SaveImage", images=["make", 0], filename_prefix="x"),
    }
    assert told(service) == (YES, "")


def test_empty_prompts_are_told_apart_from_none_and_from_unknown_ones() -> None:
    assert told(graph(yes=encoder(""))) == ("", NO)
    larger = {
        "load": node("LoadImage", image="a.png", upload="image"),
        "up": node("ImageUpscaleWithModel", image=["load", 0]),
        "save": node("SaveImage", images=["up", 0], filename_prefix="x"),
    }
    assert read_graph(json.dumps(larger)) is None
    seen = node("SVD_img2vid_Conditioning", clip_vision=["model", 1], init_image=["empty", 0])
    film = graph(seen=seen, sampler=sampler(["seen", 0], ["seen", 1]))
    assert read_graph(json.dumps({k: v for k, v in film.items() if k not in ("yes", "no")})) is None
    for strange in (
        graph(yes=encoder(["llm", 0]), llm=node("TextGenerate", prompt="You write prompts.")),
        graph(yes=node("LoadConditioning", file="a.pt")),
        {"own": node("Mine", my_words=YES), "make": sampler(["own", 0], ["own", 1])},
        {"own": node("LLM"), "make": sampler(["own", 0], ["own", 1])},
        {
            "words": node("StrangeTextThing", text=YES),
            "save": node("SaveImage", images=["words", 0]),
        },
    ):
        with pytest.raises(ValueError, match="not known"):
            read_graph(json.dumps(strange))


def quick(table: Any, workflow: str = "") -> None:
    start = time.process_time()
    with contextlib.suppress(ValueError, RecursionError):
        read_graph(json.dumps(table), workflow)
    assert time.process_time() - start < 2


def narrowed(table: dict) -> dict:
    """The node with as many inputs as one may have."""
    inputs = list(table["inputs"].items())[: comfyui.MAX_INPUTS]
    return node(table["class_type"], **dict(inputs))


def test_hostile_graphs_end_soon() -> None:
    n = comfyui.MAX_NODES - 10
    chain = {str(i): node("Reroute", conditioning=[str(i + 1), 0]) for i in range(n)}
    doubled = {
        str(i): node("StringConcatenate", string_a=[str(i + 1), 0], string_b=[str(i + 1), 0])
        for i in range(n)
    }
    forked = {
        str(i): node(
            "ConditioningCombine",
            a_cond=[str(i + 1), 0],
            b_cond=[str((i * 7) % n), 0],
            text="x" * i,
        )
        for i in range(n)
    }
    wide = {"0": node("Mix", **{f"cond{i}": [str(i % n), 0] for i in range(30_000)})}
    many = {str(i): sampler(["yes", 0], ["no", 0], model=[str(i + 1), 0]) for i in range(n)}
    ring = {"0": node("A", conditioning=["0", 0], text=["0", 0], model=["0", 0])}
    for more in (chain, doubled, forked, wide, many, ring):
        quick(graph(**more, yes=encoder(["0", 0]), sampler=sampler(["0", 0], ["0", 1])))
        quick(more)
    quick(through("context" * 100_000))
    slots = {
        "crowded": node("A", model=["model", 0], **{f"a{i}": "" for i in range(15_000)}),
        "yes": node("B", **{f"cond{i}": ["crowded", i] for i in range(30_000)}),
    }
    quick(graph(**slots))
    quick(graph(**{name: narrowed(table) for name, table in slots.items()}))
    long = graph(yes=encoder(["0", 0]), **doubled)
    long[str(n)] = node("PrimitiveString", value="y" * 10_000)
    quick(long)
    quick({str(i): node("A") for i in range(50_000)})
    quick(graph(), '{"nodes": [' + '{"id": 1, "outputs": [{}]},' * 20_000 + "1]}")


names = st.sampled_from(
    "positive negative text conditioning guider pipe sampler sampler_name steps sigmas model seed "
    "switch on_true on_false select input1 input2 delimiter string_a string_b find replace".split()
)
links = st.tuples(st.sampled_from("abcdef"), st.integers(0, 3)).map(list)
values = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=5) | links | st.lists(links)
)
kinds = st.sampled_from(
    "KSampler ConditioningZeroOut StringConcatenate TextGenerate SaveImage Reroute".split()
)


@given(
    st.dictionaries(
        st.sampled_from("abcdef"),
        st.builds(lambda kind, inputs: node(kind, **inputs), kinds, st.dictionaries(names, values)),
    )
)
def test_any_graph_is_read_or_refused(table: dict) -> None:
    try:
        found = read_graph(json.dumps(table))
    except ValueError:
        return
    assert found is None or isinstance(found.prompt, str)
