"""Array files that come from others: sizes are checked before anything is read."""

import functools
import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_files import zip_of

from img2prompt.core.arrays import (
    TEXT,
    UTF8,
    ArrayFile,
    Form,
    array_head,
    load_arrays,
    map_array,
    save_arrays,
)
from img2prompt.core.errors import UserError
from img2prompt.core.texts import Texts
from img2prompt.embedding.class_words import ClassWords
from img2prompt.embedding.kinds import Kinds
from img2prompt.embedding.vectors import WordVectors
from img2prompt.embedding.word_map import VocabularyMap
from img2prompt.inference.decoder import Decoder

KIND = ArrayFile(
    "embedding.kind_map",
    "scripts/build_map.py",
    {"values": Form("f", (None, 4)), "name": TEXT, "words": UTF8},
)
MB = 2**20


def head(shape: tuple, descr: str = "<f4") -> bytes:
    """The head of a `.npy` file that declares any shape."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": descr, "fortran_order": False, "shape": shape}
    )
    return buffer.getvalue()


stored = functools.partial(zip_of, method=zipfile.ZIP_STORED)


def good() -> bytes:
    buffer = io.BytesIO()
    words = np.frombuffer(b"dog\ncat", np.uint8)
    np.savez(buffer, values=np.ones((3, 4), np.float32), name="a name", words=words)
    return buffer.getvalue()


def lying(data: bytes, size: int) -> bytes:
    """The zip with its first member's unpacked size as a lie, in both places it stands."""
    changed = bytearray(data)
    struct.pack_into("<L", changed, 22, size)
    struct.pack_into("<L", changed, data.index(b"PK\x01\x02") + 24, size)
    return bytes(changed)


def load(path: Path, data: bytes) -> dict:
    path.write_bytes(data)
    return load_arrays(path, KIND)


def test_what_numpy_saved_comes_back(tmp_path: Path) -> None:
    found = load(tmp_path / "a.npz", good())
    np.testing.assert_array_equal(found["values"], np.ones((3, 4), np.float32))
    assert (found["name"], found["words"]) == ("a name", "dog\ncat")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, values=np.zeros((0, 4)), name="", words=np.zeros(0, np.uint8), x=1)
    assert load(tmp_path / "b.npz", buffer.getvalue())["values"].shape == (0, 4)


@pytest.mark.parametrize("name", ["a", "a.bin", "a.b.npz"])
def test_what_is_saved_comes_back_under_its_name(name: str, tmp_path: Path) -> None:
    values = {"values": np.ones((3, 4), np.float32), "name": "a name", "words": "dog\n猫"}
    for compressed in (False, True):
        save_arrays(tmp_path / name, KIND, values, compressed)
        first = (tmp_path / name).read_bytes()
        found = load_arrays(tmp_path / name, KIND)
        np.testing.assert_array_equal(found.pop("values"), values["values"])
        assert found == {"name": "a name", "words": "dog\n猫"}
        save_arrays(tmp_path / name, KIND, values, compressed)
        assert (tmp_path / name).read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_missing_file_is_told_with_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_arrays(tmp_path / "none.npz", KIND)
    assert str(caught.value) == (
        f"There is no map {tmp_path / 'none.npz'}; make it with scripts/build_map.py."
    )
    assert "Wortkarte" in caught.value.told(Texts("de"))


CRAFTED: dict[str, Callable[[], bytes]] = {
    "a head that declares 10 TB": lambda: stored({"values.npy": head((2**40, 4))}),
    "a head and a member that declare 8 GB": lambda: lying(
        stored({"values.npy": head((2**29 - 16, 4), "<f4") + b"\0" * 64}), 2**32 - 2
    ),
    "a head longer than the member": lambda: stored({"values.npy": head((9, 4)) + b"\0" * 16}),
    "a side below nothing": lambda: stored({"values.npy": head((-1, 4))}),
    "a side of a thousand digits": lambda: stored({"values.npy": head((10**300, 4))}),
    "a head of 4 GB": lambda: stored(
        {"values.npy": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 99}
    ),
    "a head that nests": lambda: stored(
        {"values.npy": b"\x93NUMPY\x01\x00" + struct.pack("<H", 900) + b"(" * 900}
    ),
    "a head of minus signs": lambda: stored(
        {"values.npy": b"\x93NUMPY\x01\x00" + struct.pack("<H", 900) + b"-" * 899 + b"1"}
    ),
    "objects": lambda: stored({"values.npy": head((1, 4), "|O") + b"cos\nsystem\n(S'x'\ntR."}),
    "huge texts": lambda: stored({"values.npy": head((1, 4), "<U999999999")}),
    "an unknown version": lambda: stored({"values.npy": b"\x93NUMPY\x09\x00" + b"\0" * 200}),
    "not an array": lambda: stored({"values.npy": b"no array"}),
    "nothing": lambda: stored({"values.npy": b""}),
    "an empty zip": lambda: stored({}),
    "a bomb": lambda: zip_of(
        {"values.npy": head((20 * MB, 4)) + b"\0" * (320 * MB)}, zipfile.ZIP_DEFLATED
    ),
    "another packing": lambda: zip_of({"values.npy": head((0, 4))}, zipfile.ZIP_LZMA),
    "many members": lambda: stored({f"{n}.npy": b"" for n in range(100)}),
    "a long list of members": lambda: stored({f"{n}.npy": b"" for n in range(30_000)}),
    "no zip": lambda: b"not a zip",
    "an array by itself": lambda: head((1, 4)) + b"\0" * 16,
    "a pickle": lambda: b"\x80\x04cos\nsystem\n.",
    "empty": lambda: b"",
}


