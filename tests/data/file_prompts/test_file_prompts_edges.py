"""Which of several texts of a file counts, and where the line lies between a prompt and a note."""

import json
from typing import Any

import pytest
from prompt_files import (
    commented,
    exif_file,
    hidden_bits,
    hidden_file,
    png,
    saved,
    unicode_comment,
    with_chunk,
)
from test_file_prompts import COMFY, COMFYUI, INVOKE, INVOKEAI, NOVELAI, PROMPT, WORKFLOW

from img2prompt.data.file_prompts.reading import (
    NOTHING,
    FilePrompt,
    Reading,
    read_making,
    read_prompt,
)

GRAPH = json.dumps(COMFY)
FOX = "a red fox\nNegative prompt: snow\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5"
FOX_TOLD = FilePrompt("a red fox", "snow", "AUTOMATIC1111", None, "Euler", 5, 20)
EMPTY = "Negative prompt: snow\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5"
EMPTY_TOLD = Reading("empty", FilePrompt("", "snow", "AUTOMATIC1111", None, "Euler", 5, 20))
UNKNOWN = "unknown\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5"


def graph(text: Any) -> str:
    """ComfyUI's graph with other words."""
    table = json.loads(GRAPH)
    table["6"]["inputs"]["text"] = text
    return json.dumps(table)


def comment(table: Any) -> bytes:
    """A JPEG whose comment is a table."""
    return commented("JPEG", unicode_comment(json.dumps(table)))


# --- which of several counts ----------------------------------------------------------------------


def test_the_first_prompt_that_is_found_counts() -> None:
    both = png({"parameters": FOX, "prompt": GRAPH})
    assert read_prompt(both) == FOX_TOLD
    table = json.dumps({"sui_image_params": {"prompt": "a cat"}})
    found = read_prompt(png({"sui_image_params": json.dumps({"prompt": "a cat"})}))
    assert found is not None and (found.prompt, found.tool) == ("a cat", "SwarmUI")
    assert read_prompt(png({"parameters": table})) == found
    # A damaged text before it is passed over.
    assert read_prompt(png({"generation_data": "{damaged", "parameters": FOX})) == FOX_TOLD


def test_an_empty_or_unknown_prompt_gives_way_to_a_told_one() -> None:
    assert read_making(png({"parameters": EMPTY})) == EMPTY_TOLD
    assert read_prompt(png({"parameters": EMPTY, "prompt": GRAPH})) == COMFYUI
    assert read_prompt(png({"parameters": UNKNOWN, "prompt": GRAPH})) == COMFYUI
    # Where nothing else is told, "unknown" may be the prompt itself, and says more than nothing.
    for texts in (
        {"parameters": UNKNOWN, "prompt": graph("")},
        {"sui_image_params": json.dumps({"prompt": ""}), "parameters": UNKNOWN},
    ):
        reading = read_making(png(texts))
        assert reading.state == "found" and reading.told.prompt == "unknown"
        assert reading.told.tool == "AUTOMATIC1111"


def test_of_two_empty_prompts_the_first_is_told() -> None:
    reading = read_making(png({"parameters": EMPTY, "prompt": graph("")}))
    assert reading == EMPTY_TOLD
    unknown = png({"parameters": UNKNOWN, "prompt": graph("unknown")})
    assert read_making(unknown).told.tool == "AUTOMATIC1111"


def test_a_reader_that_fails_hides_no_empty_prompt() -> None:
    texts = {"generation_data": "{damaged", "parameters": EMPTY}
    assert read_making(png(texts)) == EMPTY_TOLD


