"""ComfyUI's nodes with two sides under longer names, and nodes that add to what they are handed."""

import pytest
from comfy_graphs import NO, YES, custom, encoder, graph, node, sampler, told


@pytest.mark.parametrize(
    "kind, plus, minus",
    [
        ("PairConditioningSetProperties", "positive_NEW", "negative_NEW"),
        ("CR Apply Multi-ControlNet", "base_positive", "base_negative"),
        ("One of somebody's own", "conditioning_positive", "conditioning_negative"),
        ("One of somebody's own", "pos_cond", "neg_cond"),
    ],
)
def test_the_two_sides_have_longer_names_too(kind: str, plus: str, minus: str) -> None:
    sides = {plus: ["yes", 0], minus: ["no", 0], "switch": "On", "strength": 1.0}
    between = {"between": node(kind, **sides)}
    assert told(graph(**between, sampler=sampler(["between", 0], ["between", 1]))) == (YES, NO)


@pytest.mark.parametrize(
    "kind, names",
    [
        ("PairConditioningCombine", "positive_A negative_A positive_B negative_B"),
        (
            "PairConditioningSetDefaultCombine",
            "positive negative positive_DEFAULT negative_DEFAULT",
        ),
        ("ConditioningSetMaskAndCombine", "positive_1 negative_1 positive_2 negative_2"),
    ],
)
def test_two_pairs_are_joined_side_by_side(kind: str, names: str) -> None:
    links = ([name, 0] for name in ("yes", "no", "more", "less"))
    pairs = node(kind, mask_1=["empty", 0], **dict(zip(names.split(), links, strict=True)))
    both = graph(
        pairs=pairs,
        more=encoder("a dog"),
        less=encoder("noise"),
        sampler=sampler(["pairs", 0], ["pairs", 1]),
    )
    assert told(both) == (f"{YES} | a dog", f"{NO} | noise")


def test_the_second_condition_of_a_dual_guider_may_be_the_negative_one() -> None:
    ends = {"model": ["model", 0], "cond1": ["ref", 0], "cond2": ["ref2", 0], "negative": ["no", 0]}
    references = {
        "ref": node("ReferenceLatent", conditioning=["yes", 0], latent=["empty", 0]),
        "ref2": node("ReferenceLatent", conditioning=["no", 0], latent=["empty", 0]),
    }
    assert told(custom(guider=node("DualCFGGuider", **ends), **references)) == (YES, NO)
    pixels = node("InstructPixToPixConditioning", positive=["yes", 0], negative=["no", 0])
    ends |= {"cond1": ["pixels", 0], "cond2": ["pixels", 1], "negative": ["yes", 0]}
    assert told(custom(guider=node("DualCFGGuider", **ends), pixels=pixels)) == (YES, NO)


def test_a_text_linked_to_both_sides_is_no_second_prompt() -> None:
    slip = graph(face=sampler(["no", 0], ["no", 0], latent_image=["sampler", 0]))
    slip["decode"]["inputs"]["samples"] = ["face", 0]
    assert told(slip) == (YES, NO)
    assert told(graph(sampler=sampler(["yes", 0], ["yes", 0]))) == (YES, YES)


def test_conditions_are_followed_through_nodes_that_add_to_them() -> None:
    sun = {
        "conditioning_to": ["yes", 0],
        "clip": ["model", 1],
        "gligen_textbox_model": ["model", 0],
    }
    boxes = graph(
        sun=node("GLIGENTextBoxApply", text="the sun", width=64, height=64, **sun),
        horse=node("GLIGENTextBoxApply", **{**sun, "text": "horse", "conditioning_to": ["sun", 0]}),
        sampler=sampler(["horse", 0], ["no", 0]),
    )
    assert told(boxes) == (f"{YES} | the sun", NO)
    cut = graph(
        base=node("BNK_CutoffBasePrompt", text=YES, clip=["model", 1]),
        regions=node("BNK_CutoffSetRegions", region_text="horse", clip_regions=["base", 0]),
        cut=node("BNK_CutoffRegionsToConditioning", mask_token="", clip_regions=["regions", 0]),
        sampler=sampler(["cut", 0], ["no", 0]),
    )
    assert told(cut) == (YES, NO)