@pytest.mark.parametrize("what", CRAFTED)
def test_a_crafted_file_is_one_sentence_and_costs_no_memory(what: str, tmp_path: Path) -> None:
    data = CRAFTED[what]()
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=r"a\.npz is not a map \(.+\); make it with scripts/"):
            load(tmp_path / "a.npz", data)
        assert tracemalloc.get_traced_memory()[1] < len(data) + 4 * MB
    finally:
        tracemalloc.stop()


def test_a_member_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(good())
    with (
        pytest.warns(UserWarning, match="Duplicate"),
        zipfile.ZipFile(path, "a") as archive,
    ):
        archive.writestr("values.npy", head((0, 4)))
    with pytest.raises(UserError, match="twice"):
        load(path, path.read_bytes())


def test_a_login_page_is_told_as_one(tmp_path: Path) -> None:
    for page in (b"<!DOCTYPE html><title>Hotel</title>", b"\n <HTML><body>Log in", b"<!-- x -->"):
        with pytest.raises(UserError, match=r"web page: is this network asking to log in"):
            load(tmp_path / "a.npz", page)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"name": "a"}, "lacks values"),
        ({"values": np.ones((3, 5), np.float32)}, "its values has another form"),
        ({"values": np.ones(4, np.float32)}, "its values has another form"),
        ({"values": np.ones((1, 4), np.int64)}, "its values has another form"),
        ({"values": np.ones((1, 4)), "name": np.array(["a"])}, "its name has another form"),
        ({"values": np.ones((1, 4)), "words": np.array([255], np.uint8)}, "damaged"),
    ],
)
def test_arrays_of_another_form_are_refused(arrays: dict, reason: str, tmp_path: Path) -> None:
    rest = {"name": "a", "words": np.zeros(0, np.uint8)} if "values" in arrays else {}
    buffer = io.BytesIO()
    np.savez(buffer, **(rest | arrays))
    with pytest.raises(UserError, match=reason):
        load(tmp_path / "a.npz", buffer.getvalue())


@given(st.data())
@settings(max_examples=300)
def test_a_changed_file_is_itself_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Bytes flipped, cut out, put in; nothing but `UserError` comes, and no memory goes."""
    changed = bytearray(good())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed) - 1))
        kind = data.draw(st.sampled_from(["set", "cut", "put"]))
        if kind == "set":
            changed[at] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del changed[at : at + data.draw(st.integers(1, 40))]
        else:
            changed[at:at] = data.draw(st.binary(max_size=8))
        if not changed:
            break
    path = tmp_path_factory.getbasetemp() / "changed.npz"
    tracemalloc.start()
    try:
        found = load(path, bytes(changed))
        assert found["values"].ndim == 2 and isinstance(found["name"], str)
    except UserError as error:
        assert "\n" not in str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 4 * MB


@pytest.mark.parametrize("kind", ["embedding", "class words", "kinds", "map", "decoder"])
@pytest.mark.parametrize("what", ["a head that declares 10 TB", "objects", "a bomb", "empty"])
def test_every_reader_of_ours_refuses_it(
    kind: str, what: str, vectors: WordVectors, tmp_path: Path
) -> None:
    names = {
        "embedding": ("vectors", lambda path: WordVectors.load(path)),
        "class words": ("shares", lambda path: ClassWords.load(path, vectors)),
        "kinds": ("codes", lambda path: Kinds.load(path, vectors)),
        "map": ("positions", lambda path: VocabularyMap.load(path, vectors)),
        "decoder": ("prior", lambda path: Decoder.load(path, vectors)),
    }
    name, read = names[kind]
    path = tmp_path / "a.npz"
    path.write_bytes(CRAFTED[what]().replace(b"values.npy", f"{name}.npy".encode().ljust(10)))
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=r"a\.npz"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 4 * MB
    finally:
        tracemalloc.stop()


# --- prepared arrays ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        head((2**40, 4)),
        head((3, 4)) + b"\0" * 47,
        head((3, 4)) + b"\0" * 49,
        head((3, 4), "|O") + b"\0" * 96,
        head(()) + b"\0" * 4,
        good(),
        b"",
        b"no",
    ],
)
def test_a_mapped_array_is_as_long_as_it_says(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "part-000001.npy"
    path.write_bytes(data)
    with pytest.raises((OSError, EOFError, ValueError)):
        map_array(path)
    np.save(path, np.arange(12).reshape(3, 4))
    assert map_array(path)[2, 3] == 11
    with path.open("rb") as file:
        assert array_head(file) == ((3, 4), np.dtype(np.int64), 128)