def test_what_stands_in_the_pixels_is_asked_after_the_texts() -> None:
    def with_text(hidden: bytes, text: str) -> bytes:
        return with_chunk(hidden, b"tEXt", b"parameters\0" + text.encode(), before=b"IDAT")

    cat = hidden_file(FOX.replace("a red fox", "a cat"))
    assert read_prompt(cat).prompt == "a cat"
    assert read_prompt(with_text(cat, FOX)) == FOX_TOLD
    assert read_prompt(with_text(cat, EMPTY)).prompt == "a cat"
    assert read_prompt(with_text(cat, '{"secret": "a fox"}')).prompt == "a cat"
    damaged = hidden_bits(b"stealth_pngcomp", b"no gzip at all")
    assert read_making(damaged) == Reading("unreadable")
    assert read_making(with_text(damaged, EMPTY)) == EMPTY_TOLD
    assert read_making(with_text(hidden_file(EMPTY), '{"secret": "a"}')) == EMPTY_TOLD
    assert read_making(hidden_file(EMPTY)) == EMPTY_TOLD
    # A text that nobody understands is there all the same.
    assert read_making(hidden_file("who knows")) == Reading("unreadable")
    assert read_making(with_text(hidden_bits(b"something_else_", b"x"), '{"secret": "a"}')) == (
        Reading("unreadable")
    )


def test_damaged_pixels_stop_no_prompt() -> None:
    whole = hidden_file(FOX)
    place = whole.index(b"IDAT") + 30
    broken = whole[:place] + bytes(40) + whole[place + 40 :]
    assert read_making(broken) == NOTHING
    with_text = png({"parameters": FOX})
    place = with_text.index(b"IDAT") + 10
    assert read_prompt(with_text[:place] + bytes(20) + with_text[place + 20 :]) == FOX_TOLD


# --- comments -------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["prompt:", "Prompt: ", "PROMPT:"])
def test_a_labelled_comment_is_what_its_label_says(label: str) -> None:
    for data in (
        saved("JPEG", comment=f"{label}{GRAPH}".encode()),
        exif_file("WEBP", {0x010E: f"{label}{GRAPH}".encode()}),
        exif_file("JPEG", {0x010F: f"{label}{GRAPH}\n\0 "}),
    ):
        assert read_prompt(data) == COMFYUI


def test_a_labelled_workflow_names_the_slots() -> None:
    other = {
        "3": {**COMFY["3"], "inputs": {**COMFY["3"]["inputs"], "positive": ["6", 1]}},
        "6": {
            "class_type": "OddTwins",
            "inputs": {"positive": "a red fox", "negative": "snow"},
        },
    }
    other["3"]["inputs"]["negative"] = ["6", 0]
    drawn = {
        "nodes": [{"id": 6, "outputs": [{"name": "negative"}, {"name": "positive"}]}],
        "links": [],
    }
    table = json.dumps(other)
    named = exif_file("WEBP", {0x0110: f"prompt:{table}", 0x010F: f"workflow:{json.dumps(drawn)}"})
    found = read_prompt(named)
    assert (found.prompt, found.negative) == ("a red fox", "snow")
    assert read_prompt(png({"prompt": table, "workflow": json.dumps(drawn)})) == found
    swapped = read_prompt(exif_file("WEBP", {0x0110: f"prompt:{table}"}))
    assert (swapped.prompt, swapped.negative) == ("snow", "a red fox")


def test_civitais_extra_metadata_is_read_wherever_it_stands() -> None:
    extra = {"prompt": "a red fox", "negativePrompt": "snow", "steps": 20, "seed": 5}
    enlarges = {"1": {"class_type": "ImageUpscale", "inputs": {"image": "a.png"}}}
    expected = FilePrompt("a red fox", "snow", "Civitai", None, None, 5, 20)
    for data in (
        png({"extraMetadata": json.dumps(extra)}),
        saved("JPEG", comment=f"extraMetadata: {json.dumps(extra)}".encode()),
        saved("JPEG", comment=f"extrametadata:{json.dumps(extra)}".encode()),
        comment({**enlarges, "extraMetadata": json.dumps(extra)}),
    ):
        assert read_prompt(data) == expected
    # No text, no table: the graph counts alone.
    assert read_making(comment({**enlarges, "extraMetadata": extra})) == NOTHING
    assert read_prompt(comment({**COMFY, "extraMetadata": 5})) == COMFYUI


