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
from img2prompt.data.diffusiondb import LocalParts
from img2prompt.data.prepare import prepare
from img2prompt.data.prompts import folder_prompts, iter_prompts
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
    assert list(iter_prompts(out)) == told
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


# --- files of prompts ---------------------------------------------------------------------------


def test_parquet_damaged_inside_is_refused(tmp_path: Path, make_metadata) -> None:
    rows = [(f"{i}.png", f"a dog {i}", 1, i / 100, i / 100) for i in range(100)]
    path = make_metadata(tmp_path / "metadata.parquet", rows)
    data = bytearray(path.read_bytes())
    footer = int.from_bytes(data[-8:-4], "little")
    for place in range(4, len(data) - footer - 16):  # every page, not the schema
        data[place] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"metadata\.parquet"):
        list(iter_prompts(path))


def test_prompts_of_another_type_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": [1, 2]}), tmp_path / "prompts.parquet")
    with pytest.raises(UserError, match="prompt"):
        list(iter_prompts(tmp_path / "prompts.parquet"))


def test_prompts_of_parquet(tmp_path: Path) -> None:
    path = tmp_path / "prompts.parquet"
    prompts = ["a dog", None, "", "a cat", "a fox", "a dog by ARTIST"]
    exact = [True, True, True, None, True, False]
    pq.write_table(pa.table({"prompt": prompts, "prompt_exact": exact}), path)
    expected = [("a dog", True), ("a cat", True), ("a fox", True), ("a dog by ARTIST", False)]
    assert [row[:2] for row in iter_prompts(path)] == expected
    assert [row[:2] for row in iter_prompts(path, batch_rows=2)] == expected


def test_prompts_without_the_packs_column_are_all_written(tmp_path: Path) -> None:
    path = tmp_path / "prompts.parquet"
    pq.write_table(pa.table({"prompt": pa.array(["a dog", "a cat"], pa.large_string())}), path)
    assert list(iter_prompts(path)) == [("a dog", True, ""), ("a cat", True, "")]


def test_prompts_of_a_text_file(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes("\ufeffa dog\r\n\n  a cat  \nein Füchslein".encode())
    assert [row.prompt for row in iter_prompts(path)] == ["a dog", "a cat", "ein Füchslein"]


def test_prompt_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file"):
        list(iter_prompts(tmp_path / "none.parquet"))
    with pytest.raises(UserError, match="no file"):
        list(iter_prompts(tmp_path))
    (tmp_path / "latin.txt").write_bytes("F\xfcchslein".encode("latin-1"))
    with pytest.raises(UserError, match="UTF-8"):
        list(iter_prompts(tmp_path / "latin.txt"))
    (tmp_path / "prompts.json").write_text('["a dog"]')
    with pytest.raises(
        UserError, match=r"prompts\.json is no file of prompts .*\.parquet, or \.txt"
    ):
        list(iter_prompts(tmp_path / "prompts.json"))
    pq.write_table(pa.table({"text": ["a dog"]}), tmp_path / "wrong.parquet")
    with pytest.raises(UserError, match="lacks the column prompt"):
        list(iter_prompts(tmp_path / "wrong.parquet"))
