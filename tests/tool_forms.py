"""What each tool writes into a file, in each format that it writes, all of one picture."""

import json

from prompt_files import (
    commented,
    exif_file,
    hidden_file,
    png,
    saved,
    unicode_comment,
    xmp_file,
)

YES, NO = "a red fox in the snow, 狐", "blurry, low quality"

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
    for file_format in ("JPEG", "WEBP"):
        files[file_format] = commented(file_format, unicode_comment(written, "le"))
    return files


def keyed(texts: dict[str, str]) -> dict[str, bytes]:
    """Texts under keys of their own, and the same as one JSON in a comment."""
    written = json.dumps(texts)
    files = {"png": png(texts)}
    for file_format in ("JPEG", "WEBP"):
        files[file_format] = commented(file_format, b"ASCII\0\0\0" + written.encode())
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
        file_format: xmp_file(file_format, DRAW_XMP, 'xmp:CreatorTool="Draw Things"')
        for file_format in ("PNG", "JPEG", "WEBP")
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
