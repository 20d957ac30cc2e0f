"""Any folder in DiffusionDB's layout, whole or damaged."""

import json
import zipfile
from pathlib import Path

import pytest

from img2prompt.core.errors import UserError
from img2prompt.data import diffusiondb
from img2prompt.data.diffusiondb import (
    Pair,
    Skipped,
    find_metadata,
    find_parts,
    read_part,
    read_prompts,
)


def damage(path: Path, start: int, length: int = 8) -> None:
    """Overwrite bytes in the middle of a file."""
    data = bytearray(path.read_bytes())
    for place in range(start, start + length):
        data[place] ^= 0xFF
    path.write_bytes(bytes(data))


def data_start(path: Path, member: str) -> int:
    """Where a zip member's own data begin."""
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(member)
    return entry.header_offset + 30 + len(member)


# --- parts --------------------------------------------------------------------------------------


def test_parts_come_in_order(tmp_path: Path, make_part) -> None:
    for number in (2, 10, 1):
        make_part(tmp_path / "images" / f"part-{number:06}.zip", {}, {})
    stems = [part.stem for part in find_parts(tmp_path)]
    assert stems == ["part-000001", "part-000002", "part-000010"]


def test_the_large_sets_two_folders_are_one(tmp_path: Path, make_part) -> None:
    make_part(tmp_path / "diffusiondb-large-part-1" / "part-000001.zip", {}, {})
    make_part(tmp_path / "diffusiondb-large-part-2" / "part-010001.zip", {}, {})
    assert [part.stem for part in find_parts(tmp_path)] == ["part-000001", "part-010001"]


def test_a_folder_of_zips_itself_is_accepted(tmp_path: Path, make_part) -> None:
    make_part(tmp_path / "part-000001.zip", {}, {})
    assert len(find_parts(tmp_path)) == 1


def test_missing_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder"):
        find_parts(tmp_path / "none")
    with pytest.raises(UserError, match=r"part-\*\.zip"):
        find_parts(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="no folder"):
        find_parts(tmp_path / "file")


def test_pairs_come_in_the_zips_order(tmp_path: Path, make_part) -> None:
    files = {name: name.encode() for name in ("b.png", "a.webp", "c.jpg")}
    part = make_part(tmp_path / "part-000001.zip", files, {name: f"p {name}" for name in files})
    assert list(read_part(part)) == [Pair(name, data, f"p {name}") for name, data in files.items()]


def test_pictures_in_a_subfolder_are_found_by_name(tmp_path: Path, make_part) -> None:
    part = make_part(tmp_path / "part-000001.zip", {"part-000001/a.png": b"1"}, {"a.png": "a dog"})
    assert list(read_part(part)) == [Pair("a.png", b"1", "a dog")]


def test_a_plain_json_of_prompts_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "part-000001.zip", "w") as archive:
        archive.writestr("a.png", b"1")
        archive.writestr("part-000001.json", json.dumps({"a.png": "a dog"}))
    assert list(read_part(tmp_path / "part-000001.zip")) == [Pair("a.png", b"1", "a dog")]


def test_unusable_entries_are_named_and_never_fatal(tmp_path: Path, make_part, monkeypatch) -> None:
    monkeypatch.setattr(diffusiondb, "MAX_BYTES", 100)
    files = {
        "good.png": b"1",
        "unnamed.png": b"1",
        "blank.png": b"1",
        "null.png": b"1",
        "number.png": b"1",
        "other.png": b"1",
        "large.png": bytes(101),
    }
    prompts = {
        "good.png": "a dog",
        "blank.png": " \n",
        "null.png": None,
        "number.png": 7,
        "other.png": {"se": 1},
        "large.png": "a cat",
        "gone.png": "a fox",
    }
    part = make_part(tmp_path / "part-000001.zip", files, prompts)
    items = {item.name: item for item in read_part(part)}
    assert items.pop("good.png") == Pair("good.png", b"1", "a dog")
    assert {name: item.reason for name, item in items.items()} == {
        "unnamed.png": "missing prompt",
        "blank.png": "empty prompt",
        "null.png": "missing prompt",
        "number.png": "missing prompt",
        "other.png": "missing prompt",
        "large.png": "too large",
        "gone.png": "missing picture",
    }