def test_png_keys_count_before_comments() -> None:
    labelled = exif_file("PNG", {0x010E: f"prompt:{graph('a cat')}".encode()})
    assert read_prompt(labelled).prompt == "a cat"
    both = with_chunk(labelled, b"tEXt", b"prompt\0" + graph("a dog").encode(), before=b"IDAT")
    assert read_prompt(both).prompt == "a dog"
    both = with_chunk(labelled, b"tEXt", b"parameters\0" + FOX.encode(), before=b"IDAT")
    assert read_prompt(both) == FOX_TOLD
    table = exif_file("PNG", {0x010E: json.dumps({"parameters": "a cat"}).encode()})
    assert read_prompt(table).prompt == "a cat"
    both = with_chunk(table, b"tEXt", b"parameters\0" + FOX.encode(), before=b"IDAT")
    assert read_prompt(both) == FOX_TOLD
    written = exif_file("PNG", {0x010E: FOX.replace("a red fox", "a cat").encode()})
    both = with_chunk(written, b"tEXt", b"parameters\0" + FOX.encode(), before=b"IDAT")
    assert read_prompt(written).prompt == "a cat" and read_prompt(both) == FOX_TOLD


def test_a_comment_may_hold_what_png_keeps_in_single_texts() -> None:
    for table, expected in (
        ({"prompt": COMFY}, COMFYUI),
        ({"prompt": GRAPH, "workflow": WORKFLOW}, COMFYUI),
        ({"prompt": f"  {GRAPH}"}, COMFYUI),
        (COMFY, COMFYUI),
        ({"invokeai_metadata": INVOKE}, INVOKEAI),
        ({"invokeai_metadata": json.dumps(INVOKE)}, INVOKEAI),
        ({"parameters": FOX}, FOX_TOLD),
    ):
        assert read_prompt(comment(table)) == expected
        assert read_prompt(png({"parameters": json.dumps(table)})) == expected
        # Spaces and zeros around it are no part of it.
        padded = unicode_comment(f" \n{json.dumps(table)}\n \0\0")
        assert read_prompt(commented("JPEG", padded)) == expected


def test_words_under_prompt_in_a_table_are_the_words() -> None:
    table = {"prompt": "a red fox", "negative_prompt": "snow", "seed": 5, "steps": 20}
    expected = FilePrompt("a red fox", "snow", "JSON", None, None, 5, 20)
    for data in (comment(table), png({"parameters": json.dumps(table)})):
        assert read_prompt(data) == expected
    drawn = {"c": "a red fox", "uc": "snow", "seed": 5, "steps": 20, "sampler": "Euler"}
    expected = FilePrompt("a red fox", "snow", "Draw Things", None, "Euler", 5, 20)
    assert read_prompt(comment(drawn)) == expected
    # One of its two keys alone is any program's.
    for table in ({"c": "a red fox", "seed": 5}, {"uc": "snow", "seed": 5}):
        assert read_making(comment(table)) == NOTHING


@pytest.mark.parametrize(
    "table",
    [
        {"lens": "50 mm"},
        {"Software": "Phone 9", "Description": "a day at the sea"},
        {"Source": "camera", "c": 1},
        [{"prompt": "a red fox"}],
        [],
    ],
)
def test_tables_of_cameras_and_telephones_tell_nothing(table: Any) -> None:
    assert read_making(comment(table)) == NOTHING


def test_a_table_that_names_a_prompt_but_is_damaged_is_told() -> None:
    for written in (
        '{"prompt": "a red f',
        '{"positive_prompt_text": "a red f',
        '{"a": 1, "Prompt": "x',
        '{"inner": {"prompt": "a red fox"}}',
    ):
        for data in (
            saved("JPEG", comment=written.encode()),
            commented("WEBP", unicode_comment(written)),
        ):
            assert read_making(data) == Reading("unreadable"), written
    for written in ('{"lens": "50 m', '{"a prompt": 1'):
        assert read_making(saved("JPEG", comment=written.encode())) == NOTHING, written


