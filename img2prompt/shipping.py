"""Trained runs → the files in `assets/`: float16 weights and a manifest with checksums."""

import datetime
import os
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from img2prompt.artifacts import DEFAULT_PRESET, MANIFEST
from img2prompt.embedding import EMBEDDING_FILE
from img2prompt.errors import UserError
from img2prompt.files import atomic_path, read_json, sha256_of, write_json

WEIGHTS = "model.weights.h5"  # the member of a `.keras` zip that holds the weights
# Figures of docs/evaluation.json that the manifest repeats.
FIGURES = ("f1", "f1_macro", "gain", "soft_recall", "cosine_per_word", "minilm", "distinct_words")


def write_half_precision(source: str | os.PathLike, out: str | os.PathLike) -> None:
    """Copy a `.keras` file with its weights stored as float16, half the size.

    Keras casts them back to the layers' float32 on loading. Timestamps are fixed, so the same
    weights give the same bytes.

    Raises:
        UserError: `source` is not a `.keras` file, or a weight exceeds float16's range.
    """
    source, out = Path(source), Path(out)
    if not source.is_file() or not zipfile.is_zipfile(source):
        raise UserError(f"{source} is not a .keras file; train one with scripts/train_model.py.")
    scratch = out.with_name(f".{out.stem}.{os.getpid()}.h5")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            zipfile.ZipFile(source) as archive,
            atomic_path(out) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as copy,
        ):
            for name in archive.namelist():
                data = archive.read(name)
                if name == WEIGHTS:
                    scratch.write_bytes(data)
                    data = _halve(scratch)
                copy.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    finally:
        scratch.unlink(missing_ok=True)


def build_manifest(
    folder: str | os.PathLike,
    made_by: dict[str, str],
    data: str,
    evaluation: str | os.PathLike | None = None,
    default: str = DEFAULT_PRESET,
) -> dict[str, Any]:
    """Write `folder/manifest.json` over every artifact in it, and return it.

    Args:
        folder: holds `*.keras`, `embedding.npz`, `map.npz`.
        made_by: file name → the command that made it.
        data: what the models learned from, in a sentence.
        evaluation: `evaluate.py`'s JSON, whose figures are repeated beside each model.
        default: the preset that answers when none is named.

    Raises:
        UserError: no embedding or no default model in `folder`, or figures of another embedding.
    """
    folder = Path(folder)
    names = sorted(path.name for path in folder.iterdir() if path.suffix in (".keras", ".npz"))
    for needed in (EMBEDDING_FILE, f"{default}.keras"):
        if needed not in names:
            raise UserError(f"{folder} lacks {needed}; make it first.")
    figures = _figures(evaluation)
    now = datetime.datetime.now(datetime.UTC).date().isoformat()
    files = {}
    for name in names:
        path = folder / name
        files[name] = {"sha256": sha256_of(path), "size": path.stat().st_size, "date": now}
        files[name] |= {"made_by": made_by[name]} if name in made_by else {}
        if name.endswith(".keras") and name.removesuffix(".keras") in figures:
            files[name]["figures"] = figures[name.removesuffix(".keras")]
    manifest = {"default": default, "commit": _commit(), "data": data, "files": files}
    write_json(folder / MANIFEST, manifest)
    return manifest


def _figures(evaluation: str | os.PathLike | None) -> dict[str, dict]:
    if evaluation is None:
        return {}
    report = read_json(evaluation)
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
                raise UserError("A weight exceeds float16's range; ship this model in float32.")
            values = values.astype(np.float16)
        target.create_dataset(name, data=values).attrs.update(item.attrs)


def _commit() -> str | None:
    folder = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None  # an installed package has no history
    return done.stdout.strip()


def run_commands(runs: Sequence[str | os.PathLike]) -> dict[str, str]:
    """The training command of each run, from its `config.json`: file name → command."""
    commands = {}
    for run in runs:
        config = read_json(Path(run) / "config.json")
        preset = config["preset"]
        commands[f"{preset}.keras"] = (
            f"python scripts/train_model.py --preset {preset} --data prepared/main"
            + (" --auxiliary prepared/auxiliary" if config["auxiliary_weight"] else "")
            + f" --embedding assets/{EMBEDDING_FILE} --epochs {config['epochs']}"
            + f" --seed {config['seed']} --out runs/{preset}"
        )
    return commands