def test_prompts_are_read_without_pictures(tmp_path: Path, make_part) -> None:
    files = {"a.png": b"1", "sub/b.webp": b"2", "blank.png": b"3", "unnamed.png": b"4"}
    prompts = {"a.png": "a dog", "b.webp": "a cat", "blank.png": " ", "gone.png": "a fox"}
    part = make_part(tmp_path / "part-000001.zip", files, prompts)
    assert read_prompts(part) == {"a.png": "a dog", "b.webp": "a cat"}
    part.write_bytes(part.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"part-000001\.zip"):
        read_prompts(part)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_read_stored_or_compressed(tmp_path: Path, compression: int) -> None:
    part = tmp_path / "part-000007.zip"
    files = {"a.png": b"1" * 500, "empty.png": b"", "ü.png": bytes(range(256))}
    info = zipfile.ZipInfo("extra.png")
    info.extra, info.compress_type = b"\x99\x99\x04\x00abcd", compression
    with zipfile.ZipFile(part, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        archive.writestr(info, b"with an extra field")
        names = [*files, "extra.png"]
        archive.writestr("part-000007.json", json.dumps(dict.fromkeys(names, "a dog")))
    read = {item.name: item.data for item in read_part(part)}
    assert read == files | {"extra.png": b"with an extra field"}
    damage(part, data_start(part, "a.png") + 2)
    assert isinstance(next(read_part(part)), Skipped)


def test_a_damaged_member_is_skipped(tmp_path: Path, make_part) -> None:
    files = {"bad.png": bytes(range(256)) * 4, "good.png": b"1"}
    part = make_part(tmp_path / "part-000001.zip", files, dict.fromkeys(files, "a dog"))
    damage(part, data_start(part, "bad.png") + 20)
    assert list(read_part(part)) == [
        Skipped("bad.png", "unreadable"),
        Pair("good.png", b"1", "a dog"),
    ]


def test_a_member_that_lies_nowhere_is_skipped(tmp_path: Path, make_part, misplace) -> None:
    files = {"a.png": b"1", "b.png": b"2"}
    part = make_part(tmp_path / "part-000001.zip", files, dict.fromkeys(files, "a dog"))
    whole = part.read_bytes()
    part.write_bytes(misplace(whole, "a.png"))
    expected = [Skipped("a.png", "unreadable"), Pair("b.png", b"2", "a dog")]
    assert list(read_part(part)) == expected
    part.write_bytes(misplace(whole, "part-000001.json"))
    with pytest.raises(UserError, match="part-000001"):
        list(read_part(part))


def test_half_a_surrogate_pair_is_not_fatal(tmp_path: Path, make_part) -> None:
    # JSON can hold "\ud83d" alone, which no UTF-8 file can.
    prompts = {"a.png": "a dog \ud83d", "gone\ud83d.png": "a cat"}
    part = make_part(tmp_path / "part-000001.zip", {"a.png": b"1"}, prompts)
    items = list(read_part(part))
    assert len(items) == 2 and items[0].prompt.startswith("a dog")
    for item in items:
        item.name.encode("utf-8")
    items[0].prompt.encode("utf-8")


@pytest.mark.parametrize("kind", ["not a zip", "truncated", "missing", "empty"])
def test_a_damaged_zip_is_refused_by_name(tmp_path: Path, make_part, kind: str) -> None:
    part = make_part(tmp_path / "part-000007.zip", {"a.png": b"1"}, {"a.png": "a dog"})
    if kind == "missing":
        part.unlink()
    else:
        data = {"not a zip": b"hello", "truncated": part.read_bytes()[:-30], "empty": b""}
        part.write_bytes(data[kind])
    with pytest.raises(UserError, match=r"part-000007\.zip"):
        list(read_part(part))


@pytest.mark.parametrize("content", [None, "[1, 2]", "{", "\xff", "7"])
def test_a_part_without_readable_prompts_is_refused(tmp_path: Path, content: str | None) -> None:
    part = tmp_path / "part-000007.zip"
    with zipfile.ZipFile(part, "w") as archive:
        archive.writestr("a.png", b"1")
        if content is not None:
            archive.writestr("part-000007.json", content.encode("latin-1"))
    with pytest.raises(UserError, match=r"part-000007\.zip"):
        list(read_part(part))


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_json_of_prompts_is_refused(tmp_path: Path, compression: int) -> None:
    part = tmp_path / "part-000007.zip"
    prompts = {f"{i}.png": {"p": f"a dog number {i * i}"} for i in range(200)}
    with zipfile.ZipFile(part, "w", compression) as archive:
        archive.writestr("part-000007.json", json.dumps(prompts))
    damage(part, data_start(part, "part-000007.json"), 200)
    with pytest.raises(UserError, match=r"part-000007\.zip"):
        list(read_part(part))


def test_an_encrypted_part_is_refused(tmp_path: Path, make_part) -> None:
    part = make_part(tmp_path / "part-000007.zip", {}, {"a.png": "a dog"})
    data = bytearray(part.read_bytes())
    for header, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(header) + offset] |= 1  # the flag "encrypted"
    part.write_bytes(bytes(data))
    with pytest.raises(UserError, match=r"part-000007\.zip"):
        list(read_part(part))


# --- metadata -----------------------------------------------------------------------------------


def test_metadata_of_the_large_set_and_none_at_all(tmp_path: Path, make_metadata) -> None:
    assert find_metadata(tmp_path) is None
    path = make_metadata(tmp_path / "metadata-large.parquet", [("a.webp", "a dog", 1, 0.5, 0.5)])
    assert find_metadata(tmp_path) == path


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_pictures_of_one_name_are_left_out(tmp_path: Path, make_picture, encode) -> None:
    """Nobody knows which of them the metadata's score is of."""
    data = encode(make_picture())
    path = tmp_path / "part-000001.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a.png", "unsafe/a.png", "b.png", "b.png", "c.png"):
            archive.writestr(name, data)
        archive.writestr("part-000001.json", json.dumps({f"{x}.png": {"p": x} for x in "abc"}))
    found = list(diffusiondb.read_part(path))
    assert [item.name for item in found if isinstance(item, diffusiondb.Pair)] == ["c.png"]
    reasons = [item.reason for item in found if isinstance(item, diffusiondb.Skipped)]
    assert reasons == ["repeated name"] * 4
    assert diffusiondb.read_prompts(path) == {"c.png": "c"}
