"""The doors of the house that take what strangers send, and what each has to do with it."""

import io
import re
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from fuzz_inputs import TEXT, archives, damaged, pictures, pictures_with_prompts
from fuzz_kit import Family, is_sentence
from hypothesis import strategies as st

from img2prompt.core.errors import UserError
from img2prompt.data import block_list, diffusiondb, images, text
from img2prompt.data.file_prompts.reading import read_prompt
from img2prompt.embedding import analogy
from img2prompt.embedding.vectors import WordVectors
from img2prompt.evaluation import score as scoring
from img2prompt.inference import batch
from img2prompt.inference.decoder import Decoder
from img2prompt.inference.prediction import Prediction

LONGEST = 20_000  # characters of a prompt that is shown
WORDS = "of a the portrait dog cat forest castle neon painting light dark oil 2 red".split()
_CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f]")


@cache
def vectors() -> WordVectors:
    """A small embedding."""
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(len(WORDS), 6)).astype(np.float32)
    return WordVectors(WORDS, drawn, np.arange(len(WORDS), 0, -1) * 10)


class Still:
    """A predictor without a model: every picture gets the same answer."""

    def predict_many(self, sources: object, words: int = 10) -> list[Prediction]:
        """An answer a picture."""
        return [Prediction("still", (), np.zeros((1, 6), np.float32)) for _ in sources]


def check_picture(data: bytes) -> None:
    """A picture is upright RGB, and the model's input is floats in [0, 1]."""
    image = images.open_image(data)
    assert image.mode == "RGB" and image.width > 0 and image.height > 0
    pixels = images.to_float(images.to_pixels(image, 16))
    assert pixels.shape == (16, 16, 3) and pixels.min() >= 0 and pixels.max() <= 1


def check_metadata(data: bytes) -> None:
    """A prompt that is shown is a text of bounded length without control characters."""
    found = read_prompt(data)
    if found is None or not hasattr(found, "prompt"):
        return
    for told in (found.prompt, found.negative, found.tool, found.model or "", found.sampler or ""):
        assert isinstance(told, str) and len(told) <= LONGEST
        assert not _CONTROL.search(told)
        told.encode("utf-8")
    assert found.prompt or found.negative


def check_archive(data: bytes) -> None:
    """An archive gives a row a picture, and each reason is a sentence."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "set.zip"
        path.write_bytes(data)
        before = set(Path(folder).rglob("*"))
        for row in batch.Run(Still(), [path], 5):
            assert "\n" not in row.name and not _CONTROL.search(row.name)
            assert isinstance(row.result, Prediction) or is_sentence(str(row.result))
        assert set(Path(folder).rglob("*")) == before  # nothing is unpacked


def check_part(data: bytes) -> None:
    """A part of a data set gives pairs, and a reason for whatever is no pair."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part-000001.zip"
        path.write_bytes(data)
        for pair in diffusiondb.read_part(path):
            if isinstance(pair, diffusiondb.Pair):
                assert pair.prompt.strip() and isinstance(pair.data, bytes)
            else:
                assert pair.reason


def check_prompt(data: bytes) -> None:
    """A prompt becomes words; a sum, a search and a score of it are answers or sentences."""
    prompt = data.decode("utf-8", "surrogatepass")
    words = text.words(prompt)
    assert all(word and word == word.lower() for word in words)
    assert text.words(" ".join(words)) == words
    folded = text.fold(prompt)
    assert text.fold(folded) == folded
    assert set(text.content_words(prompt)) <= set(words)
    for hidden in (block_list.BLOCKED_WORDS, frozenset(words[:1])):
        assert not set(text.words(block_list.mask(prompt, hidden))) & hidden
    told = []
    for call in (
        lambda: analogy.solve(prompt, vectors()),
        lambda: scoring.score_words(["dog"], prompt, vectors()),
        lambda: scoring.score_words([prompt], "a red dog", vectors()),
        lambda: analogy.beginning(prompt, WORDS),
    ):
        try:
            call()
        except UserError as error:
            assert is_sentence(str(error)), f"no sentence: {error}"
            told.append(error)
    if told:
        raise told[0]


def check_artifact(data: bytes) -> None:
    """A file of arrays is ours and whole, or refused."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npz"
        path.write_bytes(data)
        told = []
        for load in (WordVectors.load, lambda path: Decoder.load(path, vectors())):
            try:
                load(path)
            except UserError as error:
                told.append(error)
        if len(told) == 2:
            raise UserError(str(told[0]).replace(folder, "…"))


@cache
def artifacts() -> list[bytes]:
    """An embedding and a decoder, as they ship but small."""
    made = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npz"
        for thing in (vectors(), Decoder.plain(vectors())):
            thing.save(path)
            made.append(path.read_bytes())
    buffer = io.BytesIO()
    np.savez_compressed(buffer, prior=np.zeros(3_000_000, np.float16))
    return [*made, buffer.getvalue()]


_SUMS = st.lists(
    st.one_of(st.sampled_from([*WORDS, "+", "-", "–", "−", " "]), st.text(max_size=4)), max_size=9
).map("".join)

FAMILIES = {
    family.name: family
    for family in (
        Family(
            "pictures",
            "`images.open_image`",
            damaged(st.sampled_from(pictures())),
            check_picture,
        ),
        Family("metadata", "`file_prompts.read_prompt`", pictures_with_prompts(), check_metadata),
        Family("archives", "`batch.Run`", archives(), check_archive),
        Family("parts", "`diffusiondb.read_part`", archives(part=True), check_part),
        Family(
            "prompts",
            "`text`, `analogy`, `score`, `block_list`",
            st.one_of(TEXT, _SUMS, st.text()).map(lambda t: t.encode("utf-8", "surrogatepass")),
            check_prompt,
        ),
        Family(
            "artifacts",
            "`WordVectors.load`, `Decoder.load`",
            st.deferred(lambda: damaged(st.sampled_from(artifacts()))),
            check_artifact,
        ),
    )
}
