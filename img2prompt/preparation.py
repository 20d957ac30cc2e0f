"""Parts of pictures and prompts → prepared shards, part by part, resumable.

A part's pixels are written first and its rows last, each under a temporary name, so a run that was
stopped at any moment goes on with the first part that is not whole.
"""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from img2prompt import diffusiondb, images
from img2prompt.dataset import (
    REPORT_FILE,
    SETTINGS_FILE,
    SKIPPED_FILE,
    PrepareSettings,
    build_report,
    read_skipped,
    settings_of,
    split_of,
)
from img2prompt.errors import UserError
from img2prompt.files import atomic_path, write_json


def prepare(
    source: diffusiondb.Parts | str | os.PathLike,
    out: str | os.PathLike,
    settings: PrepareSettings | None = None,
    progress: bool = True,
) -> dict:
    """Turn every part of `source` into a shard in `out`; go on where an earlier run stopped.

    A picture that is broken, has no or an empty prompt, or is filtered out is counted, named in
    `skipped.jsonl`, and never fatal.

    Returns:
        The report, also saved as `report.json`: counts, per-source table, word frequencies and
        the most repeated prompts.

    Raises:
        UserError: no parts, parts that cannot be read (told after all others are done), wrong
            column names, or `out` holds shards made with other settings or of another data set.
    """
    settings = settings or PrepareSettings()
    parts = source
    if isinstance(source, (str, os.PathLike)):
        parts = diffusiondb.LocalParts(source)
    table = parts.metadata()
    metadata = diffusiondb.read_metadata(table) if table else None
    out = Path(out)
    _claim(out, settings)
    unreadable: list[str] = []
    todo = [stem for stem in parts.stems if not _is_whole(out, stem)]
    for stem in set(parts.stems) - set(todo):
        _check_same_part(parts, stem, out, metadata)
    for leftover in out.glob(".part-*.tmp*"):  # of a killed run
        leftover.unlink()
    with tqdm(
        total=len(parts.stems),
        initial=len(parts.stems) - len(todo),
        unit="part",
        disable=not progress,
    ) as bar:
        for stem in todo:
            bar.set_postfix_str(stem)
            try:
                _prepare_part(parts, stem, out, settings, metadata)
                parts.release(stem)
            except UserError as error:
                unreadable.append(str(error))
            bar.update()
    if unreadable and not list(out.glob("part-*.parquet")):
        raise UserError(unreadable[0])
    with atomic_path(out / SKIPPED_FILE) as temporary:
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in read_skipped(out)]
        temporary.write_text("".join(lines), encoding="utf-8")
    report = build_report(out) | {"metadata": metadata is not None}
    write_json(out / REPORT_FILE, report)
    if unreadable:
        raise UserError(
            f"{len(unreadable)} of {len(parts.stems)} parts could not be read, the others are "
            f"prepared; mend them and run this again. The first: {unreadable[0]}"
        )
    return report


def _claim(out: Path, settings: PrepareSettings) -> None:
    path = out / SETTINGS_FILE
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; give a folder for the shards.")
    if not any(out.glob("part-*.parquet")):
        write_json(path, dataclasses.asdict(settings))
    elif not path.exists():
        raise UserError(f"{out} holds shards but no {path.name}; give another --out.")
    elif settings_of(out) != settings:
        raise UserError(
            f"{out} holds shards made with other settings ({path.name}); "
            "give another --out or delete it."
        )


def _is_whole(out: Path, stem: str) -> bool:
    try:
        rows = pq.read_metadata(out / f"{stem}.parquet").num_rows
        pixels = np.load(out / f"{stem}.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError, pa.ArrowException):
        return False  # missing or damaged: it is made again
    return len(pixels) == rows


def _prepare_part(
    parts: diffusiondb.Parts,
    stem: str,
    out: Path,
    settings: PrepareSettings,
    metadata: diffusiondb.Metadata | None,
) -> None:
    part = parts.fetch(stem)
    pixels: list[np.ndarray] = []
    rows: dict[str, list] = {"name": [], "prompt": [], "source": [], "split": []}
    skipped: list[dict] = []
    for item in diffusiondb.read_part(part):
        reason = item.reason if isinstance(item, diffusiondb.Skipped) else None
        if reason is None:
            reason = _filter_reason(item, settings, metadata)
        if reason is None:
            try:
                picture = images.open_image(item.data)
            except images.ImageError as error:
                reason = f"broken: {error}"
        if reason is not None:
            skipped.append({"part": part.name, "name": item.name, "reason": reason})
            continue
        pixels.append(images.to_pixels(picture, settings.size, settings.fit))
        rows["name"].append(item.name)
        rows["prompt"].append(item.prompt)
        rows["source"].append(metadata.source(item.name) if metadata else "diffusiondb")
        rows["split"].append(split_of(item.prompt))
    array = np.stack(pixels) if pixels else np.empty((0, settings.size, settings.size, 3), np.uint8)
    with atomic_path(out / f"{stem}.npy") as temporary:
        np.save(temporary, array)
    schema = pa.schema([(name, pa.string()) for name in rows])
    stamp = {
        "skipped": json.dumps(skipped),
        "part": parts.identity(stem),
        "metadata": str(metadata is not None),
    }
    schema = schema.with_metadata(stamp)
    with atomic_path(out / f"{stem}.parquet") as temporary:
        pq.write_table(pa.table(rows, schema=schema), temporary)


def _check_same_part(
    parts: diffusiondb.Parts, stem: str, out: Path, metadata: diffusiondb.Metadata | None
) -> None:
    """A shard is known by its part's name; another data set's part 1 must not pass for this one."""
    stamp = pq.read_schema(out / f"{stem}.parquet").metadata or {}
    if stamp.get(b"part", b"") != parts.identity(stem).encode():
        raise UserError(
            f"{out} holds {stem} of another data set (its zip was another); "
            "give another --out or delete it."
        )
    if stamp.get(b"metadata", b"") != str(metadata is not None).encode():
        raise UserError(
            f"{out} holds {stem} made {'without' if metadata else 'with'} metadata.parquet, "
            "so its NSFW filter differs; give another --out or delete it."
        )


def _filter_reason(
    pair: diffusiondb.Pair, settings: PrepareSettings, metadata: diffusiondb.Metadata | None
) -> str | None:
    image_nsfw, prompt_nsfw = metadata.nsfw(pair.name) if metadata else (0.0, 0.0)
    if settings.max_image_nsfw is not None and image_nsfw > settings.max_image_nsfw:
        return "blurred" if image_nsfw == diffusiondb.ALREADY_BLURRED else "image_nsfw"
    if settings.max_prompt_nsfw is not None and prompt_nsfw > settings.max_prompt_nsfw:
        return "prompt_nsfw"
    if settings.train_only and split_of(pair.prompt) != "train":
        return "not in the training split"
    return None
