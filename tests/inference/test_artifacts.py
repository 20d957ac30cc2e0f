"""The shipped folder: its manifest, its checksums, and `load()`."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import img2prompt
from img2prompt.core.errors import UserError
from img2prompt.core.files import atomic_path, read_json, sha256_of, write_json
from img2prompt.embedding.vectors import WordVectors
from img2prompt.inference import artifacts
from img2prompt.inference.artifacts import Assets, load


def change(path: Path) -> None:
    """Flip one bit; the size stays."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def edit_manifest(folder: Path, edit) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    edit(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_folder_of_artifacts_is_ready_to_use(assets_folder: Path, make_picture) -> None:
    assets = Assets(assets_folder)
    assert assets.presets == ["original", "notebook"] and assets.default == "original"
    assert len(assets.predictor()(make_picture(), words=3).words) == 3
    assert assets.predictor("notebook").preset == "notebook"


def test_load_takes_a_folder_of_artifacts(assets_folder: Path, predictor, make_picture) -> None:
    loaded = load(assets_folder)
    np.testing.assert_allclose(
        loaded(make_picture()).vectors, predictor(make_picture()).vectors, atol=1e-6
    )
    assert load(str(assets_folder)).preset == "original"


def test_load_takes_a_preset_by_name(assets_folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(artifacts, "ASSETS", assets_folder)
    assert img2prompt.load().preset == "original"
    assert img2prompt.load("notebook").preset == "notebook"


def test_load_takes_its_argument_by_position_or_by_either_name(
    assets_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "ASSETS", assets_folder)
    assert load("notebook").preset == "notebook"
    assert load(name_or_path="notebook").preset == "notebook"
    assert load(preset="notebook").preset == "notebook"
    assert load(preset=assets_folder).preset == "original"
    with pytest.raises(TypeError, match="not both"):
        load("notebook", preset="notebook")


def test_load_takes_what_a_training_run_wrote(assets_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "my-run"
    run.mkdir()
    (assets_folder / "embedding.npz").rename(run / "embedding.npz")
    (assets_folder / "notebook.keras").rename(run / "model.keras")
    assert load(run).preset == "my-run"


def test_an_unknown_preset_is_refused_with_the_known_ones(assets_folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(artifacts, "ASSETS", assets_folder)
    for ask in (lambda: Assets(assets_folder).predictor("gazelle"), lambda: load("gazelle")):
        with pytest.raises(UserError, match=r"gazelle.*original, notebook"):
            ask()


@pytest.mark.parametrize("preset", ["no/such/folder", "../original", Path("nowhere")])
def test_a_folder_that_is_not_there_is_refused(
    assets_folder: Path, monkeypatch, tmp_path: Path, preset
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(artifacts, "ASSETS", assets_folder)
    with pytest.raises(UserError, match="no folder"):
        load(preset)


@pytest.mark.parametrize("name", ["model.h5", "model.pkl", "model.keras"])
def test_a_file_is_not_a_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UserError):
        load(tmp_path / name)


@pytest.mark.parametrize("name", ["embedding.npz", "original.keras"])
def test_a_changed_file_is_refused(assets_folder: Path, name: str) -> None:
    change(assets_folder / name)
    with pytest.raises(UserError, match=rf"{name}.*SHA-256"):
        Assets(assets_folder).predictor()


@pytest.mark.parametrize("name", ["embedding.npz", "original.keras"])
def test_a_longer_file_and_a_missing_one_are_refused(assets_folder: Path, name: str) -> None:
    with (assets_folder / name).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(UserError, match=name):
        Assets(assets_folder).predictor()
    (assets_folder / name).unlink()
    with pytest.raises(UserError, match=rf"{name} is missing"):
        Assets(assets_folder).predictor()


def test_a_model_nobody_asked_for_may_be_damaged(assets_folder: Path) -> None:
    change(assets_folder / "notebook.keras")
    assert Assets(assets_folder).predictor("original").preset == "original"


def test_a_file_that_is_not_listed_is_not_used(assets_folder: Path) -> None:
    assets = Assets(assets_folder)
    with pytest.raises(UserError, match="does not list"):
        assets.path("../secrets.npz")
    (assets_folder / "extra.keras").write_bytes(b"x")
    assert "extra" not in Assets(assets_folder).presets


def test_a_model_beside_another_embedding_is_refused(
    assets_folder: Path, vectors: WordVectors
) -> None:
    path = assets_folder / "embedding.npz"
    WordVectors(vectors.words, vectors.vectors * 2, vectors.counts).save(path)
    entry = {"sha256": sha256_of(path), "size": path.stat().st_size}
    edit_manifest(assets_folder, lambda m: m["files"].update({"embedding.npz": entry}))
    with pytest.raises(UserError, match="belong together"):
        load(assets_folder)


@pytest.mark.parametrize(
    "edit",
    [
        lambda manifest: manifest.pop("files"),
        lambda manifest: manifest.update(files=["original.keras"]),
        lambda manifest: manifest["files"].update({"original.keras": "abc"}),
        lambda manifest: manifest["files"]["original.keras"].pop("sha256"),
        lambda manifest: manifest["files"]["embedding.npz"].pop("size"),
        lambda manifest: manifest.update(files={}),
        lambda manifest: manifest["files"].pop("embedding.npz"),
    ],
    ids=["no files", "a list", "no entry", "no checksum", "no size", "empty", "no embedding"],
)
def test_a_manifest_that_says_too_little_is_refused(assets_folder: Path, edit) -> None:
    edit_manifest(assets_folder, edit)
    with pytest.raises(UserError):
        Assets(assets_folder).predictor()


@pytest.mark.parametrize("content", [None, "", "[]", "{", '"text"'])
def test_a_missing_or_broken_manifest_is_refused(assets_folder: Path, content: str | None) -> None:
    (assets_folder / "manifest.json").unlink()
    if content is not None:
        (assets_folder / "manifest.json").write_text(content)
    with pytest.raises(UserError, match="manifest"):
        Assets(assets_folder)


def test_the_package_imports_without_tensorflow() -> None:
    code = (
        "import sys, img2prompt, img2prompt.inference.artifacts, img2prompt.data.shards;"
        "import img2prompt.embedding.vectors;"
        "print([name for name in ('tensorflow', 'keras', 'gensim') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="nonsense"):
        img2prompt.nonsense  # noqa: B018


# --- files --------------------------------------------------------------------------------------


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("one")
        assert temporary.suffix == ".txt" and not path.exists()
    assert path.read_text() == "one"
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("two, half-wri")
        raise RuntimeError
    assert path.read_text() == "one"
    assert list(path.parent.iterdir()) == [path]


def test_json_comes_back(tmp_path: Path) -> None:
    value = {"words": ["łódź", "猫"], "score": 0.5, "none": None}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert "łódź" in (tmp_path / "a.json").read_text(encoding="utf-8")
    with pytest.raises(UserError, match=r"b\.json"):
        read_json(tmp_path / "b.json")
    (tmp_path / "b.json").write_bytes(b"\xff{")
    with pytest.raises(UserError, match="not a JSON file"):
        read_json(tmp_path / "b.json")
