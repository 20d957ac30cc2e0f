"""Trained runs → the files in `assets/`: float16 weights and a manifest with checksums."""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from img2prompt.core.errors import UserError
from img2prompt.core.files import (
    PROVENANCE_FILE,
    atomic_path,
    provenance,
    read_json,
    scratch_folder,
    sha256_of,
    write_json,
)
from img2prompt.core.forms import DEFAULT_PRESET, Artifact, Evaluation, Made, Manifest, Run
from img2prompt.embedding.vectors import EMBEDDING_FILE, WordVectors
from img2prompt.inference.artifacts import MANIFEST, Assets
from img2prompt.inference.decoder import DECODER_PROVENANCE, DECODER_SUFFIX, Decoder
from img2prompt.inference.model_files import WEIGHTS, check_model_file

REPORT_SUFFIX = ".report.json"  # `map.report.json` tells what made `map.npz`
_OF_BYTES = ("sha256", "size")  # keys of the manifest about a file's bytes, not its making
# Figures of docs/evaluation.json that the manifest repeats.
FIGURES = (
    "f1",
    "f1_macro",
    "gain",
    "soft_recall",
    "cosine_per_word",
    "minilm",
    "distinct_words",
    "same_words",
)


def record(path: str | os.PathLike[str], command: Sequence[str], **report: Any) -> None:
    """Write beside an artifact what made it; a manifest that lies there takes it over.

    Args:
        path: the `.npz`.
        command: what a person typed.
        report: what else is worth knowing; `figures` go into the manifest.
    """
    path = Path(path)
    made = provenance(command) | {"sha256": sha256_of(path)}
    write_json(path.with_suffix(REPORT_SUFFIX), made | report)
    if (path.parent / MANIFEST).is_file():
        build_manifest(path.parent)


def write_half_precision(source: str | os.PathLike[str], out: str | os.PathLike[str]) -> None:
    """Copy a `.keras` file with its weights stored as float16, half the size.

    Keras casts them back to the layers' float32 on loading. Timestamps are fixed, so the same
    weights give the same bytes.

    Raises:
        UserError: `source` is not a `.keras` file, or a weight exceeds float16's range.
    """
    source, out = Path(source), Path(out)
    if not source.is_file():
        raise UserError("training.no_keras_file", path=source)
    check_model_file(source)
    with (
        zipfile.ZipFile(source) as archive,
        atomic_path(out) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as copy,
    ):
        for name in archive.namelist():
            data = archive.read(name)
            if name == WEIGHTS:
                scratch = temporary.with_suffix(".h5")
                scratch.write_bytes(data)
                data = _halve(scratch)
            copy.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)


def ship_runs(
    runs: Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    data: str | None = None,
    evaluation: str | os.PathLike[str] | None = None,
    default: str | None = None,
) -> dict[str, Any]:
    """Copy the runs' models into `folder` and write its manifest; all or nothing.

    Args:
        runs: finished folders of `train_model.py`; none, and only the manifest is written anew.
        folder, data, evaluation, default: as `build_manifest`.

    Returns:
        The manifest.

    Raises:
        UserError: a run is unfinished, damaged, named twice or of another embedding, or as
            `build_manifest`; `folder` is then as it was.
    """
    folder = Path(folder)
    vectors = WordVectors.load(folder / EMBEDDING_FILE)
    made: dict[str, dict[str, Any]] = {}
    sources: dict[str, Path] = {}
    for run in map(Path, runs):
        config = read_json(run / "config.json", Run)
        name = f"{config['preset']}.keras"
        if config["embedding"] != vectors.fingerprint:
            raise UserError("training.run_of_another_embedding", run=run, folder=folder)
        if not (run / "model.keras").is_file():
            raise UserError("training.run_unfinished", run=run)
        if name in sources:
            raise UserError("training.one_preset_twice", run=run, other=sources[name])
        sources[name], made[name] = run, read_json(run / PROVENANCE_FILE, Made)
    with scratch_folder(folder) as scratch:
        for name, run in sources.items():
            model, path = run / "model.keras", scratch / name
            write_half_precision(model, path)
            if (decoder := run / ("model" + DECODER_SUFFIX)).is_file():
                shipped = f"{name.removesuffix('.keras')}{DECODER_SUFFIX}"
                # The same weights in another file: its decoder is bound to that one.
                fitted = Decoder.load(decoder, vectors, sha256_of(model))
                fitted.save(scratch / shipped, model=sha256_of(path))
                own = run / DECODER_PROVENANCE  # of a decoder fitted after the run
                made[shipped] = read_json(own, Made) if own.is_file() else made[name]
        before, _, _ = _check_manifest(folder, [*sources], evaluation, default)
        _check_accounts(folder, before, [*made])
        for name in sources:  # never an older model's decoder beside a new model
            (folder / (name.removesuffix(".keras") + DECODER_SUFFIX)).unlink(missing_ok=True)
        for name in made:
            os.replace(scratch / name, folder / name)
    return build_manifest(folder, data, made, evaluation, default)


def bind_decoders(folder: str | os.PathLike[str], command: Sequence[str]) -> list[str]:
    """Bind decoders that name no model, as they were written once, to the models beside them.

    The numbers of each stay, and so does what the manifest says made them; its `bound` says by
    what and when they were bound. Who binds vouches that decoder and model belong together.

    Args:
        folder: artifacts with a manifest, whose checksums hold.
        command: what a person typed; the manifest adds it to what made the decoder.

    Returns:
        The names of the files that were written anew.

    Raises:
        UserError: as `Assets` and `Decoder.load`; a decoder that names another model.
    """
    assets, made = Assets(folder), {}
    vectors = assets.embedding()
    for preset in assets.presets:
        name, model = preset + DECODER_SUFFIX, assets.files[f"{preset}.keras"]["sha256"]
        if name not in assets.files or Decoder.model_of(assets.path(name)) is not None:
            assets.decoder(preset, vectors)
            continue
        assets.path(f"{preset}.keras")
        Decoder.load(assets.path(name), vectors).save(assets.folder / name, model=model)
        before = {key: value for key, value in assets.files[name].items() if key not in _OF_BYTES}
        made[name] = before | {"bound": provenance(command)}
    build_manifest(assets.folder, made=made)
    return [*made]


