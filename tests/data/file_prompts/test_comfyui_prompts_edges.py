"""ComfyUI's graphs at their edges: slots, ways that lead nowhere, what is too much, settings."""

import itertools
import json
from typing import Any

import pytest
from comfy_graphs import NO, SETTINGS, YES, encoder, graph, node, sampler, through, told

from img2prompt.data.file_prompts import comfyui
from img2prompt.data.file_prompts.comfyui import read_graph
from img2prompt.data.file_prompts.records import FilePrompt

COW = "a brown cow in a field"


def found(table: Any, workflow: Any = "") -> FilePrompt:
    result = read_graph(
        json.dumps(table), workflow if isinstance(workflow, str) else json.dumps(workflow)
    )
    assert result is not None
    return result


def unknown(table: dict) -> None:
    with pytest.raises(ValueError, match=r"^a prompt in nodes that are not known here$"):
        read_graph(json.dumps(table))


# --- the file -------------------------------------------------------------------------------------


def test_a_plain_graph_is_read_whole() -> None:
    expected = FilePrompt(YES, NO, "ComfyUI", "dream.safetensors", "euler", 1, 25)
    assert found(graph()) == expected
    assert read_graph(json.dumps(graph()) + " \n\0\0") == expected
    # What is no node is left out.
    assert found(graph() | {"a": 1, "b": {"inputs": []}, "c": {"class_type": "X"}}) == expected


@pytest.mark.parametrize("text", ["[]", "7", "null", '"a graph"'])
def test_what_is_no_table_is_no_graph(text: str) -> None:
    with pytest.raises(ValueError, match=r"^this is no graph$"):
        read_graph(text)


def test_too_much_is_refused_and_the_most_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comfyui, "MAX_NODES", len(graph()))
    assert told(graph()) == (YES, NO)
    with pytest.raises(ValueError, match=r"^too many nodes, or inputs of one$"):
        told(graph(more=node("Note", text="x")))
    monkeypatch.setattr(comfyui, "MAX_INPUTS", 9)
    assert len(graph()["sampler"]["inputs"]) == 9 and told(graph()) == (YES, NO)
    with pytest.raises(ValueError, match=r"^too many nodes, or inputs of one$"):
        told(graph(sampler=sampler(["yes", 0], ["no", 0], denoise=1.0)))


def test_links_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comfyui, "MAX_LINKS", 2)
    assert told(graph()) == (YES, NO)
    monkeypatch.setattr(comfyui, "MAX_LINKS", 1)
    with pytest.raises(ValueError, match=r"^too many links$"):
        told(graph())


def test_a_long_way_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def chain(length: int) -> dict:
        names = ["yes", *(f"way{at}" for at in range(length))]
        ways = {
            name: node("ConditioningSetArea", conditioning=[before, 0])
            for before, name in itertools.pairwise(names)
        }
        return graph(**ways, sampler=sampler([names[-1], 0], ["no", 0]))

    monkeypatch.setattr(comfyui, "MAX_DEPTH", 5)
    assert told(chain(5)) == (YES, NO)
    unknown(chain(6))


def test_samplers_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comfyui, "MAX_SAMPLERS", 1)
    two = graph(
        cow=encoder(COW), second=sampler(["cow", 0], ["no", 0], latent_image=["sampler", 0])
    )
    two["decode"] = node("VAEDecode", samples=["second", 0])
    assert told(two) == (YES, NO)
    services = {"a": node("Web", prompt=YES), "b": node("Web", prompt=COW)}
    assert told(services) == (YES, "")
    monkeypatch.setattr(comfyui, "MAX_SAMPLERS", 2)
    assert told(two) == (*told(services)[:1], NO) == (f"{YES} | {COW}", NO)


def test_texts_side_by_side_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comfyui, "MAX_PARTS", 2)
    texts = {f"text{at}": encoder(f"part {at} of it") for at in range(3)}
    links = {f"conditioning_{at}": [f"text{at}", 0] for at in range(3)}
    both = graph(both=node("Combine", **links), sampler=sampler(["both", 0], ["no", 0]), **texts)
    assert told(both) == ("part 0 of it | part 1 of it", NO)


