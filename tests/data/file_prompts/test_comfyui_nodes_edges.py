"""What ComfyUI's nodes call what carries a prompt, rule by rule: parts, switches, samplers."""

from typing import Any

import pytest
from comfy_graphs import NO, YES, encoder, graph, node, sampler, told

from img2prompt.data.file_prompts.comfyui_nodes import (
    branches,
    chooser,
    delimiter,
    is_link,
    is_sampler,
    makes_of_text,
    parts,
    sided,
)

LINK, OTHER = ["yes", 0], ["no", 1]


@pytest.mark.parametrize("value", [["4", 0], [4, 1], ["a node's name", 12]])
def test_a_link_names_a_node_and_a_slot(value: Any) -> None:
    assert is_link(value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "4",
        4,
        {},
        [],
        ["4"],
        ["4", "0"],
        ["4", 0, 1],
        ("4", 0),
        [None, 0],
        [["4"], 0],
        [0.5, 0],
    ],
)
def test_anything_else_is_no_link(value: Any) -> None:
    assert not is_link(value)


def test_a_side_is_told_by_its_name_whatever_stands_around_it() -> None:
    names = (
        "positive positive_NEW base_positive conditioning_positive pos POS_1 positive2 pos2 "
        "negative negative_NEW base_neg NEGATIVE"
    ).split()
    inputs = dict.fromkeys(names, LINK)
    assert sided(inputs, "positive") == names[:8]
    assert sided(inputs, "negative") == names[8:]


@pytest.mark.parametrize(
    "name",
    [
        *"position positively opposite compos posterior negate".split(),
        *"positive_image pos_mask positive_latent pos_strength positive_clip neg_weight".split(),
    ],
)
def test_a_name_that_only_looks_like_a_side_is_none(name: str) -> None:
    assert sided({name: LINK}, "positive") == sided({name: LINK}, "negative") == []


def test_only_links_are_on_a_side() -> None:
    assert sided({"positive": YES, "pos": None, "base_positive": LINK}, "positive") == [
        "base_positive"
    ]


@pytest.mark.parametrize("needed", ["sampler_name", "steps", "sigmas", "sampler"])
@pytest.mark.parametrize(
    "name",
    ["positive", "conditioning", "cond1", "guider", "basic_pipe", "ctx", "base_positive"],
)
def test_a_sampler_has_conditions_and_says_how_to_sample(name: str, needed: str) -> None:
    assert is_sampler({name: LINK, needed: 20})
    assert not is_sampler({name: LINK})
    assert not is_sampler({needed: 20})
    assert not is_sampler({name: "a text", needed: 20})
    assert not is_sampler({name: LINK, needed: 20, "Filename_prefix": "x"})


@pytest.mark.parametrize("seed", ["seed", "noise_seed"])
def test_both_sides_and_a_seed_make_a_sampler_too(seed: str) -> None:
    both = {"base_positive": LINK, "base_negative": OTHER}
    assert is_sampler({**both, seed: 1})
    assert not is_sampler(both)
    for name in both:
        assert not is_sampler({name: LINK, seed: 1})


def test_a_service_takes_a_prompt_and_no_encoder() -> None:
    assert makes_of_text({"prompt": YES, "seed": 1})
    assert not makes_of_text({"text": YES})
    assert not makes_of_text({"prompt": YES, "clip": LINK})
    assert not makes_of_text({"prompt": YES, "filename_prefix": "x"})


@pytest.mark.parametrize(
    "kind", ["StringConcatenate", "JoinStrings", "Combine", "text_append", "MERGE texts"]
)
@pytest.mark.parametrize(
    "names",
    [
        *(["text_a", "text_b"], ["text1", "text2", "text10"], ["a", "b"], ["string_1", "string_2"]),
        *(["prompt1", "prompt2"], ["part_1", "part_2"], ["input1", "input2"], ["str1", "str2"]),
        *(["VALUE_1", "VALUE_2"], ["textA", "textB"]),
    ],
)
def test_parts_stand_in_the_order_of_their_numbers_or_letters(kind: str, names: list[str]) -> None:
    inputs = {name: name for name in reversed(names)} | {"text_long": "x", "c": "x", "seed1": 1}
    assert parts(kind, inputs) == names


def test_parts_are_put_together_only_where_something_says_so() -> None:
    two = {"text_a": "x", "text_b": "y"}
    assert parts("Show", two) == []
    assert parts("Show", {**two, "action": "append"}) == ["text_a", "text_b"]
    assert parts("Show", {**two, "action": "prepend"}) == []
    assert parts("Show", {**two, "delimiter": ", "}) == ["text_a", "text_b"]
    assert parts("Show", {**two, "separator": ", "}) == ["text_a", "text_b"]
    assert parts("Concat", {"text_a": "x"}) == []
    assert parts("Concat", {"text": "x", "prompt": "y"}) == []


@pytest.mark.parametrize(
    "inputs, expected",
    [
        ({}, ""),
        ({"delimiter": " | "}, " | "),
        ({"separator": "; "}, "; "),
        ({"delimiter": "+", "separator": "; "}, "+"),
        ({"delimiter": ["4", 0], "separator": "; "}, "; "),
        ({"delimiter": "none"}, ""),
        ({"delimiter": "comma"}, ", "),
        ({"delimiter": "space"}, " "),
        ({"delimiter": "newline"}, "\n"),
        ({"delimiter": ",\\n"}, ",\n"),
        ({"delimiter": "", "tidy_tags": "yes"}, ""),
        ({"tidy_tags": "yes"}, ", "),
        ({"tidy_tags": "no"}, ""),
        ({"linebreak_addition": "true"}, "\n"),
        ({"linebreak_addition": "True"}, "\n"),
        ({"linebreak_addition": True}, "\n"),
        ({"linebreak_addition": "false"}, ""),
        ({"linebreak_addition": None}, ""),
        ({"tidy_tags": "yes", "linebreak_addition": True}, ", "),
    ],
)
def test_what_stands_between_the_parts(inputs: dict, expected: str) -> None:
    assert delimiter(inputs) == expected


