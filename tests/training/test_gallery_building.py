"""`build_gallery.py`: from a folder of data and a model to a gallery that serves it."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import ROOT
from PIL import Image
from small_gaze import small_gaze
from toy_files import write_metadata, write_part

from img2prompt.core.errors import UserError
from img2prompt.data.gallery_pairs import GalleryRules
from img2prompt.data.splits import split_of
from img2prompt.embedding.vectors import WordVectors
from img2prompt.inference import artifacts
from img2prompt.inference.gallery import Gallery
from img2prompt.inference.predictor import Predictor
from img2prompt.training import gallery_building
from img2prompt.training.gallery_building import (
    MOST_CHARACTERS,
    build_gallery,
    nearest_recall,
    principal_axes,
)

LONG = "castle of many towers " * 40


@pytest.fixture(scope="module")
def gaze(vectors: WordVectors) -> Predictor:
    return Predictor(small_gaze(vectors), vectors, "gaze")


@pytest.fixture
def data(tmp_path: Path, make_picture: Any, encode: Any) -> Path:
    """Ten pictures of which one is damaged and one has a very long prompt."""
    prompts = (f"a {animal} by the {n} trees" for n in range(9) for animal in ("fox", "owl"))
    chosen = [prompt for prompt in prompts if split_of(prompt) == "train"][:9]
    long = next(p for n in range(9) if split_of(p := f"{LONG}{n}") == "train")
    files = {
        f"{n}.png": encode(make_picture(n, (200, 100))) if n else b"no picture"
        for n in range(len(chosen) + 1)
    }
    told = dict(zip(files, [*chosen, long], strict=True))
    rows = [(name, prompt, 1, 0.0, 0.0) for name, prompt in told.items()]
    write_metadata(tmp_path / "metadata.parquet", rows, source=["a/b"] * 10, license=["MIT"] * 10)
    write_part(tmp_path / "images" / "part-000001.zip", files, told)
    return tmp_path


def test_a_gallery_finds_its_own_pictures(
    data: Path, gaze: Predictor, make_picture: Any, tmp_path: Path
) -> None:
    gallery, figures = build_gallery(data, gaze, GalleryRules.read())
    assert len(gallery) == figures["pictures"] == 9  # without the damaged one
    assert figures["recall_6"] > 0.8
    gallery.save(tmp_path / "gallery.npz")
    loaded = Predictor(
        gaze.model, gaze.vectors, "gaze", gallery=lambda: Gallery.load(tmp_path / "gallery.npz")
    )
    (found,) = loaded(make_picture(5, (200, 100)), similar=1).similar
    assert found.similarity > 0.999 and (found.source, found.licence) == ("a/b", "MIT")
    assert found.image.size == (128, 64)
    thumbnail = np.asarray(found.image.convert("RGB"), np.float32)
    small = make_picture(5, (200, 100)).resize((128, 64), Image.Resampling.LANCZOS)
    assert np.abs(thumbnail - np.asarray(small, np.float32)).mean() < 12
    (cut,) = (prompt for prompt in gallery.prompts if prompt.endswith("…"))
    assert len(cut) <= MOST_CHARACTERS + 2 and LONG.startswith(cut.removesuffix(" …"))


def test_many_pictures_are_packed_tighter(
    data: Path, gaze: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    fine = build_gallery(data, gaze, GalleryRules.read())[0].thumbnails.nbytes
    monkeypatch.setattr(gallery_building, "THUMBNAIL_BYTES", fine - 1)
    packed = build_gallery(data, gaze, GalleryRules.read())[0].thumbnails.nbytes
    assert packed < fine


def test_the_script_writes_gallery_credits_and_account(
    data: Path, gaze: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(artifacts, "load", lambda name: gaze)
    out = tmp_path / "made" / "gallery.npz"
    out.parent.mkdir()
    script = ROOT / "scripts" / "build_gallery.py"
    arguments = ["--data", str(data), "--model", "gaze", "--out", str(out), "--most", "4"]
    monkeypatch.setattr(sys, "argv", [str(script), *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code in (0, None)
    assert 3 <= len(Gallery.load(out)) <= 4
    told = json.loads(out.with_name("gallery.report.json").read_text("utf-8"))
    assert "build_gallery.py" in told["made_by"] and told["figures"]["sources"] == 1
    assert "https://github.com/a/b" in out.with_name("gallery-credits.md").read_text("utf-8")
    assert "pictures of 1 sources" in capsys.readouterr().out


def test_a_model_without_features_is_refused(data: Path, predictor: Predictor) -> None:
    with pytest.raises(UserError, match="has no pretrained CNN"):
        build_gallery(data, predictor, GalleryRules.read())


def test_axes_keep_the_cosines_of_what_they_span() -> None:
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(30, 3)) @ rng.normal(size=(3, 40))).astype(np.float32)
    axes = principal_axes(rows, 8)
    assert axes.shape == (40, 3)  # no more than there are
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-3)
    np.testing.assert_allclose(rows @ axes @ axes.T, rows, atol=1e-2)
    assert nearest_recall(rows, rows @ axes, 6) == 1.0
    assert nearest_recall(rows, rng.normal(size=(30, 3)), 6) < 0.5
    same = np.ones((4, 5), np.float32)
    assert principal_axes(same, 8).shape == (5, 1)
