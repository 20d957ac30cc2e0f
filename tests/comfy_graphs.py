"""Small graphs of ComfyUI."""

import json
from typing import Any

from img2prompt.data.file_prompts.comfyui import read_graph

YES, NO = "close-up photo of a white horse", "human, blurry"
SETTINGS = {"seed": 1, "steps": 25, "cfg": 8.0, "sampler_name": "euler", "scheduler": "normal"}


def node(kind: str, **inputs: Any) -> dict:
    return {"class_type": kind, "inputs": inputs}


def encoder(text: Any) -> dict:
    return node("CLIPTextEncode", text=text, clip=["model", 1])


def graph(**more: dict) -> dict:
    """A plain graph: "yes" and "no" are encoded for "sampler"; `more` adds or replaces nodes."""
    plain = {
        "model": node("CheckpointLoaderSimple", ckpt_name="dream.safetensors"),
        "empty": node("EmptyLatentImage", width=512, height=512, batch_size=1),
        "yes": encoder(YES),
        "no": encoder(NO),
        "sampler": sampler(["yes", 0], ["no", 0]),
        "decode": node("VAEDecode", samples=["sampler", 0], vae=["model", 2]),
        "save": node("SaveImage", images=["decode", 0], filename_prefix="x"),
    }
    return plain | more


def sampler(positive: Any, negative: Any, kind: str = "KSampler", **more: Any) -> dict:
    inputs = {"model": ["model", 0], "positive": positive, "negative": negative}
    return node(kind, **{**SETTINGS, **inputs, "latent_image": ["empty", 0], **more})


def told(table: dict, workflow: dict | None = None) -> tuple[str, str]:
    found = read_graph(json.dumps(table), json.dumps(workflow) if workflow else "")
    assert found is not None
    return found.prompt, found.negative


def through(kind: str, slots: tuple[int, int] = (0, 1), **more: Any) -> dict:
    """A graph whose two prompts pass through one node, and leave it at two slots."""
    return graph(
        between=node(kind, positive=["yes", 0], negative=["no", 0], **more),
        sampler=sampler(["between", slots[0]], ["between", slots[1]]),
    )


def custom(**guider: Any) -> dict:
    return graph(
        noise=node("RandomNoise", noise_seed=7),
        choice=node("KSamplerSelect", sampler_name="dpmpp_2m"),
        sigmas=node("BasicScheduler", scheduler="simple", steps=20, model=["model", 0]),
        cut=node("SplitSigmas", sigmas=["sigmas", 0], step=5),
        guider=guider.pop("guider"),
        sampler=node(
            "SamplerCustomAdvanced",
            noise=["noise", 0],
            guider=["guider", 0],
            sampler=["choice", 0],
            sigmas=["cut", 1],
            latent_image=["empty", 0],
        ),
        **guider,
    )
