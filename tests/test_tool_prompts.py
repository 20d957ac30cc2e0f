"""Every tool's form in every format it writes, the reported cases, and real files where they lie.

`python -m pytest tests/test_tool_prompts.py -k real -s` prints how many real files are read right.
"""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_files import (
    commented,
    exif_file,
    hidden_file,
    png,
    saved,
    unicode_comment,
    xmp_file,
)

from img2prompt import file_texts, hidden_texts, prompt_records, tool_prompts, web_ui_prompts
from img2prompt.file_prompts import Reading, read_making, read_prompt
from img2prompt.prompt_records import FilePrompt
from img2prompt.tool_prompts import read_midjourney, read_mochi, read_table, read_vqgan
from img2prompt.ui.texts import Texts

CASES = Path(__file__).with_name("cases")
REAL = Path(__file__).resolve().parent.parent.parent / "shared"
YES, NO = "a red fox in the snow, 狐", "blurry, low quality"
HORSE = "close-up photo of a white horse"

SWARM = {
    "sui_image_params": {
        "prompt": YES,
        "negativeprompt": NO,
        "model": "dream",
        "seed": 5,
        "steps": 20,
        "sampler": "euler",
        "swarm_version": "0.9.7.4",
    },
    "sui_extra_data": {"date": "2026-01-03"},
}
RUINED = {
    "Prompt": YES,
    "Negative": NO,
    "steps": 20,
    "seed": 5,
    "sampler_name": "euler",
    "base_model_name": "dream.safetensors",
    "software": "RuinedFooocus",
}
EASY = {
    "prompt": YES,
    "negative_prompt": NO,
    "seed": "5",
    "use_stable_diffusion_model": "/models/sub/dream.safetensors",
    "sampler_name": "euler",
    "num_inference_steps": "20",
}
EASY_NAMED = {
    "Prompt": YES,
    "Negative Prompt": NO,
    "Seed": 5,
    "Stable Diffusion model": "C:\\models\\dream.safetensors",
    "Sampler": "euler",
    "Steps": 20,
}
SPACE = {
    "prompt": YES,
    "negative_prompt": NO,
    "resolution": "1024 x 1024",
    "num_inference_steps": 20,
    "seed": 5,
    "sampler": "euler",
    "Model": "dream",
    "use_upscaler": None,
}
MATRIX = {
    "PositivePrompt": YES,
    "NegativePrompt": NO,
    "Steps": 20,
    "Sampler": "euler",
    "Seed": 5,
    "ModelName": "dream",
}
TENSOR = {
    "prompt": YES,
    "negativePrompt": NO,
    "steps": 20,
    "seed": "5",
    "baseModel": {"label": "v16", "modelFileName": "dream"},
    "ksamplerName": "euler",
}
DRAW = {"c": YES, "uc": NO, "model": "dream.ckpt", "sampler": "euler", "seed": 5, "steps": 20}
INVOKE = {
    "app_version": "6.10.0",
    "positive_prompt": YES,
    "negative_prompt": NO,
    "seed": 5,
    "steps": 20,
    "scheduler": "euler",
    "model": {"name": "dream"},
}
EXTRA = {
    "prompt": YES,
    "negativePrompt": NO,
    "steps": 20,
    "cfgScale": 5,
    "sampler": "euler",
    "seed": 5,
    "baseModel": "dream",
}
HORDE = {
    "prompt": f"{YES} ### {NO}",
    "model": "dream",
    "seed": "5",
    "steps": 20,
    "sampler": "euler",
}
CHARACTERS = {
    "prompt": YES,
    "uc": NO,
    "seed": 5,
    "steps": 20,
    "sampler": "euler",
    "v4_prompt": {
        "caption": {
            "base_caption": YES,
            "char_captions": [{"char_caption": "girl, red hair"}, {"char_caption": ""}, 5],
        }
    },
    "v4_negative_prompt": {
        "caption": {"base_caption": NO, "char_captions": [{"char_caption": "hat"}]}
    },
}
NOVEL = {
    "Title": "NovelAI generated image",
    "Description": YES,
    "Software": "NovelAI",
    "Source": "NovelAI Diffusion V4.5 4BDE2A90",
    "Comment": json.dumps(CHARACTERS),
}
LARGER = {
    "23": {"class_type": "UpscaleModelLoader", "inputs": {"model_name": "x"}},
    "12": {"class_type": "SaveImage", "inputs": {"images": ["23", 0]}},
    "extra": {},
    "extraMetadata": json.dumps(EXTRA),
}
DRAW_XMP = (
    f"<dc:description><rdf:Alt><rdf:li>{YES}\n-{NO}\nSteps: 20, Sampler: euler, Seed: 5, "
    "Model: dream.ckpt</rdf:li></rdf:Alt></dc:description><exif:UserComment><rdf:Alt><rdf:li>"
    f"{json.dumps(DRAW)}</rdf:li></rdf:Alt></exif:UserComment>"
)
JOB = f"{YES} --ar 3:2 --v 6.1 --no {NO} --seed 5 Job ID: a7421d2f-b262-44f9-977c-ac23e9c7d3e3"
MOCHI = (
    f"Include in Image: {YES}; Exclude from Image: {NO}; Model: dream; Steps: 20; Guidance Scale: "
    "11.0; Seed: 5; Size: 512x512; Scheduler: euler; Generator: Mochi Diffusion 6.0"
)
VQGAN = f"text_prompts: {YES}, image_prompts: [], noise_prompts: [], iterations: 400, seed: 5"