# --- which slot is which --------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("+", "-"), ("Positive", "NEG"), ("pos_1", "neg_1")])
def test_the_drawn_graph_names_the_slots(names: tuple[str, str]) -> None:
    """The first output is the negative one here, if the drawing does not say otherwise."""
    outputs = [{"name": names[1]}, {}, {"name": names[0]}]
    drawn = {"nodes": [{"id": 3, "outputs": None}, {"id": "between", "outputs": outputs}]}
    assert told(through("Strange", (2, 0)), drawn) == (YES, NO)


@pytest.mark.parametrize("drawn", ["{", "[]", "{}", '{"nodes": [{}]}', '{"nodes": [1]}', "7"])
def test_a_drawing_that_cannot_be_read_names_none(drawn: str) -> None:
    result = found(through("Strange"), drawn)
    assert (result.prompt, result.negative) == (YES, NO)


@pytest.mark.parametrize("slots", [(0, 1), (1, 2), (2, 5), (0, 3)])
def test_the_two_slots_that_are_used_are_the_two_sides(slots: tuple[int, int]) -> None:
    assert told(through("Strange", slots)) == (YES, NO)


def test_a_slot_that_is_neither_carries_the_side_that_asks() -> None:
    three = through("Strange", (0, 1))
    three["more"] = node("Look", conditioning=["between", 2])
    assert told(three) == (YES, NO)
    three = through("Strange", (2, 1))
    three["more"] = node("Look", conditioning=["between", 0])
    assert told(three) == (YES, NO)


@pytest.mark.parametrize(
    "kind, slots",
    [
        ("ApplyInstantID", (1, 2)),
        ("Eff. Loader SDXL", (1, 2)),
        ("FromBasicPipe", (3, 4)),
        ("FromDetailerPipe", (3, 4)),
        ("FromBasicPipe_v2", (4, 5)),
        ("Context Switch (rgthree)", (4, 5)),
        ("ttN pipeOUT", (2, 3)),
        ("another", (0, 1)),
    ],
)
def test_kinds_of_node_have_slots_of_their_own(kind: str, slots: tuple[int, int]) -> None:
    """Both are also asked on their own, where no second slot tells which one it is."""
    assert told(through(kind, slots)) == (YES, NO)
    alone = through(kind, slots)
    alone["sampler"] = sampler(["between", slots[1]], ["no", 0])
    assert told(alone)[0] == NO


def test_bundles_carry_the_side_of_the_slot() -> None:
    pipe = node("ToBasicPipe", positive=["yes", 0], negative=["no", 0])
    unpacked = node("Unpack", basic_pipe=["pipe", 0])
    swapped = graph(pipe=pipe, unpacked=unpacked, sampler=sampler(["unpacked", 1], ["unpacked", 0]))
    assert told(swapped) == (NO, YES)


# --- ways -----------------------------------------------------------------------------------------


def test_a_switch_of_conditions_goes_the_chosen_way() -> None:
    ways = {"on_true": ["yes", 0], "on_false": ["cow", 0]}
    for on, expected in ((True, YES), (False, COW)):
        table = graph(
            cow=encoder(COW),
            way=node("Switch", switch=on, **ways),
            sampler=sampler(["way", 0], ["no", 0]),
        )
        assert told(table) == (expected, NO)
    lost = graph(
        way=node("Switch", switch=True, on_true=["gone", 0], on_false=["gone", 1]),
        sampler=sampler(["way", 0], ["no", 0]),
    )
    unknown(lost)


def test_a_circle_ends_where_it_began() -> None:
    turn = graph(
        one=node("ConditioningCombine", conditioning_1=["two", 0], conditioning_2=["yes", 0]),
        two=node("ConditioningSetArea", conditioning=["one", 0]),
        sampler=sampler(["two", 0], ["no", 0]),
    )
    assert told(turn) == (YES, NO)


def test_words_are_added_to_the_conditions_before_them() -> None:
    boxed = node("GLIGENTextBoxApply", conditioning_to=["yes", 0], text="a hat", clip=["model", 1])
    assert told(graph(box=boxed, sampler=sampler(["box", 0], ["no", 0]))) == (
        f"{YES} | a hat",
        NO,
    )
    same = node("GLIGENTextBoxApply", conditioning_to=["yes", 0], text="white horse")
    assert told(graph(box=same, sampler=sampler(["box", 0], ["no", 0]))) == (YES, NO)