def test_a_web_uis_text_may_begin_as_json() -> None:
    written = '{"scene": "a red fox"}\nNegative prompt: snow\nSteps: 20, Sampler: Euler, Seed: 5'
    expected = FilePrompt('{"scene": "a red fox"}', "snow", "AUTOMATIC1111", None, "Euler", 5, 20)
    for data in (png({"parameters": written}), saved("JPEG", comment=written.encode())):
        assert read_prompt(data) == expected
    assert read_making(png({"parameters": '{"scene": "a red fox"}'})) == Reading("unreadable")


# --- PNG's single texts ---------------------------------------------------------------------------


def test_pngs_comment_is_read_where_it_is_a_makers() -> None:
    table = {"prompt": "a red fox", "steps": 20, "seed": 5, "sampler": "Euler"}
    expected = FilePrompt("a red fox", "", "JSON", None, "Euler", 5, 20)
    assert read_prompt(png({"Comment": json.dumps(table)})) == expected
    assert read_prompt(png({"Comment": f" {json.dumps(table)}\n "})) == expected
    assert read_prompt(png({"Comment": FOX})) == FOX_TOLD
    novel = {"steps": 28, "sampler": "k_euler", "seed": 77, "uc": NOVELAI.negative}
    texts = {"Description": PROMPT, "Source": "Stable Diffusion 1D44365E"}
    assert read_prompt(png({**texts, "Comment": json.dumps(novel)})) == NOVELAI
    newer = {"v4_prompt": {"caption": {"base_caption": "a red fox"}}, "seed": 5}
    found = read_prompt(png({"Comment": json.dumps(newer)}))
    assert (found.prompt, found.tool, found.seed) == ("a red fox", "NovelAI", 5)
    for other in ("a day at the sea", '{"lens": 1}', '["prompt"]', "null", ""):
        assert read_making(png({"Comment": other, "Software": "x"})) == NOTHING, other


@pytest.mark.parametrize("key", ["generation_data", "parameters-json", "extraMetadata"])
def test_tables_under_keys_of_their_own_are_read(key: str) -> None:
    table = {"prompt": "a red fox", "negativePrompt": "snow", "seed": 5, "steps": 20}
    found = read_prompt(png({key: json.dumps(table)}))
    assert (found.prompt, found.seed, found.steps) == ("a red fox", 5, 20)
    assert found.negative == "snow"
    assert read_prompt(png({key: json.dumps(table) + "\n \0"})) == found
    assert read_making(png({key: "[1, 2]"})) == Reading("unreadable")
    assert found.tool == ("Civitai" if key == "extraMetadata" else "JSON")


def test_a_plain_text_under_prompt_is_words_and_no_graph() -> None:
    for key, negative in (("prompt", "negative_prompt"), ("Prompt", "Negative Prompt")):
        found = read_prompt(png({key: "a red fox", negative: "snow"}))
        assert found == FilePrompt("a red fox", "snow", f'"{key}"')
        assert read_prompt(png({key: "a red fox"})) == FilePrompt("a red fox", "", f'"{key}"')
        assert read_prompt(png({f"SD:{key}": "a red fox", f"SD:{negative}": "snow"})) == found
    both = png({"prompt": "a red fox", "Prompt": "a cat"})
    assert read_prompt(both) == FilePrompt("a red fox", "", '"prompt"')
    assert read_prompt(png({"prompt": " ", "Prompt": "a cat"})).prompt == "a cat"
    for other in (" [1, 2]", "[a] fox", ' {"1": 2}'):
        assert read_making(png({"Prompt": other})) == NOTHING
        assert read_prompt(png({"prompt": other, "Prompt": "a cat"})).prompt == "a cat"


# --- descriptions ---------------------------------------------------------------------------------


