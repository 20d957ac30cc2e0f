"""The prompt a file carries: each tool's way of writing it, in each format it writes."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_files import (
    PICTURE,
    comfy_exif,
    commented,
    fooocus_exif,
    png,
    saved,
    unicode_comment,
    with_chunk,
)

from img2prompt.data.file_prompts import comfyui
from img2prompt.data.file_prompts import reading as file_prompts
from img2prompt.data.file_prompts.reading import FilePrompt, read_prompt
from img2prompt.data.images import ImageError, open_image

PROMPT = "a red fox in the snow, (detailed fur:1.2), by Ossip Zadkine, Märchenwald"
NEGATIVE = "blurry, low quality"

A1111 = (
    f"{PROMPT}\nNegative prompt: {NEGATIVE}\n"
    "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 965400086, "
    'Size: 512x512, Model hash: 6ce0161689, Model: v1-5-pruned, Lora hashes: "fur: 1a2b, x: 3c", '
    "Version: v1.10.1"
)
COMFY = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 156680208700286,
            "steps": 25,
            "cfg": 8.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": 1.0,
            "model": ["4", 0],
            "positive": ["6", 0],
            "negative": ["7", 0],
            "latent_image": ["5", 0],
        },
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "dream.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": PROMPT, "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": NEGATIVE, "clip": ["4", 1]}},
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "fox"}},
}
WORKFLOW = {
    "nodes": [],
    "links": [
        [1, 4, 0, 3, 0, "MODEL"],
        [4, 6, 0, 3, 1, "CONDITIONING"],
        [6, 7, 0, 3, 2, "CONDITIONING"],
        [3, 4, 1, 6, 0, "CLIP"],
        [5, 4, 1, 7, 0, "CLIP"],
    ],
    "version": 0.4,
}
FOOOCUS = {
    "base_model": "juggernautXL_v8Rundiffusion",
    "base_model_hash": "aeb7e9e689",
    "full_negative_prompt": [NEGATIVE],
    "full_prompt": [f"cinematic still {PROMPT}"],
    "guidance_scale": 4,
    "loras": [],
    "metadata_scheme": "fooocus",
    "negative_prompt": NEGATIVE,
    "prompt": PROMPT,
    "resolution": "(1152, 896)",
    "sampler": "dpmpp_2m_sde_gpu",
    "scheduler": "karras",
    "seed": "3558166374",
    "sharpness": 2,
    "steps": 30,
    "version": "Fooocus v2.5.5",
}
FOOOCUS_TEXT = (
    f"{PROMPT}\nNegative prompt: {NEGATIVE}\n"
    "Steps: 30, Sampler: DPM++ 2M SDE Karras, Seed: 3558166374, Size: 1152x896, CFG scale: 4, "
    "Sharpness: 2, Model: juggernautXL_v8Rundiffusion, Model hash: aeb7e9e689, "
    "Performance: Speed, Version: Fooocus v2.5.5"
)
INVOKE = {
    "generation_mode": "txt2img",
    "positive_prompt": PROMPT,
    "negative_prompt": NEGATIVE,
    "seed": 2321,
    "cfg_scale": 7.5,
    "steps": 28,
    "scheduler": "euler_a",
    "model": {"key": "0e5", "hash": "blake3:1", "name": "dreamshaper", "base": "sd-1"},
    "app_version": "4.2.7",
}
INVOKE_2 = {
    "model": "stable diffusion",
    "model_weights": "stable-diffusion-1.5",
    "model_hash": "cc6cb2",
    "image": {
        "prompt": [{"prompt": f"{PROMPT} [{NEGATIVE}]", "weight": 1.0}],
        "steps": 28,
        "cfg_scale": 7.5,
        "seed": 2321,
        "sampler": "k_euler_a",
    },
}
DREAM = f'"{PROMPT} [{NEGATIVE}]" -s 28 -S 2321 -W 512 -H 512 -C 7.5 -A k_euler_a'
NOVEL = {
    "Title": "AI generated image",
    "Description": PROMPT,
    "Software": "NovelAI",
    "Source": "Stable Diffusion 1D44365E",
    "Comment": json.dumps(
        {"steps": 28, "sampler": "k_euler", "seed": 77, "scale": 11.0, "uc": NEGATIVE}
    ),
}


WEB_UI = FilePrompt(PROMPT, NEGATIVE, "AUTOMATIC1111", "v1-5-pruned", "DPM++ 2M", 965400086, 20)
COMFYUI = FilePrompt(PROMPT, NEGATIVE, "ComfyUI", "dream.safetensors", "euler", 156680208700286, 25)
INVOKEAI = FilePrompt(PROMPT, NEGATIVE, "InvokeAI", "dreamshaper", "euler_a", 2321, 28)
INVOKEAI_2 = FilePrompt(PROMPT, NEGATIVE, "InvokeAI", "stable-diffusion-1.5", "k_euler_a", 2321, 28)
INVOKEAI_1 = FilePrompt(PROMPT, NEGATIVE, "InvokeAI", None, "k_euler_a", 2321, 28)
NOVELAI = FilePrompt(PROMPT, NEGATIVE, "NovelAI", "Stable Diffusion", "k_euler", 77, 28)
MODEL = "juggernautXL_v8Rundiffusion"
FOOO = FilePrompt(PROMPT, NEGATIVE, "Fooocus", MODEL, "dpmpp_2m_sde_gpu", 3558166374, 30)
FOOO_TEXT = FilePrompt(PROMPT, NEGATIVE, "Fooocus", MODEL, "DPM++ 2M SDE Karras", 3558166374, 30)

FILES = {
    "a1111 png": (png({"parameters": A1111}), WEB_UI),
    "a1111 jpeg": (commented("JPEG", unicode_comment(A1111)), WEB_UI),
    "a1111 webp": (commented("WEBP", unicode_comment(A1111)), WEB_UI),
    "a1111 jpeg, other byte order": (commented("JPEG", unicode_comment(A1111, "le")), WEB_UI),
    "a1111 jpeg, ascii": (
        commented("JPEG", b"ASCII\0\0\0" + A1111.encode()),
        WEB_UI,
    ),
    "comfyui png": (
        png({"prompt": json.dumps(COMFY), "workflow": json.dumps(WORKFLOW)}),
        COMFYUI,
    ),
    "comfyui png without workflow": (png({"prompt": json.dumps(COMFY)}), COMFYUI),
    "comfyui webp": (comfy_exif("WEBP", COMFY, WORKFLOW), COMFYUI),
    "comfyui jpeg": (comfy_exif("JPEG", COMFY, WORKFLOW), COMFYUI),
    "comfyui jpeg comment": (
        commented("JPEG", unicode_comment(json.dumps({"prompt": COMFY, "workflow": WORKFLOW}))),
        COMFYUI,
    ),
    "invokeai png": (png({"invokeai_metadata": json.dumps(INVOKE)}), INVOKEAI),
    "invokeai 2 png": (png({"Dream": DREAM, "sd-metadata": json.dumps(INVOKE_2)}), INVOKEAI_2),
    "invokeai 1 png": (png({"Dream": DREAM}), INVOKEAI_1),
    "invokeai webp": (
        commented("WEBP", unicode_comment(json.dumps({"invokeai_metadata": INVOKE}))),
        INVOKEAI,
    ),
    "novelai png": (png(NOVEL), NOVELAI),
    "novelai webp": (commented("WEBP", unicode_comment(json.dumps(NOVEL))), NOVELAI),
    "novelai jpeg": (commented("JPEG", b"ASCII\0\0\0" + json.dumps(NOVEL).encode()), NOVELAI),
    "fooocus png": (
        png({"parameters": json.dumps(FOOOCUS), "fooocus_scheme": "fooocus"}),
        FOOO,
    ),
    "fooocus jpeg": (fooocus_exif("JPEG", json.dumps(FOOOCUS), "fooocus"), FOOO),
    "fooocus webp": (fooocus_exif("WEBP", json.dumps(FOOOCUS), "fooocus"), FOOO),
    "fooocus png as text": (
        png({"parameters": FOOOCUS_TEXT, "fooocus_scheme": "a1111"}),
        FOOO_TEXT,
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_every_tool_is_read_in_every_format_it_writes(name: str, tmp_path: Path) -> None:
    data, expected = FILES[name]
    path = tmp_path / "picture"
    path.write_bytes(data)
    assert read_prompt(path) == expected
    assert open_image(path).size == PICTURE.size


def test_one_files_comment_is_never_anothers(tmp_path: Path) -> None:
    # sd-parsers' own reader keeps a comment by the picture's address, which Python uses again.
    bare = saved("JPEG")
    for _ in range(20):
        assert read_prompt(FILES["a1111 jpeg"][0]) == WEB_UI
        assert read_prompt(bare) is None


def test_a_text_behind_the_pixels_is_found() -> None:
    data = png({})
    text = b"parameters\0" + b"a red fox\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5"
    found = read_prompt(with_chunk(data, b"tEXt", text, before=b"IEND"))
    assert found is not None and found.prompt == "a red fox" and found.seed == 5
    # Whether or not the pixels are whole, and what stands before them too.
    both = with_chunk(png({"Software": "a"}), b"tEXt", text, before=b"IEND")
    at = both.index(b"IDAT") + 8
    for data in (both, both[:at] + b"\xff" * 9 + both[at + 9 :]):
        assert read_prompt(data).prompt == "a red fox"


def test_parameters_without_settings_are_a_prompt_all_the_same() -> None:
    found = read_prompt(png({"parameters": "a red fox\nNegative prompt: blurry"}))
    assert found == FilePrompt("a red fox", "blurry", "AUTOMATIC1111")
    twice = "a red fox\nNegative prompt: no Negative prompt: here\nSteps: 20, Sampler: Euler"
    found = read_prompt(png({"parameters": twice}))
    assert found == FilePrompt(
        "a red fox", "no Negative prompt: here", "AUTOMATIC1111", None, "Euler", None, 20
    )


@pytest.mark.parametrize("negative", ["", " Negative prompt: blurry"])
def test_one_line_without_a_comma_in_its_prompt_is_read(negative: str) -> None:
    told = read_prompt(
        png({"parameters": f"a fox{negative} Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5"})
    )
    assert told is not None and told.prompt == "a fox" and told.steps == 20
    assert told.negative == negative[18:]


def test_comfyuis_encoders_of_two_texts_and_sampler_pairs_are_read() -> None:
    graph = json.loads(json.dumps(COMFY))
    graph["6"] = {
        "class_type": "CLIPTextEncodeSDXL",
        "inputs": {"text_g": PROMPT, "text_l": PROMPT, "clip": ["4", 1]},
    }
    # A second sampler of the same prompts, as a hires fix has.
    graph["10"] = json.loads(json.dumps(graph["3"]))
    graph["10"]["inputs"]["latent_image"] = ["3", 0]
    assert read_prompt(png({"prompt": json.dumps(graph)})) == COMFYUI


def test_a_prompt_that_comes_through_another_node_is_found() -> None:
    graph = json.loads(json.dumps(COMFY))
    graph["6"]["inputs"]["text"] = ["11", 0]
    graph["11"] = {"class_type": "Text", "inputs": {"text": PROMPT}}
    assert read_prompt(png({"prompt": json.dumps(graph)})) == COMFYUI


def test_newer_invokeai_without_scheduler_or_negative_is_read() -> None:
    table = {k: v for k, v in INVOKE.items() if k != "scheduler"} | {"negative_prompt": None}
    found = read_prompt(png({"invokeai_metadata": json.dumps(table)}))
    assert found == FilePrompt(PROMPT, "", "InvokeAI", "dreamshaper", None, 2321, 28)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_picture_without_a_prompt_has_none(file_format: str) -> None:
    assert read_prompt(saved(file_format)) is None


def test_other_programs_comments_are_no_prompts() -> None:
    assert read_prompt(saved("JPEG", comment=b"Created with GIMP")) is None
    assert read_prompt(commented("JPEG", b"ASCII\0\0\0a day at the sea")) is None
    assert read_prompt(png({"Comment": "Created with GIMP", "Software": "GIMP"})) is None


def test_what_is_no_picture_is_refused_as_anywhere(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no file"):
        read_prompt(tmp_path / "gone.png")
    with pytest.raises(ImageError, match="not a picture"):
        read_prompt(b"parameters: a red fox")


def test_half_a_surrogate_and_control_characters_are_cleaned() -> None:
    table = {**FOOOCUS, "prompt": "a fox\ud800 \x00\x1b[31mred"}
    found = read_prompt(png({"parameters": json.dumps(table)}))
    assert found is not None and found.prompt == "a fox? [31mred"


HOSTILE = {
    "deep json": {"parameters": '{"prompt":' + "[" * 200_000},
    "deep graph": {"prompt": "[" * 200_000 + "]" * 200_000},
    "a list for a graph": {"prompt": "[1, 2]", "workflow": "[]"},
    "a number for a node": {"prompt": '{"1": 5, "2": {"inputs": 7}}'},
    "numbers for texts": {"parameters": json.dumps(dict.fromkeys(FOOOCUS, 1))},
    "null": {"invokeai_metadata": "null", "sd-metadata": "null", "Comment": "null"},
    "wrong models": {"invokeai_metadata": json.dumps({**INVOKE, "model": "x"})[:-1]},
    "huge number": {"invokeai_metadata": '{"seed": ' + "9" * 500_000 + "}"},
    "too long": {"prompt": json.dumps(COMFY | {"99": {"inputs": {"text": "x" * 2_000_000}}})},
    "long parameters": {"parameters": "a, " * 400_000 + "\nSteps: 20, Sampler: a, Seed: 1"},
    # Regular expressions that go over the text again and again.
    "hashes": {"parameters": "Hashes: {" * 5_500},
    "hashes, too long": {"parameters": "Hashes: {" * 100_000},
    "quotes": {"Dream": '"' * 3_990 + "\nx"},
    "quotes, too long": {"Dream": '"' * 900_000 + "\nx"},
    "spaces": {"Dream": '"a"' + " " * 3_990},
    "source": {**NOVEL, "Source": "A " * 400_000 + "a"},
    "brackets": {"sd-metadata": json.dumps({**INVOKE_2, "image": {"prompt": "[" * 900_000}})},
}


# Seconds of this process alone. What goes over a text again and again takes hours.
SOON = 60


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_end_soon_and_never_fail(name: str) -> None:
    data = png(HOSTILE[name])
    start = time.process_time()
    read_prompt(data)
    assert time.process_time() - start < SOON


def test_a_graph_that_leads_everywhere_ends_soon() -> None:
    def node(i: int, n: int, samplers: int) -> dict:
        back = {f"positive{k}": [str((i + k) % n), 0] for k in range(20)}
        settings = {"sampler_name": "a", "steps": 1, "cfg": 1} if i < samplers else {}
        ends = {"positive": [str((i + 1) % n), 0], "model": [str((i + 1) % n), 0]}
        return {"class_type": "x", "inputs": settings | ends | back}

    most = (comfyui.MAX_NODES, comfyui.MAX_SAMPLERS)
    for n, samplers in (most, (3_000, 1), (500, 500)):
        data = png({"prompt": json.dumps({str(i): node(i, n, samplers) for i in range(n)})})
        start = time.process_time()
        assert read_prompt(data) is None
        assert time.process_time() - start < SOON


def test_damaged_exif_is_no_prompt_and_stops_no_guess() -> None:
    for file_format in ("JPEG", "WEBP"):
        data = FILES[f"a1111 {file_format.lower()}"][0]
        start = data.index(b"UNICODE") - 60
        for position in range(start, start + 60):
            broken = data[:position] + b"\xff" + data[position + 1 :]
            try:
                read_prompt(broken)
            except ImageError:
                with pytest.raises(ImageError):
                    open_image(broken)


@given(data=st.binary(max_size=400), key=st.sampled_from(file_prompts.KEYS))
def test_random_texts_never_fail(data: bytes, key: str) -> None:
    read_prompt(with_chunk(saved("PNG"), b"tEXt", key.encode() + b"\0" + data, before=b"IDAT"))
    read_prompt(commented("JPEG", data))


@given(
    key=st.sampled_from(file_prompts.KEYS),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from([*FOOOCUS, *INVOKE, *INVOKE_2, "inputs", "uc", "1"]),
                inner,
                max_size=6,
            )
        ),
        max_leaves=20,
    ),
)
def test_any_json_never_fails(key: str, value: Any) -> None:
    found = read_prompt(png({key: json.dumps(value)}))
    assert found is None or found.prompt


@given(st.binary(max_size=200))
def test_random_files_are_refused_in_a_sentence(data: bytes) -> None:
    with pytest.raises(ImageError):
        read_prompt(data)
