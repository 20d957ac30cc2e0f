"""The page with small untrained models, which starts in seconds: what several tests serve."""

from pathlib import Path

import numpy as np
from PIL import Image

from img2prompt.core.files import sha256_of, write_json
from img2prompt.embedding.vectors import EMBEDDING_FILE, WordVectors
from img2prompt.embedding.word_map import MAP_FILE, VocabularyMap

SIDE = 32


def write(folder: Path) -> Path:
    """Artifacts as they ship, but small: two untrained models, an embedding, a map, an example."""
    from img2prompt.models import notebook, original

    random = np.random.default_rng(1)
    words = [f"word{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(80)]
    vectors = WordVectors(
        words, random.normal(size=(80, 100)).astype(np.float32), np.arange(80, 0, -1)
    )
    vectors.save(folder / EMBEDDING_FILE)
    space = random.uniform(-1, 1, size=(60, 3)).astype(np.float32)
    themes = np.arange(60) % 2
    places = (space[:, :2], space, themes, ("worda", "wordb"))
    VocabularyMap(vectors, tuple(words[:60]), *places, vectors.counts[:60], "chance").save(
        folder / MAP_FILE
    )
    original.build(vectors, SIDE).save(folder / "gaze.keras")
    notebook.build(vectors, SIDE).save(folder / "notebook.keras")
    write_manifest(folder)
    (folder / "examples").mkdir()
    picture(9).save(folder / "examples" / "noise.png")
    entry = {"file": "noise.png", "title": "Noise", "alt": 'Coloured "noise" & nothing else'}
    write_json(folder / "examples" / "examples.json", [entry])
    return folder


def picture(seed: int, side: int = 48) -> Image.Image:
    """RGB noise, the same for the same seed."""
    noise = np.random.default_rng(seed).integers(0, 256, size=(side, side, 3))
    return Image.fromarray(noise.astype(np.uint8))


def write_manifest(folder: Path) -> None:
    """A manifest of the models and the embedding that lie there."""
    files = {
        path.name: {"sha256": sha256_of(path), "size": path.stat().st_size}
        for path in folder.iterdir()
        if path.suffix in (".npz", ".keras")
    }
    write_json(folder / "manifest.json", {"default": "gaze", "files": files})