def test_a_description_counts_where_a_maker_is_named_and_only_there() -> None:
    for maker in ("NovelAI", "DALL-E 3", "Adobe Firefly", "made with stability.ai", "FLUX.1"):
        found = read_prompt(png({"Description": "a red fox", "Software": maker}))
        assert found == FilePrompt("a red fox", "", f"Description, {maker}")
    for maker in ("GIMP", "Adobe Lightroom", "influx", "x" * 500 + " Midjourney"):
        assert read_making(png({"Description": "a red fox", "Software": maker})) == NOTHING
    long = "Midjourney " + "y" * 100
    found = read_prompt(png({"Description": "a red fox", "Software": long}))
    assert found.tool == f"Description, {long[:80]}"
    near = "x" * 480 + " Midjourney"
    assert read_prompt(png({"Description": "a red fox", "Software": near})).prompt == "a red fox"


def test_the_first_description_that_says_anything_counts() -> None:
    maker = {0x0131: "Midjourney"}
    found = read_prompt(
        exif_file("PNG", {**maker, 0x010E: b"Created with GIMP", 0x9C9C: told(b"a fox")})
    )
    assert found == FilePrompt("a fox", "", "XPComment, Midjourney")
    for passed in (b"Screenshot", b"[1, 2]", b'{"a": 1}', b"Midjourney", b"   "):
        data = exif_file("JPEG", {**maker, 0x010E: passed, 0x9C9C: told(b"a fox")})
        assert read_prompt(data).prompt == "a fox", passed
        data = exif_file("JPEG", {**maker, 0x010E: passed})
        assert read_making(data).state in ("none", "unreadable"), passed
    first = exif_file("JPEG", {**maker, 0x010E: b"a cat", 0x9C9C: told(b"a fox")})
    assert read_prompt(first) == FilePrompt("a cat", "", "ImageDescription, Midjourney")
    # Who made it may be told in several places.
    both = exif_file("JPEG", {0x0131: "GIMP", 0x013B: "Midjourney", 0x010E: b"a cat"})
    assert read_prompt(both) == FilePrompt("a cat", "", "ImageDescription, Midjourney")


def told(words: bytes) -> bytes:
    return words.decode().encode("utf-16-le")


JOB = "Job ID: a7421d2f-b262-44f9-977c-ac23e9c7d3e3"


def test_midjourneys_description_is_read_wherever_it_stands() -> None:
    expected = FilePrompt("a red fox", "snow", "Midjourney", "v6", None, None, None)
    words = f"a red fox --no snow --v 6 {JOB}"
    for data in (
        png({"Description": words}),
        exif_file("JPEG", {0x010E: words.encode()}),
        exif_file("JPEG", {0x9C9C: told(words.encode())}),
        png({"parameters": words}),
    ):
        assert read_prompt(data) == expected
    # Something told under a key goes before it.
    assert read_prompt(png({"Description": words, "parameters": FOX})) == FOX_TOLD


# --- signs ----------------------------------------------------------------------------------------


def test_a_graph_that_only_enlarges_is_no_sign_but_others_are() -> None:
    enlarges = json.dumps({"1": {"class_type": "ImageUpscale", "inputs": {"image": "a.png"}}})
    assert read_making(png({"prompt": enlarges})) == NOTHING
    assert read_making(png({"prompt": enlarges, "workflow": "{}"})) == NOTHING
    for key in ("fooocus_scheme", "smproj", "invokeai_graph", "invokeai_workflow"):
        assert read_making(png({"prompt": enlarges, key: "{}"})) == Reading("unreadable")
        assert read_making(png({key: "{}"})) == Reading("unreadable")
    assert read_making(png({"workflow": "{}"})) == Reading("unreadable")
    assert read_making(png({"prompt": " "})) == Reading("unreadable")
    assert read_making(png({"prompt": "[1]"})) == Reading("unreadable")
    assert read_making(png({"Software": "x", "Title": "y"})) == NOTHING
