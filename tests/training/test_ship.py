"""Runs → artifacts: all or none, provenance kept, figures of another embedding refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import ROOT

from img2prompt.core.errors import UserError
from img2prompt.core.files import PROVENANCE_FILE, provenance, sha256_of, write_json
from img2prompt.embedding.vectors import EMBEDDING_FILE, WordVectors
from img2prompt.inference.artifacts import MANIFEST, Assets, load
from img2prompt.inference.decoder import DECODER_SUFFIX, Decoder
from img2prompt.inference.predictor import load_model
from img2prompt.training import publish as publishing
from img2prompt.training import ship as shipping


@pytest.fixture
def runs(tmp_path: Path, vectors: WordVectors, tiny_model: Any) -> list[Path]:
    """Two finished runs, of presets `gaze` and `original`."""
    folders = []
    for preset in ("gaze", "original"):
        folder = tmp_path / "runs" / preset
        folder.mkdir(parents=True)
        write_json(folder / "config.json", {"preset": preset, "embedding": vectors.fingerprint})
        write_json(folder / PROVENANCE_FILE, provenance(["python", "train", preset]))
        tiny_model.save(folder / "model.keras")
        folders.append(folder)
    return folders


@pytest.fixture
def out(tmp_path: Path, vectors: WordVectors) -> Path:
    folder = tmp_path / "out"
    vectors.save(folder / EMBEDDING_FILE)
    shipping.record(folder / EMBEDDING_FILE, ["python", "embed"], figures={"words": len(vectors)})
    return folder


def ship(runs: list[Path], out: Path) -> dict:
    return shipping.ship_runs(runs, out, "data of the tests")


def test_what_ships_loads_and_says_what_made_it(runs: list[Path], out: Path) -> None:
    manifest = ship(runs, out)
    assert manifest["files"]["original.keras"]["made_by"] == "python train original"
    assets = Assets(out)
    assert assets.presets == ["gaze", "original"]
    assert assets.predictor().preset == "gaze"
    assert {path.name for path in out.iterdir()} == {
        "gaze.keras", "original.keras", EMBEDDING_FILE, "embedding.report.json", MANIFEST,
    }  # fmt: skip


def test_the_manifest_says_what_a_commands_report_says(
    runs: list[Path], out: Path, vectors: WordVectors
) -> None:
    entry = ship(runs, out)["files"][EMBEDDING_FILE]
    assert entry["made_by"] == "python embed" and {"commit", "date"} <= entry.keys()
    assert entry["figures"] == {"words": len(vectors)} and "report" not in entry
    # A newer report goes into the manifest at once; one of other bytes is none.
    shipping.record(out / EMBEDDING_FILE, ["python", "embed", "anew"])
    files = json.loads((out / MANIFEST).read_text("utf-8"))["files"]
    assert files[EMBEDDING_FILE]["made_by"] == "python embed anew"
    changed = WordVectors(vectors.words, vectors.vectors + np.float32(1), vectors.counts)
    changed.save(out / EMBEDDING_FILE)
    assert "made_by" not in shipping.build_manifest(out)["files"][EMBEDDING_FILE]


def test_what_nothing_tells_the_making_of_is_refused(runs: list[Path], out: Path) -> None:
    ship(runs, out)  # what the manifest says of unchanged files is enough from here on
    (out / "embedding.report.json").unlink()
    ship(runs[:1], out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    np.savez(out / "map.npz", positions=np.zeros((1, 2)))
    with pytest.raises(UserError, match=r"Nothing tells what made .*map\.npz"):
        ship(runs, out)
    (out / "map.npz").unlink()
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_half_precision_keeps_outputs_and_bytes(
    runs: list[Path], tmp_path: Path, tiny_model: Any
) -> None:
    for name in ("a.keras", "b.keras"):
        shipping.write_half_precision(runs[0] / "model.keras", tmp_path / name)
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()
    half = load_model(tmp_path / "a.keras")
    assert {weight.dtype for weight in half.weights} == {"float32"}
    for ours, theirs in zip(half.get_weights(), tiny_model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs.astype(np.float16).astype(np.float32))


def test_one_unfinished_run_ships_nothing(runs: list[Path], out: Path) -> None:
    (runs[1] / "model.keras").unlink()
    with pytest.raises(UserError, match="not finished"):
        ship(runs, out)
    names = {path.name for path in out.iterdir()}
    assert names == {EMBEDDING_FILE, "embedding.report.json"}


def test_a_run_of_another_embedding_is_refused(runs: list[Path], out: Path) -> None:
    write_json(runs[0] / "config.json", {"preset": "gaze", "embedding": "another"})
    with pytest.raises(UserError, match="another embedding"):
        ship(runs, out)


def test_an_unchanged_file_keeps_its_account_and_gains_figures(
    runs: list[Path], out: Path, vectors: WordVectors, tmp_path: Path
) -> None:
    before = ship(runs, out)
    row = dict.fromkeys(shipping.FIGURES, 0.5) | {"name": "gaze"}
    report = {"embedding": vectors.fingerprint, "split": "test", "systems": [row]}
    write_json(tmp_path / "evaluation.json", report)
    after = shipping.build_manifest(out, evaluation=tmp_path / "evaluation.json")
    assert after["data"] == "data of the tests"
    assert after["files"]["gaze.keras"].pop("figures")["f1"] == 0.5
    assert after["files"] == before["files"]
    write_json(tmp_path / "evaluation.json", report | {"embedding": "another"})
    with pytest.raises(UserError, match="another embedding"):
        shipping.build_manifest(out, evaluation=tmp_path / "evaluation.json")


def test_what_the_models_learned_from_is_what_their_runs_say(runs: list[Path], out: Path) -> None:
    """Unless a person says it; nobody has to type what the records hold."""
    for run, told in zip(runs, ("9 pictures of a", "9 pictures of a"), strict=True):
        made = provenance(["python", "train"]) | {"learned_from": told}
        write_json(run / PROVENANCE_FILE, made)
    assert shipping.ship_runs(runs, out)["data"] == "9 pictures of a"
    write_json(runs[1] / PROVENANCE_FILE, made | {"learned_from": "7 pictures of b"})
    assert shipping.ship_runs(runs, out)["data"] == "9 pictures of a; 7 pictures of b"
    assert shipping.ship_runs(runs, out, "my own words")["data"] == "my own words"
    assert shipping.build_manifest(out)["data"] == "my own words"


def test_a_folder_without_a_default_model_is_refused(out: Path) -> None:
    with pytest.raises(UserError, match=r"lacks gaze\.keras"):
        shipping.build_manifest(out)


def test_a_weight_beyond_float16_is_refused(
    vectors: WordVectors, tmp_path: Path, runs: list[Path]
) -> None:
    model = load_model(runs[0] / "model.keras")
    model.get_layer("dense1").bias.assign(np.full(100, 1e6, np.float32))
    model.save(tmp_path / "large.keras")
    with pytest.raises(UserError, match="float16"):
        shipping.write_half_precision(tmp_path / "large.keras", tmp_path / "half.keras")
    assert not (tmp_path / "half.keras").exists()


def test_the_shipped_manifest_is_complete() -> None:
    folder = ROOT / "assets"
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    names = {path.name for path in folder.iterdir() if path.suffix in (".keras", ".npz")}
    assert set(manifest["files"]) == names
    for name, entry in manifest["files"].items():
        assert {"sha256", "size", "made_by", "commit", "date"} <= set(entry), name
        assert Assets().path(name).is_file()


@pytest.mark.parametrize("mistake", ["default", "figures", "damaged", "twice"])
def test_a_mistake_leaves_the_folder_as_it_was(
    mistake: str, runs: list[Path], out: Path, tmp_path: Path
) -> None:
    ship(runs, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    options: dict[str, Any] = {}
    if mistake == "default":
        options["default"] = "orignal"
    elif mistake == "figures":
        write_json(tmp_path / "e.json", {"embedding": "another", "split": "test", "systems": []})
        options["evaluation"] = tmp_path / "e.json"
    elif mistake == "damaged":
        (runs[1] / "model.keras").write_bytes(b"PK damaged")
    else:
        runs = [runs[0], runs[0]]
    with pytest.raises(UserError):
        shipping.ship_runs(runs, out, **options)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_the_default_stays_until_another_is_named(runs: list[Path], out: Path) -> None:
    assert shipping.ship_runs(runs, out, default="original")["default"] == "original"
    assert shipping.ship_runs([], out)["default"] == "original"
    assert shipping.ship_runs([], out, default="gaze")["default"] == "gaze"


# --- whose decoder it is --------------------------------------------------------------------------


def fitted(vectors: WordVectors, knots: tuple = (0.0, 0.5)) -> Decoder:
    plain = Decoder.plain(vectors)
    return Decoder(vectors, plain.prior, np.float32(knots), np.float32([0.1, 0.9]))


def list_anew(folder: Path) -> None:
    """A manifest whose checksums hold, whatever lies in the folder."""
    shipping.build_manifest(folder)


def test_a_decoder_ships_bound_to_the_model_that_ships(
    runs: list[Path], out: Path, vectors: WordVectors
) -> None:
    run = runs[0]
    vectors.save(run / EMBEDDING_FILE)
    fitted(vectors).save(run / "model.decoder.npz", model=sha256_of(run / "model.keras"))
    assert load(run).decoder.calibrated
    manifest = ship(runs, out)
    shipped = out / f"gaze{DECODER_SUFFIX}"
    assert sha256_of(out / "gaze.keras") != sha256_of(run / "model.keras")  # half precision
    assert Decoder.model_of(shipped) == manifest["files"]["gaze.keras"]["sha256"]
    assert Assets(out).predictor("gaze").decoder.calibrated


def test_another_models_decoder_is_refused_everywhere(
    runs: list[Path], out: Path, vectors: WordVectors
) -> None:
    for run in runs:
        vectors.save(run / EMBEDDING_FILE)
        fitted(vectors).save(run / "model.decoder.npz", model=sha256_of(run / "model.keras"))
    model = load_model(runs[1] / "model.keras")
    model.get_layer("dense1").bias.assign(np.full(100, 0.5, np.float32))
    model.save(runs[1] / "model.keras")  # another one now
    with pytest.raises(UserError, match=r"model\.decoder\.npz was fitted to another model"):
        load(runs[1])
    with pytest.raises(UserError, match="another model"):
        ship(runs, out)
    fitted(vectors).save(runs[1] / "model.decoder.npz", model=sha256_of(runs[1] / "model.keras"))
    ship(runs, out)
    one, two = (out / f"{name}{DECODER_SUFFIX}" for name in ("gaze", "original"))
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    list_anew(out)
    for preset in ("gaze", "original"):
        with pytest.raises(UserError, match=rf"{preset}\.decoder\.npz .*another model"):
            Assets(out).predictor(preset)
    with pytest.raises(UserError, match="another model"):
        publishing.plan_publication("ann/model", out, card=__file__)


def test_an_older_decoder_is_refused_until_it_is_bound(
    runs: list[Path], out: Path, vectors: WordVectors
) -> None:
    ship(runs, out)
    path = out / f"original{DECODER_SUFFIX}"
    fitted(vectors).save(path)
    shipping.build_manifest(out, made={path.name: {"made_by": "python fit"}})
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"does not say which model.*build_assets\.py --bind"):
        Assets(out).predictor("original")
    assert shipping.bind_decoders(out, ["python", "bind", "it"]) == [path.name]
    bound = Assets(out).predictor("original").decoder
    np.testing.assert_array_equal(bound.knots, np.float32([0.0, 0.5]))
    entry = Assets(out).files[path.name]
    assert (entry["made_by"], entry["bound"]["made_by"]) == ("python fit", "python bind it")
    assert entry["sha256"] == sha256_of(path)
    assert path.read_bytes() != before
    assert shipping.bind_decoders(out, ["python", "bind", "it"]) == []


def test_every_shipped_decoder_is_bound_to_its_model() -> None:
    assets = Assets()
    vectors = assets.embedding()
    for preset in assets.presets:
        assert assets.decoder(preset, vectors).calibrated