def build_manifest(
    folder: str | os.PathLike[str],
    data: str | None = None,
    made: dict[str, dict[str, Any]] | None = None,
    evaluation: str | os.PathLike[str] | None = None,
    default: str | None = None,
) -> dict[str, Any]:
    """Write `folder/manifest.json` over every artifact in it, and return it.

    What an earlier manifest says of a file that has not changed stays, unless the file's own
    report (see `record`) says something newer.

    Args:
        folder: holds `*.keras`, `embedding.npz`, `map.npz`.
        data: what the models learned from, in a sentence; unset, what `made` says, or as before.
        made: file name → `made_by` (command), `commit`, `date` of files made since; of a model
            `learned_from` too.
        evaluation: `evaluate.py`'s JSON, whose figures are repeated beside each model.
        default: the preset that answers when none is named; unset, as before.

    Raises:
        UserError: no embedding or no default model in `folder`, or figures of another embedding.
    """
    folder = Path(folder)
    before, figures, default = _check_manifest(folder, [], evaluation, default)
    names = sorted(path.name for path in folder.glob("*") if path.suffix in (".keras", ".npz"))
    files = {}
    recorded = _recorded(folder)
    for name in names:
        path = folder / name
        entry = {"sha256": sha256_of(path), "size": path.stat().st_size}
        known = before["files"].get(name, {})
        entry |= known if known.get("sha256") == entry["sha256"] else {}
        entry |= recorded.get(name, {}) | (made or {}).get(name, {})
        if name.removesuffix(".keras") in figures:
            entry["figures"] = figures[name.removesuffix(".keras")]
        files[name] = entry
    learned = dict.fromkeys(row.get("learned_from", "") for row in (made or {}).values())
    data = data or "; ".join(filter(None, learned)) or before.get("data", "")
    manifest = {"default": default, "data": data, "files": files}
    write_json(folder / MANIFEST, manifest)
    return manifest


def _check_manifest(
    folder: Path, coming: list[str], evaluation: str | os.PathLike[str] | None, default: str | None
) -> tuple[dict[str, Any], dict[str, dict[str, Any]], str]:
    """What a manifest needs: the one before, the figures by preset, the default preset."""
    before = (
        read_json(folder / MANIFEST, Manifest) if (folder / MANIFEST).exists() else {"files": {}}
    )
    default = default or before.get("default", DEFAULT_PRESET)
    for needed in (EMBEDDING_FILE, f"{default}.keras"):
        if needed not in coming and not (folder / needed).is_file():
            raise UserError("training.artifact_missing", folder=folder, name=needed)
    fingerprint = WordVectors.load(folder / EMBEDDING_FILE).fingerprint
    return before, _figures(evaluation, fingerprint), default


def _recorded(folder: Path) -> dict[str, dict[str, Any]]:
    """What the reports of a folder's artifacts, as `record` writes them, say for the manifest."""
    found = {}
    for report in folder.glob(f"*{REPORT_SUFFIX}"):
        told = read_json(report, Artifact)
        path = folder / f"{report.name.removesuffix(REPORT_SUFFIX)}.npz"
        if path.is_file() and told.get("sha256") == sha256_of(path):
            keys = ("made_by", "commit", "date", "figures")
            found[path.name] = {key: told[key] for key in keys if key in told}
    return found


def _check_accounts(folder: Path, before: dict[str, Any], coming: list[str]) -> None:
    """Raise `UserError` for an artifact of which nothing tells what made it."""
    recorded = _recorded(folder)
    for path in sorted(folder.glob("*")):
        if path.suffix not in (".keras", ".npz") or path.name in coming:
            continue
        known = before["files"].get(path.name, {})
        account = recorded.get(path.name, {})
        if not account and known.get("sha256") == sha256_of(path):
            account = known
        if not account.get("made_by"):
            raise UserError("training.no_account", path=path)


def _figures(
    evaluation: str | os.PathLike[str] | None, fingerprint: str
) -> dict[str, dict[str, Any]]:
    if evaluation is None:
        return {}
    report = read_json(evaluation, Evaluation)
    if report.get("abroad"):
        raise UserError("training.figures_of_held_out", path=evaluation)
    if report.get("embedding") != fingerprint:
        raise UserError("training.figures_of_another_embedding", path=evaluation)
    return {
        row["name"]: {name: row[name] for name in FIGURES} | {"split": report["split"]}
        for row in report["systems"]
    }


def _halve(path: Path) -> bytes:
    """Rewrite every float32 dataset of an HDF5 file as float16."""
    halved = path.with_suffix(".half.h5")
    try:
        with h5py.File(path, "r") as source, h5py.File(halved, "w") as target:
            _copy(source, target)
        return halved.read_bytes()
    finally:
        halved.unlink(missing_ok=True)


def _copy(source: Any, target: Any) -> None:
    for key, value in source.attrs.items():
        target.attrs[key] = value
    for name, item in source.items():
        if isinstance(item, h5py.Group):
            _copy(item, target.create_group(name))
            continue
        values = item[()]
        if values.dtype == np.float32:
            if np.abs(values).max(initial=0.0) > np.finfo(np.float16).max:
                raise UserError("training.beyond_float16")
            values = values.astype(np.float16)
        target.create_dataset(name, data=values).attrs.update(item.attrs)