def test_links_that_lead_to_no_words_are_not_followed() -> None:
    aside = {"clip": ["cow", 0], "model": ["cow", 0], "image": ["cow", 0], "anything_x": ["yes", 0]}
    assert told(
        graph(cow=encoder(COW), way=node("Own", **aside), sampler=sampler(["way", 0], ["no", 0]))
    ) == (YES, NO)
    # A link that says so comes before any other.
    said = {"thing": ["cow", 0], "embeds": ["yes", 0]}
    assert told(
        graph(cow=encoder(COW), way=node("Own", **said), sampler=sampler(["way", 0], ["no", 0]))
    ) == (YES, NO)


@pytest.mark.parametrize("value, expected", [(7, "7"), (0.5, "0.5"), (10**30, "1" + "0" * 19)])
def test_a_number_is_a_text_too(value: Any, expected: str) -> None:
    joined = node("Concat", text_a="a fox", text_b=value, delimiter=" ")
    assert told(graph(joined=joined, yes=encoder(["joined", 0]))) == (f"a fox {expected}", NO)


def test_a_text_of_one_node_depends_on_the_slot() -> None:
    styler = node("Styler", text_positive=YES, text_negative=NO)
    swapped = graph(yes=encoder(["styler", 1]), no=encoder(["styler", 0]), styler=styler)
    assert told(swapped) == (NO, YES)
    names = {f"text_{letter}": f"words of {letter}" for letter in "bcdefgh"}
    for slot, letter in enumerate("abcdefgh"):
        many = graph(yes=encoder(["many", slot]), many=node("Text String", text=YES, **names))
        assert told(many) == (f"words of {letter}" if slot else YES, NO)
    last = graph(yes=encoder(["many", 30]), many=node("Text String", text=YES, **names))
    assert told(last) == ("words of h", NO)


def test_what_a_node_showed_counts_where_its_words_are_not_known() -> None:
    known = node("ShowText", text=["words", 0], text_0="an older run")
    words = node("PrimitiveString", value=YES)
    assert told(graph(yes=encoder(["shown", 0]), shown=known, words=words)) == (YES, NO)
    written = node("Ollama", prompt="You write prompts.", text_0=YES)
    assert told(graph(yes=encoder(["shown", 0]), shown=written)) == (YES, NO)
    unknown(graph(yes=encoder(["shown", 0]), shown=node("Ollama", prompt="You write.", text_0="")))
    half = node("Concat", text_a="a fox", text_b=["gone", 0], delimiter=" ", text_0=YES)
    assert told(graph(yes=encoder(["half", 0]), half=half)) == (YES, NO)


@pytest.mark.parametrize("kind, key", [("Reroute", "text"), ("Concat", "text_a")])
def test_a_long_way_of_texts_ends_too(kind: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def chain(length: int) -> dict:
        ways = {f"n{at}": node(kind, **{key: [f"n{at + 1}", 0]}) for at in range(length)}
        for way in ways.values():  # a join needs two parts
            way["inputs"] |= {"text_b": ""} if kind == "Concat" else {}
        end = {f"n{length}": node("String", value=YES)}
        return graph(yes=encoder(["n0", 0]), **ways, **end)

    monkeypatch.setattr(comfyui, "MAX_DEPTH", 5)
    assert told(chain(4)) == (YES, NO)
    with pytest.raises(ValueError, match=r"not known here"):
        told(chain(5))


def test_a_bundle_comes_before_any_other_link() -> None:
    pipes = {
        "pipe": node("ToBasicPipe", positive=["yes", 0], negative=["no", 0]),
        "other": node("ToBasicPipe", positive=["cow", 0], negative=["no", 0]),
    }
    taken = node("Sampler", thing=["other", 0], basic_pipe=["pipe", 0], **SETTINGS)
    assert told(graph(cow=encoder(COW), sampler=taken, **pipes)) == (YES, NO)


def test_words_are_replaced_a_thousand_times_at_most() -> None:
    def replaced(**inputs: str) -> str:
        return told(graph(yes=encoder(["way", 0]), way=node("StringReplace", **inputs)))[0]

    assert replaced(string="a" * 1_001, find="a", replace="b") == "b" * 1_000 + "a"
    assert replaced(string="a fox", find="cat", replace="b") == "a fox"
    assert len(replaced(string="a" * 999, find="a", replace="b" * 99)) == 20_000
