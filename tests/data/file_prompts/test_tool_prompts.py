"""Every tool's form in every format it writes, the reported cases, and real files where they lie.

`python -m pytest tests/data -k real -s` prints how many real files are read right.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import CASES, ROOT
from prompt_files import (
    commented,
    exif_file,
    png,
    saved,
    unicode_comment,
    xmp_file,
)
from tool_forms import FORMS, INVOKE, LARGER, NO, NOVEL, RUINED, SWARM, YES

from img2prompt.core.texts import Texts
from img2prompt.data.file_prompts import hidden_texts, web_ui
from img2prompt.data.file_prompts import records as prompt_records
from img2prompt.data.file_prompts import texts as file_texts
from img2prompt.data.file_prompts import tools as tool_prompts
from img2prompt.data.file_prompts.reading import Reading, read_making, read_prompt
from img2prompt.data.file_prompts.records import FilePrompt
from img2prompt.data.file_prompts.tools import read_midjourney, read_mochi, read_table, read_vqgan

# A folder with `metadata-files/` and `examples/`: others' files, which are not ours to hold.
REAL = Path(os.environ.get("IMG2PROMPT_REAL_FILES", "nowhere"))
HORSE = "close-up photo of a white horse"

# What a form does not tell: sampler, model, negative prompt.
LESS = {"Midjourney": ("v6.1", None), "vqgan-clip-generator": (None, None)}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_every_tool_is_read(form: str) -> None:
    for name, data in FORMS[form].items():
        found = read_prompt(data)
        assert found is not None, name
        assert found.tool == form.partition(",")[0], name
        assert found.seed == 5, name
        if form == "NovelAI":
            assert found.prompt == f"{YES} | girl, red hair", name
            assert found.negative == f"{NO} | hat", name
            assert found.model == "NovelAI Diffusion V4.5"
            continue
        assert found.prompt == YES, name
        assert found.negative == ("" if "vqgan" in form else NO), name
        model, sampler = LESS.get(form, ("dream", "euler"))
        assert (found.model or "").partition(".s")[0].partition(".c")[0] == (model or ""), name
        assert found.sampler == sampler, name
        if form != "Midjourney":
            assert found.steps == (400 if "vqgan" in form else 20), name


@pytest.mark.parametrize(
    "name, prompt, negative",
    [
        ("01*/controlnet.png", HORSE, NO),
        ("01*/zeroout.png", HORSE, ""),
        ("02*/cfgguider.png", HORSE, NO),
        ("03*/primitive.png", HORSE, NO),
        ("03*/wildcard.png", HORSE, NO),
        ("03*/concat.png", f"{HORSE}, snow", NO),
        ("05*/bare.jpg", HORSE, NO),
        ("05*/comfy.jpg", HORSE, NO),
        ("07*/a1111.jpg", HORSE, NO),
        ("07*/comfy.jpg", HORSE, NO),
        ("10*/adetailer.png", HORSE, NO),
    ],
)
def test_reported_cases_are_read_right(name: str, prompt: str, negative: str) -> None:
    (path,) = CASES.glob(name)
    found = read_prompt(path)
    assert found is not None
    assert (found.prompt, found.negative) == (prompt, negative and "human, blurry")


def test_what_stands_in_quotes_is_no_setting() -> None:
    (path,) = CASES.glob("10*/adetailer.png")
    found = read_prompt(path)
    assert found is not None and (found.sampler, found.steps, found.seed) == ("Euler a", 20, 42)
    line = (
        'Steps: 20, X Values: "0,2, Seed: 9", Hashes: {"a": "b, Seed: 8"}, Sampler: "Euler, x", '
        'Civitai resources: [{"name":"Seed: 7"}], Seed: 5, Seed: 6, Script: "cut off, Model: no'
    )
    settings = web_ui.read_settings(line)
    assert (settings["seed"], settings["sampler"]) == ("5", "Euler, x")


@pytest.mark.parametrize(
    "words", ["{red|blue} fox", '{"scene": "a red fox", "style": "oil"}', "{scene: a red fox}"]
)
def test_words_may_begin_with_a_brace(words: str) -> None:
    written = f"{words}\nNegative prompt: {NO}\nSteps: 20, Seed: 5, Unet: dream"
    expected = FilePrompt(words, NO, "AUTOMATIC1111", "dream", None, 5, 20)
    for data in (png({"parameters": written}), commented("JPEG", unicode_comment(written))):
        assert read_prompt(data) == expected
    assert read_prompt(png({"parameters": "{red|blue} fox"})).prompt == "{red|blue} fox"


def test_an_empty_prompt_is_told_and_is_no_prompt() -> None:
    (path,) = CASES.glob("10*/empty.png")
    assert read_prompt(path) is None
    assert read_making(path) == Reading(
        "empty", FilePrompt("", "blurry", "AUTOMATIC1111", seed=3, steps=20)
    )
    for empty in (
        png({"parameters": "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5"}),
        png({"parameters": json.dumps({**RUINED, "Prompt": " "})}),
        png({"parameters": json.dumps({**SWARM, "sui_image_params": {"prompt": "", "seed": 1}})}),
        png({"invokeai_metadata": json.dumps({**INVOKE, "positive_prompt": ""})}),
        png({**NOVEL, "Description": "", "Comment": json.dumps({"uc": NO, "prompt": ""})}),
    ):
        assert read_prompt(empty) is None and read_making(empty).state == "empty"


@pytest.mark.parametrize(
    "texts",
    [
        {"workflow": '{"nodes": []}'},
        {"prompt": '{"1": {"class_type": "StrangeTextThing", "inputs": {"text": "a fox"}}}'},
        {"prompt": '{"1": {"class_type": "KSampler", "inputs": {"text": "a f'},
        {"parameters": '{"secret": "a fox"}'},
        {"parameters": '{"prompt": "cut off'},
        {"invokeai_metadata": "{}"},
        {"invokeai_graph": '{"nodes": {}}'},
        {"generation_data": "damaged"},
        {"Dream": "no command line"},
        {"fooocus_scheme": "fooocus"},
    ],
)
def test_a_form_that_cannot_be_read_is_told_as_that(texts: dict[str, str]) -> None:
    assert read_making(png(texts)) == Reading("unreadable")
    assert read_prompt(png(texts)) is None


@pytest.mark.parametrize(
    "texts",
    [
        {"Comment": '{"Prompt": "a fox", "Negative Prompt": "b", "Seed": "5", "Steps": 20}'},
        {"Nmkdiffusion": '{"prompt": "a fox", "promptNeg": "b", "seed": 5, "steps": 20}'},
        {"parameters": '{"prompts": "a fox", "negativePrompts": "b", "seed": 5}'},
        {"Somebody's": '{"positive_prompt": "a fox", "negative_prompt": "b", "seed": 5}'},
    ],
)
def test_a_table_is_read_under_any_key(texts: dict[str, str]) -> None:
    found = read_making(png(texts)).told
    assert found is not None and (found.prompt, found.negative, found.seed) == ("a fox", "b", 5)


@pytest.mark.parametrize("key", ["Comment", "invokeai", "Somebody's"])
def test_a_table_that_is_not_known_is_told_as_that(key: str) -> None:
    table = '{"type": "t2l", "positive_conditioning": {"prompt": "a fox"}}'
    assert read_making(png({key: table})).state == "unreadable"
    assert read_making(png({key: '{"type": "t2l"}'})).state == "none"


def test_a_graph_that_only_enlarges_carries_no_prompt() -> None:
    table = {key: value for key, value in LARGER.items() if key != "extraMetadata"}
    assert read_making(png({"prompt": json.dumps(table)})).state == "none"


def test_what_a_saver_did_not_find_is_looked_for_in_the_graph() -> None:
    unknown = "unknown\nNegative prompt: unknown\nSteps: 20, Sampler: euler, Seed: 0"
    assert read_prompt(png({"parameters": unknown})).prompt == "unknown"
    sampler = {"positive": ["6", 0], "negative": ["7", 0], "sampler_name": "lcm", "steps": 9}
    graph = {
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": YES}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": NO}},
        "3": {"class_type": "KSampler", "inputs": sampler},
    }
    found = read_prompt(png({"parameters": unknown, "prompt": json.dumps(graph)}))
    assert found == FilePrompt(YES, NO, "ComfyUI", sampler="lcm", steps=9)


@pytest.mark.parametrize(
    "dream",
    [
        f'"{YES} [{NO}]" -s 20 -S 5 -W 512 -C 7.5 -A euler',
        f'"{YES} [{NO}]" -s20 -S5 -W512 -C7.5 -Aeuler',
        f'"{YES} [{NO}]" -v -s20 -b1 --hires_fix -S5 -A euler -I "a b.png"',
        f' "{YES}\n[{NO}]" -s 20 -S 5 -A euler\n',
    ],
)
def test_invokeais_command_lines_are_read(dream: str) -> None:
    assert read_prompt(png({"Dream": dream})) == FilePrompt(
        YES, NO, "InvokeAI", sampler="euler", seed=5, steps=20
    )


def test_a_command_line_may_lack_settings_and_hold_quotes() -> None:
    found = read_prompt(png({"Dream": '"a sign that says "no"" -s50'}))
    assert found == FilePrompt('a sign that says "no"', "", "InvokeAI", steps=50)
    assert read_prompt(png({"Dream": '"a fox"'})) == FilePrompt("a fox", "", "InvokeAI")
    old = {"image": {"prompt": f"{YES} [{NO}]", "steps": 20, "seed": 5}, "model_weights": "dream"}
    found = read_prompt(png({"sd-metadata": json.dumps(old)}))
    assert found == FilePrompt(YES, NO, "InvokeAI", "dream", None, 5, 20)


def test_a_plain_text_under_prompt_is_the_prompt() -> None:
    found = read_prompt(png({"prompt": YES, "negative_prompt": NO}))
    assert found == FilePrompt(YES, NO, '"prompt"')
    table = {"prompt": YES, "negative_prompt": NO, "seed": "5", "steps": "20", "sampler": "euler"}
    expected = FilePrompt(YES, NO, '"prompt"', None, "euler", 5, 20)
    assert read_prompt(png(table)) == expected
    assert read_prompt(png({f"SD:{key}": value for key, value in table.items()})) == expected


@pytest.mark.parametrize(
    "maker",
    [
        "stability.ai",
        "Stable Diffusion XL",
        "Midjourney",
        "NightCafe",
        "Bing Image Creator",
        "WOMBO",
    ],
)
def test_a_description_is_a_prompt_where_a_picture_maker_is_named(maker: str) -> None:
    found = read_prompt(exif_file("PNG", {0x010E: YES.encode(), 0x0131: maker}))
    assert found is not None and found.prompt == YES
    assert found.tool == f"ImageDescription, {maker}"
    attributes = (
        'Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/'
        'trainedAlgorithmicMedia"'
    )
    assert read_prompt(xmp_file("JPEG", f"<dc:description>{YES}</dc:description>", attributes))


@pytest.mark.parametrize(
    "words, program",
    [
        ("OLYMPUS DIGITAL CAMERA", "E-M5"),
        ("SONY DSC", "ILCE-7"),
        ("Created with GIMP", "GIMP 3.0.6"),
        ("a day at the sea", "Adobe Lightroom"),
        ("Screenshot", "gnome-screenshot"),
        # A picture maker's file that another program saved again.
        ("Created with GIMP", "Stable Diffusion"),
        ("Screenshot of a page", "stability.ai"),
        ("AI generated image", "AI generated image"),
    ],
)
def test_other_descriptions_are_none(words: str, program: str) -> None:
    for data in (
        exif_file("JPEG", {0x010E: words.encode(), 0x0131: program}),
        png({"Description": words, "Software": program}),
        png({"Comment": words, "Software": program}),
        png({"Title": words}),
        saved("GIF", comment=words.encode()),
    ):
        assert read_making(data) == Reading("none")
    for table in ('{"not": "ours"}', '{"lens": {"c": 1}, "Software": "Phone 9"}', "{}", "{cut off"):
        for data in (
            commented("JPEG", b"ASCII\0\0\0" + table.encode()),
            saved("JPEG", comment=table.encode()),
            exif_file("WEBP", {0x010E: table.encode(), 0x0131: "Phone 9"}),
            png({"Comment": table, "Software": "x"}),
        ):
            assert read_making(data) == Reading("none"), table
    assert read_making(png({"Comment": "{no JSON"})).state == "none"


def test_every_setting_is_bounded_and_of_its_kind() -> None:
    table = {
        **RUINED,
        "seed": float("1e400"),
        "steps": -5,
        "sampler_name": "x" * 5_000,
        "base_model_name": ["a"],
        "Negative": "y" * 50_000,
    }
    found = read_prompt(png({"parameters": json.dumps(table)}))
    assert found is not None and found.seed is found.steps is found.model is None
    assert len(found.sampler) == 200 and len(found.negative) == 20_000
    assert read_making(
        png({"parameters": json.dumps({**RUINED, "Prompt": "x" * 20_001})})
    ) == Reading("unreadable")
    for seed, expected in (
        (5.0, 5),
        ("5", 5),
        (True, None),
        ("-1", None),
        (2**64, 2**64),
        ("٣", None),
    ):
        found = read_table({**RUINED, "seed": seed})
        assert found is not None and found.seed == expected


HOSTILE = {
    "blank lines": "\n" * 500_000,
    "commas": "Steps: 1" + "," * 500_000,
    "keys": "Steps: 1, " + "a: b, " * 100_000,
    "quotes": "Steps: 1, " + 'a: "' * 100_000,
    "brackets": "Steps: 1, " + "a: [" * 100_000,
    "braces": "Steps: 1, " + 'a: {"b": ' * 100_000,
    "steps": "Steps: 1, " * 100_000,
    "negatives": "Negative prompt:\n" * 60_000,
    "spaces": " " * 900_000 + "Steps: 1, Seed: 2, Size: 3",
    "job": "--a " * 200_000 + "Job ID: a7421d2f-b262-44f9-977c-ac23e9c7d3e3",
    "include": "Include in Image:" + "; Model:" * 100_000,
    "texts": "text_prompts: " + ", see" * 200_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_comments_end_soon(name: str) -> None:
    start = time.process_time()
    for data in (
        png({"parameters": HOSTILE[name], "Description": HOSTILE[name]}),
        saved("JPEG", comment=HOSTILE[name][:60_000].encode()),
    ):
        read_making(data)
    assert time.process_time() - start < 2


@given(st.text(max_size=200), st.sampled_from(["\n", " ", ""]), st.text(max_size=60))
def test_any_web_ui_text_is_read(words: str, end: str, more: str) -> None:
    found = web_ui.read_web_ui(f"{words}{end}Negative prompt: {more}\nSteps: 20, {more}")
    assert isinstance(found.prompt, str) and (found.steps == 20 or "Steps" in more)
    for read in (read_midjourney, read_mochi, read_vqgan):
        read(words + more)


@given(st.from_regex(r'[a-c:," \\{}\[\]]*', fullmatch=True))
def test_any_settings_are_read(line: str) -> None:
    assert all(isinstance(v, str) for v in web_ui.read_settings("Steps: 20, " + line).values())


def test_the_document_tells_the_limits_and_the_tools() -> None:
    document = (ROOT / "docs" / "prompts-in-files.md").read_text("utf-8")
    for limit in (file_texts.MAX_TEXT, prompt_records.MAX_PROMPT):
        assert f"{limit:,}" in document
    assert f"{hidden_texts.MAX_PIXELS // 10**6} million" in document
    flat = " ".join(document.split())
    for tool, _, _ in tool_prompts.TABLES:
        assert tool in flat or f"{tool}s" in flat
    for state in ("empty", "unreadable"):
        assert Texts()(f"truth.{state}", tool="tool").partition(". ")[0] in flat


def _same(found: str, expected: str) -> bool:
    """Every word of the prompt that a person read, and in its order; areas may follow it."""
    told, wanted = found.split(), expected.partition("…")[0].rstrip(" |").split()
    return told[: len(wanted)] == wanted and (len(told) == len(wanted) or told[len(wanted)] == "|")


@pytest.mark.skipif(
    not (REAL / "metadata-files" / "expected.json").is_file(),
    reason="IMG2PROMPT_REAL_FILES names no folder of real files",
)
def test_real_files_are_read_right() -> None:
    folder = REAL / "metadata-files"
    wrong = []
    entries: list[dict[str, Any]] = json.loads((folder / "expected.json").read_text("utf-8"))
    for entry in entries:
        found = read_prompt(folder / entry["file"])
        if not _same(found.prompt if found else "", entry["prompt"]):
            wrong.append(entry["file"])
    print(f"{len(entries) - len(wrong)} of {len(entries)} real files read right")
    assert not wrong


@pytest.mark.skipif(
    not (REAL / "examples" / "examples.json").is_file(),
    reason="IMG2PROMPT_REAL_FILES names no folder of real files",
)
def test_real_descriptions_are_read_right() -> None:
    folder = REAL / "examples"
    for entry in json.loads((folder / "examples.json").read_text("utf-8")):
        found = read_prompt(folder / entry["file"])
        assert found is not None and found.prompt == entry["prompt"], entry["file"]
        assert found.tool == "ImageDescription, stability.ai"
