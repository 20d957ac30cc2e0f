"""A folder's own prompts and what its records say of it: training without the hub."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from paths import ROOT

from img2prompt.core.errors import UserError
from img2prompt.data.data_account import account
from img2prompt.data.diffusiondb import LocalParts, iter_sourced_prompts
from img2prompt.data.folder_prompts import folder_prompts
from img2prompt.data.prepare import prepare
from img2prompt.data.shards import PrepareSettings

SETTINGS = PrepareSettings(size=32, keep_unscored=True)


def prompts(folder: Path) -> list[str]:
    return [row for table in folder_prompts(folder) for row in table["prompt"].to_pylist()]


def test_prompts_come_from_the_metadata_or_else_from_the_parts(
    diffusiondb_folder: Path, make_metadata
) -> None:
    metadata = diffusiondb_folder / "metadata.parquet"
    rows = [
        ("one-0.png", "from the metadata", 1, 0.0, 0.0),
        ("gone.png", "text alone", 9, 0.0, 0.0),
    ]
    make_metadata(metadata, rows)
    assert prompts(diffusiondb_folder) == ["from the metadata", "text alone"]
    without = pq.read_table(metadata).drop_columns(["prompt"])
    pq.write_table(without, metadata)
    of_parts = prompts(diffusiondb_folder)
    assert "A red fox,  snow" in of_parts and len(of_parts) == 20
    metadata.unlink()
    assert prompts(diffusiondb_folder) == of_parts
    pq.write_table(pa.table({"prompt": ["one more"]}), diffusiondb_folder / "prompts.parquet")
    assert prompts(diffusiondb_folder) == [*of_parts, "one more"]


def test_the_command_writes_what_the_embedding_reads(
    diffusiondb_folder: Path, make_metadata, tmp_path: Path
) -> None:
    rows = [("a.png", "a fox", 1, 0.0, 0.0), ("b.png", "a dog by X", 1, 0.0, 0.0)]
    extra = {"prompt_exact": [True, False], "source": ["mine", None]}
    make_metadata(diffusiondb_folder / "metadata.parquet", rows, **extra)
    out = tmp_path / "prompts.parquet"

    def command(*arguments: object) -> subprocess.CompletedProcess:
        script = ROOT / "scripts" / "fetch_prompts.py"
        return subprocess.run(
            [sys.executable, str(script), *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=120,
        )

    done = command("--data", diffusiondb_folder, "--out", out)
    assert done.returncode == 0, done.stderr
    assert f"2 prompts of {diffusiondb_folder}" in done.stdout
    told = [("a fox", True, "mine"), ("a dog by X", False, "")]
    assert list(iter_sourced_prompts(out)) == told
    for arguments, expected in (
        ((), "Give --data FOLDER"),
        (("--data", diffusiondb_folder, "--subset", "2m"), "Give --data FOLDER"),
        (("--data", diffusiondb_folder, "--parts", "1"), "need --subset"),
        (("--data", tmp_path / "none"), "no folder"),
    ):
        refused = command(*arguments, "--out", tmp_path / "other.parquet")
        assert refused.returncode == 2 and expected in refused.stderr
        assert refused.stderr.count("error: ") == 1 and "Traceback" not in refused.stderr
    assert not (tmp_path / "other.parquet").exists()


def test_folders_tell_what_they_hold(
    diffusiondb_folder: Path, make_metadata, tmp_path: Path
) -> None:
    own, named = tmp_path / "own", tmp_path / "named"
    prepare(diffusiondb_folder, own, SETTINGS, progress=False, workers=1)
    assert account([own]) == "16 pictures of a folder of one's own, parts 1-2"
    names = [f"one-{number}.png" for number in range(8)]
    rows = [(name, "a dog", 1, 0.0, 0.0) for name in names]
    sources = ["a", "a", "a", "a", "b", "b", "c", "d"]
    make_metadata(diffusiondb_folder / "metadata.parquet", rows, source=sources)
    strict = dataclasses.replace(SETTINGS, keep_unscored=False)
    prepare(diffusiondb_folder, named, strict, progress=False, workers=1)
    told = "8 {}pictures of a folder of one's own, parts 1-2 (sources: a, b, c and 1 more)"
    assert account([own], [named]) == f"{account([own])}; {told.format('auxiliary ')}"
    parts = LocalParts(diffusiondb_folder)
    parts.origin = {
        "repository": "poloclub/diffusiondb",
        "set": "2m",
        "revision": "0123456789abcdef",
    }
    prepare(parts, tmp_path / "hub", strict, progress=False, workers=1)
    of_hub = "8 pictures of DiffusionDB 2m, parts 1-2 (poloclub/diffusiondb at 0123456789ab)"
    assert account([tmp_path / "hub"]) == of_hub
    with pytest.raises(UserError, match="no prepared shards"):
        account([tmp_path])
