"""Tiny data, embeddings and models that every room's tests share; nothing here is downloaded."""

import functools
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import browser_kit
import httpx
import numpy as np
import pytest
import small_hub
import small_page
from hub_server import Hub
from hypothesis import settings
from paths import TESTS
from PIL import Image
from sharding import write_table
from toy_files import encoded, misplaced, picture_of, write_metadata, write_part
from waiting import PATIENCE

from img2prompt.core.cli import OURS
from img2prompt.core.files import sha256_of, write_json
from img2prompt.data.shards import ShardIndex, read_shards
from img2prompt.embedding.vectors import EMBEDDING_FILE, WordVectors

# A shell ignores Ctrl-C for what it starts in the background, and so would every process of ours.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ[OURS] = "1"  # so every process of the tests imports what a command does
# httpx gives up after five seconds, which a busy machine may take for a small page.
for _name in ("get", "post", "head", "options", "request"):
    setattr(httpx, _name, functools.partial(getattr(httpx, _name), timeout=PATIENCE))
# Derandomised, so that a red test is red again on the next machine.
settings.register_profile("suite", deadline=None, max_examples=100, derandomize=True)
settings.load_profile("suite")

SIDE = 32  # the smallest picture that prepared shards may have
WORDS = (
    "of a the portrait dog cat forest castle neon painting light dark oil sunset robot "
    "watercolor city 8k 2 red blue ocean fox detailed dragon moon snow garden face mountain"
).split()