def web_ui(end: str, sampler: str = "euler") -> str:
    return (
        f"{YES}\nNegative prompt: {NO}\nSteps: 20, Sampler: {sampler}, CFG scale: 7, Seed: 5, "
        f"Size: 512x512, Model: dream{end}"
    )


def everywhere(table: dict) -> dict[str, bytes]:
    """A table in PNG's "parameters", and in the comment of the other formats."""
    written = json.dumps(table, indent=2)
    files = {"png": png({"parameters": written})}
    for format in ("JPEG", "WEBP"):
        files[format] = commented(format, unicode_comment(written, "le"))
    return files


def keyed(texts: dict[str, str]) -> dict[str, bytes]:
    """Texts under keys of their own, and the same as one JSON in a comment."""
    written = json.dumps(texts)
    files = {"png": png(texts)}
    for format in ("JPEG", "WEBP"):
        files[format] = commented(format, b"ASCII\0\0\0" + written.encode())
    return files


FORMS = {
    "SwarmUI": everywhere(SWARM),
    "RuinedFooocus": everywhere(RUINED),
    "Easy Diffusion": everywhere(EASY) | {"keys": png(EASY)},
    "Easy Diffusion, named": everywhere(EASY_NAMED),
    "Hugging Face Space": everywhere(SPACE),
    "Stability Matrix": keyed({"parameters-json": json.dumps(MATRIX), "smproj": "{}"}),
    "TensorArt": keyed({"generation_data": json.dumps(TENSOR) + "\0"}),
    "InvokeAI": keyed({"invokeai_metadata": json.dumps(INVOKE)}),
    "Civitai": everywhere(LARGER) | {"extra": png({"extraMetadata": json.dumps(EXTRA)})},
    "JSON": everywhere(HORDE),
    "NovelAI": keyed(NOVEL) | {"hidden": hidden_file(json.dumps(NOVEL))},
    "Draw Things": {
        format: xmp_file(format, DRAW_XMP, 'xmp:CreatorTool="Draw Things"')
        for format in ("PNG", "JPEG", "WEBP")
    },
    "Midjourney": {
        "png": png({"Description": JOB, "Author": "somebody"}),
        "xmp": xmp_file("PNG", f"<dc:description>{JOB}</dc:description>"),
        "jpeg": exif_file("JPEG", {0x010E: JOB.encode()}),
    },
    "Mochi Diffusion": {
        "xmp": xmp_file("PNG", f"<dc:description>{MOCHI}</dc:description>"),
        "parameters": png({"parameters": MOCHI}),
    },
    "vqgan-clip-generator": {
        "jpeg": exif_file(
            "JPEG", {0x9C9C: VQGAN.encode("utf-16-le")}, {0x9286: VQGAN.encode("utf-16-le")}
        )
    },
    "AUTOMATIC1111": {
        "png": png({"parameters": web_ui(", Version: v1.10.1")}),
        "one line": png({"parameters": web_ui(", Version: v1.10.1").replace("\n", " ")}),
        "windows": png({"parameters": web_ui(", Version: v1.10.1").replace("\n", "\r\n")}),
        "description": exif_file("JPEG", {0x010E: web_ui("").encode()}),
        "comment": saved("JPEG", comment=web_ui("").encode()),
        "gif": saved("GIF", comment=web_ui("").encode()),
        "template": png({"parameters": web_ui("") + '\nTemplate: "a {red|blue} fox"'}),
        "hidden": hidden_file(web_ui("")),
    },
    "Forge": {"png": png({"parameters": web_ui(", Version: f2.0.1v1.10.1-previous")})},
    "SD.Next": {"png": png({"parameters": web_ui(", App: SD.Next, Version: 56a8aea")})},
    "stable-diffusion.cpp": {
        "png": png({"parameters": web_ui(", RNG: cuda, Version: stable-diffusion.cpp")})
    },
    "ComfyUI": {"png": png({"parameters": web_ui(", Version: ComfyUI")})},
}
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
    settings = web_ui_prompts.read_settings(line)
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
    "maker", ["stability.ai", "Stable Diffusion XL", "Midjourney", "NightCafe"]
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
    found = web_ui_prompts.read_web_ui(f"{words}{end}Negative prompt: {more}\nSteps: 20, {more}")
    assert isinstance(found.prompt, str) and (found.steps == 20 or "Steps" in more)
    for read in (read_midjourney, read_mochi, read_vqgan):
        read(words + more)


@given(st.from_regex(r'[a-c:," \\{}\[\]]*', fullmatch=True))
def test_any_settings_are_read(line: str) -> None:
    assert all(
        isinstance(v, str) for v in web_ui_prompts.read_settings("Steps: 20, " + line).values()
    )


def test_the_document_tells_the_limits_and_the_tools() -> None:
    document = (Path(__file__).parent.parent / "docs" / "prompts-in-files.md").read_text("utf-8")
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
    reason="the real files are not beside this checkout (../shared/metadata-files)",
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
    reason="the example pictures are not beside this checkout (../shared/examples)",
)
def test_real_descriptions_are_read_right() -> None:
    folder = REAL / "examples"
    for entry in json.loads((folder / "examples.json").read_text("utf-8")):
        found = read_prompt(folder / entry["file"])
        assert found is not None and found.prompt == entry["prompt"], entry["file"]
        assert found.tool == "ImageDescription, stability.ai"