CHOOSERS = "switch boolean cond condition select Input index selection".split()


@pytest.mark.parametrize("name", CHOOSERS)
def test_what_says_which_branch_is_taken(name: str) -> None:
    assert chooser({"a": 1, name: 2}) == name
    assert chooser({name: LINK}) == name
    assert chooser({name: False}) == name
    assert chooser({name: {"a": "table"}}) is None
    assert chooser({name.swapcase(): 2}) is None


def test_of_two_choosers_the_first_that_is_no_table_counts() -> None:
    assert chooser({}) is None
    assert [chooser(dict.fromkeys(reversed(CHOOSERS[at:]), 1)) for at in range(8)] == CHOOSERS
    assert chooser({"switch": {}, "index": 1}) == "index"


def test_a_switch_that_takes_any_follows_all_its_links_in_order() -> None:
    inputs = {"any_02": LINK, "any_01": OTHER, "any_03": None, "index": 2}
    for kind in ("Any Switch (rgthree)", "anyswitch", "ANY_SWITCH"):
        assert branches(kind, inputs, 2) == ["any_01", "any_02"]


@pytest.mark.parametrize(
    "yes, no",
    [
        ("on_true", "on_false"),
        ("tt_value", "ff_value"),
        ("true", "false"),
        ("if_true", "if_false"),
    ],
)
def test_a_switch_of_two_goes_the_chosen_way_first(yes: str, no: str) -> None:
    for inputs in ({"switch": 1, yes: LINK, no: OTHER}, {"switch": 1, no: OTHER, yes: LINK}):
        assert branches("Switch", inputs, True) == [yes, no]
        assert branches("Switch", inputs, False) == [no, yes]
        assert branches("Switch", inputs, None) == [yes, no]  # unknown: both are looked at
    assert branches("Switch", {yes: LINK, no: OTHER}, True) is None  # nothing chooses
    assert branches("Switch", {"boolean": 1, yes: LINK}, False) == [yes]
    assert branches("Switch", {"boolean": 1, no: LINK}, True) == [no]


def test_a_switch_between_a_and_b_needs_a_truth_value() -> None:
    inputs = {"boolean": True, "text_a": YES, "text_b": NO, "title": "x"}
    assert branches("Switch", inputs, True) == ["text_a", "text_b"]
    assert branches("Switch", inputs, False) == ["text_b", "text_a"]
    assert branches("Switch", inputs, 1) is None
    assert branches("Switch", inputs, None) is None
    # Names that say true and false count before letters.
    mixed = {"switch": True, "on_true": YES, "on_false": NO, "model_a": LINK, "model_b": LINK}
    assert branches("Switch", mixed, False) == ["on_false", "on_true"]


def test_a_switch_of_many_takes_the_number_at_the_end_of_a_name() -> None:
    inputs = {"select": 2, "input1": LINK, "input2": OTHER, "input12": LINK, "sel_mode": True}
    assert branches("ImpactSwitch", inputs, 1) == ["input1"]
    assert branches("ImpactSwitch", inputs, 2) == ["input2"]
    assert branches("ImpactSwitch", inputs, 12) == ["input12"]
    assert branches("ImpactSwitch", inputs, 3) is None
    assert branches("ImpactSwitch", inputs, None) is None
    assert branches("ImpactSwitch", inputs, "2") is None
    assert branches("ImpactSwitch", {"select": 1, "input1": LINK}, 1) is None  # nothing to choose
    two = {"index": 0, "value_0": LINK, "value_1": OTHER}
    assert branches("Index", two, 0) == ["value_0"]
    assert branches("Index", two, 1) == ["value_1"]


@pytest.mark.parametrize("on, expected", [(True, YES), (False, "a brown cow")])
def test_the_chosen_branch_of_a_graph_is_its_prompt(on: bool, expected: str) -> None:
    switch = node("Switch", boolean=on, on_true=["one", 0], on_false=["two", 0])
    table = graph(
        one=node("PrimitiveString", value=YES),
        two=node("PrimitiveString", value="a brown cow"),
        switch=switch,
        made=encoder(["switch", 0]),
        sampler=sampler(["made", 0], ["no", 0]),
    )
    assert told(table) == (expected, NO)


@pytest.mark.parametrize("select, expected", [(1, YES), (2, "a brown cow"), (3, "a fox")])
def test_the_chosen_number_of_a_graph_is_its_prompt(select: int, expected: str) -> None:
    inputs = {"input1": YES, "input2": "a brown cow", "input3": "a fox", "select": select}
    table = graph(
        switch=node("TextSwitch", **inputs),
        made=encoder(["switch", 0]),
        sampler=sampler(["made", 0], ["no", 0]),
    )
    assert told(table) == (expected, NO)


@pytest.mark.parametrize("between, glue", [("comma", ", "), (" / ", " / "), ("\\n", "\n")])
def test_parts_of_a_graph_are_joined_as_the_node_says(between: str, glue: str) -> None:
    joined = node("Text Concatenate", text_b="in snow", text_a=YES, delimiter=between)
    table = graph(
        joined=joined, made=encoder(["joined", 0]), sampler=sampler(["made", 0], ["no", 0])
    )
    assert told(table) == (f"{YES}{glue}in snow", NO)