# Long files first, before all the one that builds the toy chain: so no process waits for it, nor at
# the end for the other process.
FIRST = [
    "scripts/test_chain.py",
    "ui/test_browser_page.py",
    "ui/test_browser_map.py",
    "training/test_resume.py",
    "core/test_backend.py",
    "ui/test_api_mistakes.py",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first; what else there is keeps its order."""
    place = {TESTS / name: number for number, name in enumerate(FIRST)}
    items.sort(key=lambda item: place.get(item.path, len(FIRST)))


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """The hub that the shipped app asks: DiffusionDB in small, on this machine."""
    with small_hub.serve(tmp_path_factory.mktemp("hub")) as server:
        yield server


@pytest.fixture(scope="session")
def address(hub: Hub) -> Iterator[str]:
    """The address of the shipped app, started once for all tests of it.

    It answers under `browser_kit.NAME`, too.
    """
    with browser_kit.served(
        ["--allow-host", browser_kit.NAME], {"HF_ENDPOINT": hub.endpoint}
    ) as url:
        yield url


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artifacts as they ship, but small (`small_page`); not to be changed."""
    return small_page.write(tmp_path_factory.mktemp("small"))


# A module's and not the session's: while it runs, asyncio.run fails in every other test.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    with browser_kit.chromium() as started:
        yield started


@pytest.fixture
def open_page(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """(query, viewport, scheme) → the shipped app's page; see `browser_kit.pages`."""
    with browser_kit.pages(browser, address) as open_it:
        yield open_it


@pytest.fixture
def make_picture() -> Callable[..., Image.Image]:
    """(seed, size) → an RGB picture of smooth coloured noise, the same for the same seed."""
    return picture_of


@pytest.fixture
def encode() -> Callable[..., bytes]:
    """(picture, format, **options) → the encoded bytes."""
    return encoded


@pytest.fixture
def make_part() -> Callable[..., Path]:
    """(path, files, prompts) → a part zip: file name → bytes, and the JSON of prompts.

    A prompt that is a text becomes DiffusionDB's `{"p": prompt, …}`; other values stay as they are.
    """
    return write_part


@pytest.fixture
def misplace() -> Callable[[bytes, str], bytes]:
    """(zip, member) → the zip with that member further off than a seek can say (zip64 can)."""
    return misplaced


@pytest.fixture
def make_metadata() -> Callable[..., Path]:
    """(path, rows, **extra columns) → metadata.parquet with DiffusionDB's columns.

    A row is (image name, prompt, part number, image_nsfw, prompt_nsfw).
    """
    return write_metadata


@pytest.fixture
def diffusiondb_folder(tmp_path: Path) -> Path:
    """A folder in DiffusionDB's layout: 16 usable pictures, 7 to be skipped, 2 parts.

    Part 1 holds PNGs, part 2 WebPs. `fox-2.png` repeats the prompt of `fox-1.png` in other case
    and spacing. `SKIPPED` says what has to be left out, and why.
    """
    root = tmp_path / "diffusiondb"
    rows, files, prompts = [], {}, {}
    for number in range(8):
        name = f"one-{number}.png"
        files[name] = encoded(picture_of(number), "PNG")
        prompts[name] = f"a {WORDS[3 + number]} in the forest, oil painting number {number}"
    for name, prompt in (("fox-1.png", "A red fox,  snow"), ("fox-2.png", "a RED fox, snow ")):
        files[name] = encoded(picture_of(50), "PNG")
        prompts[name] = prompt
    write_part(root / "images" / "part-000001.zip", files, prompts)
    rows += [(name, prompts[name], 1, 0.1, 0.01) for name in files]

    files, prompts = {}, {}
    for number in range(6):
        name = f"two-{number}.webp"
        files[name] = encoded(picture_of(100 + number), "WEBP", lossless=True)
        prompts[name] = f"portrait of a robot, neon {WORDS[15 + number]}, study {number}"
    good = encoded(picture_of(1), "WEBP")
    files |= {name: good for name in SKIPPED if name != "gone.webp"}
    files["broken.webp"] = good[: len(good) // 2]
    prompts |= {name: f"a castle {name}" for name in SKIPPED if name != "no-prompt.webp"}
    prompts["empty.webp"] = "  "
    write_part(root / "images" / "part-000002.zip", files, prompts)
    scores = {"nude.webp": (0.9, 0.1), "rude.webp": (0.1, 0.9), "blurred.webp": (2.0, 0.1)}
    rows += [(name, prompts.get(name, ""), 2, *scores.get(name, (0.1, 0.01))) for name in files]
    write_metadata(root / "metadata.parquet", rows)
    return root


# Name → how the reason in the log starts, of `diffusiondb_folder`.
SKIPPED = {
    "broken.webp": "broken: ",
    "empty.webp": "empty prompt",
    "no-prompt.webp": "missing prompt",
    "gone.webp": "missing picture",
    "nude.webp": "image_nsfw",
    "rude.webp": "prompt_nsfw",
    "blurred.webp": "blurred",
}


@pytest.fixture(scope="session")
def make_table(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ShardIndex]:
    """The table of pictures with these prompts, and what else `sharding.write_table` takes."""

    def make(prompts: Sequence[str], *args: Any, **kwargs: Any) -> ShardIndex:
        return read_shards(write_table(tmp_path_factory.mktemp("table"), prompts, *args, **kwargs))

    return make


@pytest.fixture
def expected_skips() -> dict[str, str]:
    """Of `diffusiondb_folder`: name of a picture to skip → how the logged reason starts."""
    return dict(SKIPPED)


@pytest.fixture(scope="session")
def vectors() -> WordVectors:
    """An embedding of 30 words, three of them stop words and one a plain number; 8 dimensions."""
    rng = np.random.default_rng(0)
    counts = np.arange(len(WORDS), 0, -1) * 10
    return WordVectors(WORDS, rng.normal(size=(len(WORDS), 8)).astype(np.float32), counts)


@pytest.fixture(scope="session")
def tiny_model(vectors: WordVectors) -> Any:
    """The preset `original` for 32-pixel pictures: real, untrained, different for each picture."""
    from img2prompt.models import original

    return _wake(original.build(vectors, side=SIDE))


@pytest.fixture(scope="session")
def _built_assets(
    vectors: WordVectors, tiny_model: Any, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    from img2prompt.models import notebook

    folder = tmp_path_factory.mktemp("assets")
    vectors.save(folder / EMBEDDING_FILE)
    tiny_model.save(folder / "original.keras")
    _wake(notebook.build(vectors, side=SIDE)).save(folder / "notebook.keras")
    files = {
        path.name: {"sha256": sha256_of(path), "size": path.stat().st_size, "made_by": "the tests"}
        for path in sorted(folder.iterdir())
    }
    write_json(folder / "manifest.json", {"default": "original", "files": files})
    return folder


@pytest.fixture
def assets_folder(_built_assets: Path, tmp_path: Path) -> Path:
    """A folder like `assets/`: embedding, `original` (the default), `notebook`, manifest.

    A copy of one's own, so a test may damage it.
    """
    folder = tmp_path / "assets"
    folder.mkdir()
    for path in _built_assets.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture(scope="session")
def predictor(tiny_model: Any, vectors: WordVectors) -> Any:
    """A `Predictor` of `tiny_model` and `vectors`."""
    from img2prompt.inference.predictor import Predictor

    return Predictor(tiny_model, vectors, "original")


@pytest.fixture(scope="module")
def small_backbone() -> Iterator[None]:
    """A small CNN in EfficientNet-Lite2's place, while the tests of a file run."""
    import small_backbone

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(small_backbone.BACKBONES, small_backbone.NAME, small_backbone.build)
        yield


def _wake(model: Any) -> Any:
    # Fresh weights answer nearly alike for every picture and step; larger ones tell them apart. By
    # the whole fan-in, a convolution's window too: the LSTM would blow the rounding of activations
    # in the thousands up to differences that one can see.
    rng = np.random.default_rng(1)
    for variable in model.weights:
        fan_in = np.prod(variable.shape[:-1])
        scale = 1.5 / np.sqrt(fan_in) if "kernel" in variable.path else 0.5
        variable.assign(rng.normal(size=variable.shape, scale=scale))
    return model
