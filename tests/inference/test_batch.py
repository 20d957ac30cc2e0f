"""Many pictures at once: files, archives friendly and hostile, stopping half-way."""

import errno
import io
import struct
import tracemalloc
import unicodedata
import weakref
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from toy_files import zip_of

from img2prompt.core.errors import UserError
from img2prompt.core.printable import NAME_LENGTH, clean_name
from img2prompt.data import images
from img2prompt.inference import archives, batch
from img2prompt.inference.archives import list_set
from img2prompt.inference.batch import Run
from img2prompt.inference.prediction import Prediction
from img2prompt.inference.predictor import Predictor

CUT = "The picture is cut off: its last part is missing; save or download it again."


@pytest.fixture
def pack(tmp_path: Path) -> Callable[..., Path]:
    """(name, {member: bytes}, **options) → a zip of them."""

    def make(name: str, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
        with zipfile.ZipFile(tmp_path / name, "w", method) as archive:
            for member, data in members.items():
                archive.writestr(member, data)
        return tmp_path / name

    return make


@pytest.fixture
def picture(make_picture: Callable, encode: Callable) -> Callable[[int], bytes]:
    """(seed) → the bytes of a PNG."""
    return lambda seed: encode(make_picture(seed))


def answer(predictor: Predictor, *files: Path, words: int = 10) -> list[batch.Row]:
    return list(Run(predictor, files, words))


def reasons(rows: list[batch.Row]) -> dict[str, str]:
    return {row.name: str(row.result) for row in rows if isinstance(row.result, UserError)}


# --- rows ---------------------------------------------------------------------------------------


def test_files_and_members_are_answered_as_one_by_one(
    predictor: Predictor, picture: Callable, pack: Callable, tmp_path: Path
) -> None:
    (tmp_path / "one.png").write_bytes(picture(1))
    (tmp_path / "three.png").write_bytes(picture(3))
    archive = pack("set.zip", {"a/two.png": picture(2), "b/broken.png": picture(9)[:60]})
    rows = answer(predictor, tmp_path / "one.png", archive, tmp_path / "three.png", words=4)
    names = ["one.png", "set.zip/a/two.png", "set.zip/b/broken.png", "three.png"]
    assert [row.name for row in rows] == names
    for row, seed in ((rows[0], 1), (rows[1], 2), (rows[3], 3)):
        alone = predictor(picture(seed), words=4)
        assert [word.word for word in row.result.words] == [word.word for word in alone.words]
        small = Image.open(io.BytesIO(row.thumbnail))
        assert small.format == "JPEG" and small.size == (batch.THUMBNAIL, batch.THUMBNAIL)
    assert reasons(rows) == {"set.zip/b/broken.png": CUT} and rows[2].thumbnail is None


def test_more_than_a_batch_keeps_its_order(
    predictor: Predictor, picture: Callable, pack: Callable
) -> None:
    members = {f"{n:03}.png": picture(n) if n % 3 else b"no picture" for n in range(75)}
    rows = answer(predictor, pack("set.zip", members), words=3)
    assert [row.name for row in rows] == [f"set.zip/{name}" for name in members]
    assert [isinstance(row.result, UserError) for row in rows] == [n % 3 == 0 for n in range(75)]
    for n in (1, 31, 32, 65, 74):
        alone = predictor(picture(n), words=3)
        assert [word.word for word in rows[n].result.words] == [word.word for word in alone.words]


def test_an_archive_is_known_by_its_content_too(
    predictor: Predictor, picture: Callable, pack: Callable
) -> None:
    rows = answer(predictor, pack("set.bin", {"a.png": picture(1)}))
    assert [row.name for row in rows] == ["set.bin/a.png"]
    assert isinstance(rows[0].result, Prediction)


def test_a_reason_does_not_tell_the_servers_path(predictor: Predictor, tmp_path: Path) -> None:
    rows = answer(predictor, tmp_path / "gone.png", tmp_path / "gone.zip")
    assert reasons(rows) == {
        "gone.png": "There is no file gone.png.",
        "gone.zip": "The archive cannot be opened; choose it again.",
    }


def test_nothing_chosen_is_one_sentence() -> None:
    with pytest.raises(UserError, match="Choose pictures, or a zip archive"):
        list_set([])


# --- archives -----------------------------------------------------------------------------------


def test_what_systems_leave_in_archives_is_no_row(
    predictor: Predictor, picture: Callable, pack: Callable
) -> None:
    members = {
        "set/": b"",
        "set/a.png": picture(1),
        "__MACOSX/set/._a.png": b"resource fork",
        "set/.DS_Store": b"x",
        "set/Thumbs.db": b"x",
        "set/notes.txt": b"a text of somebody's own",
    }
    archive = pack("set.zip", members)
    assert [row.name for row in answer(predictor, archive)] == ["set.zip/set/a.png"]
    assert archives.list_set([archive]).unused == 1  # the text, which is told once


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda data: data[: len(data) // 2], "damaged or not a zip"),
        (lambda data: b"", "damaged or not a zip"),
        (lambda data: b"PK\x03\x04" + b"\0" * 400, "damaged or not a zip"),
        (lambda data: data[:-22] + b"\0" * 22, "damaged or not a zip"),
        (lambda data: zip_of({}), "holds no picture"),
    ],
)
def test_a_damaged_archive_is_a_row(
    predictor: Predictor,
    picture: Callable,
    tmp_path: Path,
    damage: Callable[[bytes], bytes],
    expected: str,
) -> None:
    (tmp_path / "set.zip").write_bytes(damage(zip_of({"a.png": picture(1)})))
    (tmp_path / "good.png").write_bytes(picture(2))
    rows = answer(predictor, tmp_path / "set.zip", tmp_path / "good.png")
    assert list(reasons(rows)) == ["set.zip"] and expected in reasons(rows)["set.zip"]
    assert isinstance(rows[1].result, Prediction)


def test_a_damaged_member_is_a_row(predictor: Predictor, picture: Callable, tmp_path: Path) -> None:
    data = bytearray(zip_of({"a.png": picture(1), "b.png": picture(2)}, zipfile.ZIP_STORED))
    data[data.index(b"IDAT") + 8] ^= 0xFF  # of a.png: its checksum no longer holds
    (tmp_path / "set.zip").write_bytes(data)
    rows = answer(predictor, tmp_path / "set.zip")
    assert list(reasons(rows)) == ["set.zip/a.png"]
    assert "damaged at this file" in reasons(rows)["set.zip/a.png"]
    assert isinstance(rows[1].result, Prediction)


def test_a_member_that_lies_nowhere_is_a_row(
    predictor: Predictor, picture: Callable, misplace: Callable, tmp_path: Path
) -> None:
    (tmp_path / "set.zip").write_bytes(misplace(zip_of({"a.png": picture(1)}), "a.png"))
    (tmp_path / "good.png").write_bytes(picture(2))
    rows = answer(predictor, tmp_path / "set.zip", tmp_path / "good.png")
    assert list(reasons(rows)) == ["set.zip/a.png"]
    assert "damaged at this file" in reasons(rows)["set.zip/a.png"]
    assert isinstance(rows[1].result, Prediction)


def test_an_encrypted_archive_is_a_row(
    predictor: Predictor, picture: Callable, tmp_path: Path
) -> None:
    data = bytearray(zip_of({"a.png": picture(1), "b.png": picture(2)}))
    flags = data.index(b"PK\x01\x02") + 8
    data[flags] |= 1
    (tmp_path / "set.zip").write_bytes(data)
    rows = answer(predictor, tmp_path / "set.zip")
    assert list(reasons(rows)) == ["set.zip"] and "password" in reasons(rows)["set.zip"]


def test_archives_in_archives_and_odd_packing_are_refused(
    predictor: Predictor, picture: Callable, pack: Callable
) -> None:
    inner = zip_of({"a.png": picture(1)})
    rows = answer(predictor, pack("set.zip", {"inner.ZIP": inner, "b.png": picture(2)}))
    assert list(reasons(rows)) == ["set.zip/inner.ZIP"]
    assert "inside an archive" in reasons(rows)["set.zip/inner.ZIP"]
    odd = answer(predictor, pack("odd.zip", {"a.png": picture(1)}, zipfile.ZIP_LZMA))
    assert "unusual way" in reasons(odd)["odd.zip/a.png"]


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("set.rar", b""),
        ("set.7z", b""),
        ("set.tar.gz", b""),
        ("set.TAR", b""),
        ("set.bin", b"Rar!\x1a\x07\x01\0"),
        ("set.bin", b"7z\xbc\xaf\x27\x1c\0\x04"),
        ("set.png", b"\x1f\x8b\x08\0"),
        ("set", b"BZh91AY&SY"),
        ("set", b"\xfd7zXZ\0"),
        ("set", b"\x28\xb5\x2f\xfd"),
        ("set", bytes(257) + b"ustar\x0000"),
    ],
)
def test_other_archives_are_told_what_to_do(
    predictor: Predictor, pack: Callable, tmp_path: Path, name: str, start: bytes
) -> None:
    (tmp_path / name).write_bytes(start + b"some bytes of it" * 40)
    rows = answer(predictor, tmp_path / name)
    expected = "This is an archive, but not a zip; unpack it and make a zip of its pictures."
    assert reasons(rows) == {name: expected}
    inner = (tmp_path / name).read_bytes()
    rows = answer(predictor, pack("outer.zip", {name: inner}))
    assert "inside an archive" in reasons(rows)[f"outer.zip/{name}"]


def test_a_picture_under_an_archives_name_is_a_picture(
    predictor: Predictor, picture: Callable, tmp_path: Path
) -> None:
    for name in ("a.gz", "a.txt"):
        (tmp_path / name).write_bytes(picture(1))
        assert isinstance(answer(predictor, tmp_path / name)[0].result, Prediction)


def test_a_zip_bomb_does_not_go_off(
    predictor: Predictor, tmp_path: Path, picture: Callable
) -> None:
    """200 kB of zip for 200 MB: refused by its directory, before anything is unpacked."""
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("zeros.png", "w") as member:
            for _ in range(200):
                member.write(bytes(2**20))
        archive.writestr("good.png", picture(1))
    assert (tmp_path / "bomb.zip").stat().st_size < 300_000
    tracemalloc.start()
    rows = answer(predictor, tmp_path / "bomb.zip")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reasons(rows) == {
        "bomb.zip/zeros.png": "The file has 200 MB, the limit is 50 MB; make it smaller."
    }
    assert isinstance(rows[1].result, Prediction) and peak < 20 * 2**20


def test_a_bomb_that_lies_about_its_size_stops_where_it_said_it_would(
    predictor: Predictor, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.png", bytes(60 * 2**20))
    data = bytearray((tmp_path / "bomb.zip").read_bytes())
    for start, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        struct.pack_into("<I", data, data.index(start) + offset, 1000)
    (tmp_path / "bomb.zip").write_bytes(data)
    tracemalloc.start()
    rows = answer(predictor, tmp_path / "bomb.zip")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "damaged at this file" in reasons(rows)["bomb.zip/zeros.png"]
    assert peak < 20 * 2**20


def test_limits_are_told_before_anything_is_read(
    picture: Callable, pack: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = pack("set.zip", {f"{n}.png": picture(1) for n in range(5)})
    monkeypatch.setattr(archives, "MAX_FILES", 4)
    with pytest.raises(UserError, match="more than 4 pictures"):
        list_set([archive])
    monkeypatch.setattr(archives, "MAX_FILES", 5)
    assert len(list_set([archive]).entries) == 5
    with pytest.raises(UserError, match="more than 5 pictures"):
        list_set([archive, archive])
    monkeypatch.setattr(archives, "MAX_FILES", 50)
    monkeypatch.setattr(archives, "MAX_UNPACKED", 9 * len(picture(1)))
    with pytest.raises(UserError, match="unpack to"):
        list_set([archive, archive])


def test_an_endless_directory_is_not_read(tmp_path: Path) -> None:
    """Half a million empty members: zipfile alone would take hundreds of megabytes to list them."""
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", *[0] * 4, *[0] * 4, 0, 0, 0, 1, *[0] * 6)
    directory = (entry[:46] + b"x") * 500_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, len(directory), 0, 0)
    (tmp_path / "many.zip").write_bytes(directory + end)
    tracemalloc.start()
    with pytest.raises(UserError, match="too many files"):
        list_set([tmp_path / "many.zip"])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


def test_nothing_is_written_anywhere(
    predictor: Predictor, picture: Callable, pack: Callable, tmp_path: Path
) -> None:
    archive = pack("set.zip", {"../../up.png": picture(1), "/etc/x.png": picture(2)})
    before = sorted(tmp_path.parent.rglob("*"))
    rows = answer(predictor, archive)
    assert [row.name for row in rows] == ["set.zip/up.png", "set.zip/etc/x.png"]
    assert sorted(tmp_path.parent.rglob("*")) == before


# --- what goes wrong on the way -----------------------------------------------------------------


def test_what_is_gone_or_unreadable_on_the_way_is_a_row(
    predictor: Predictor,
    picture: Callable,
    pack: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A file that vanishes, one the disk fails at, an archive that is exchanged for another."""
    monkeypatch.setattr(batch, "BATCH_SIZE", 1)
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    archive = pack("set.zip", {"a.png": picture(5), "b.png": picture(6)})
    run = Run(predictor, [*(tmp_path / f"{n}.png" for n in range(4)), archive], words=2)
    real = images.open_image

    def failing(source: images.ImageSource) -> Image.Image:
        if str(source).endswith("2.png"):
            raise OSError(errno.EIO, "Input/output error")
        return real(source)

    monkeypatch.setattr(images, "open_image", failing)
    rows = []
    for row in run:
        rows.append(row)
        if row.name == "0.png":
            (tmp_path / "1.png").unlink()
            entry = struct.pack("<4s42s", b"PK\x01\x02", bytes(42)) + b"x"
            directory = entry * 500_000
            end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, len(directory), 0, 0)
            archive.write_bytes(directory + end)
    unread = "The file cannot be read any more; choose it again."
    assert reasons(rows) == {
        "1.png": "There is no file 1.png.",
        "2.png": unread,
        "set.zip/a.png": unread,
        "set.zip/b.png": unread,
    }
    assert run.done == 6 and run.failed == 4


# --- names --------------------------------------------------------------------------------------


def test_names_of_other_systems_are_read(tmp_path: Path, picture: Callable) -> None:
    """UTF-8 without its flag (macOS), with it, and the old code page."""
    data = zip_of({"Schloss-xx.png": picture(1)}).replace(b"-xx", "-ö".encode())
    (tmp_path / "mac.zip").write_bytes(data)
    (tmp_path / "new.zip").write_bytes(zip_of({"Schloss-ö.png": picture(1)}))
    old = zip_of({"Schloss-x.png": picture(1)}).replace(b"-x", b"-\x94")
    (tmp_path / "old.zip").write_bytes(old)
    entries = list_set([tmp_path / name for name in ("mac.zip", "new.zip", "old.zip")]).entries
    assert [entry.name.split("/")[1] for entry in entries] == ["Schloss-ö.png"] * 3


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/../../b.png", "a/b.png"),
        ("C:\\pictures\\b.png", "C:/pictures/b.png"),
        ("/etc/passwd", "etc/passwd"),
        ("a\x00\n\x1b[31m.png", "a���[31m.png"),
        ("photo\u202egnp.exe", "photognp.exe"),
        ("  two   spaces .png", "two spaces .png"),
        ("..", "�"),
        ("🦊.png", "🦊.png"),
        ("u\u0308ber.png", "über.png"),
    ],
)
def test_names_are_made_safe_to_show(name: str, expected: str) -> None:
    assert clean_name(name) == expected


@given(st.text(st.characters(exclude_categories=()), max_size=300))
def test_any_name_becomes_one_short_line(name: str) -> None:
    clean = clean_name(name)
    assert 1 <= len(clean) <= NAME_LENGTH and clean.splitlines() == [clean]
    assert not {unicodedata.category(letter) for letter in clean} & {"Cc", "Cf", "Cs"}
    assert not clean.startswith("/") and ".." not in clean.split("/")
    assert clean_name(clean) == clean


def test_a_long_name_keeps_both_ends() -> None:
    clean = clean_name("a long name of a picture " * 20 + "end.png", length=40)
    assert len(clean) == 40 and clean.startswith("a long name") and clean.endswith("end.png")


# --- a pass over the set ------------------------------------------------------------------------


def test_a_run_counts_what_it_did(predictor: Predictor, picture: Callable, pack: Callable) -> None:
    members = {"a.png": picture(1), "b.png": picture(1), "c.png": b"", "d.png": picture(2)}
    run = Run(predictor, [pack("set.zip", members)], words=5)
    assert (run.total, run.done, run.seconds_left()) == (4, 0, None)
    rows = list(run)
    assert (run.done, run.failed, run.stopped) == (4, 1, False) and run.seconds_left() == 0
    one, two = ({word.word for word in predictor(picture(n), words=5).words} for n in (1, 2))
    expected = {word: 2 * (word in one) + (word in two) for word in one | two}
    assert dict(run.most_common()) == expected
    counts = [count for _, count in run.most_common()]
    assert counts == sorted(counts, reverse=True)
    assert [name for name, _ in run.results] == [row.name for row in rows]
    for (_, kept), row in zip(run.results, rows, strict=True):
        if isinstance(kept, Prediction):
            assert kept.to_dict(vectors=False) == row.result.to_dict(vectors=False)
            assert kept.vectors.size == 0 and not any(word.vector for word in kept.words)


def test_a_stopped_run_keeps_what_was_done_and_reads_no_further(
    predictor: Predictor, picture: Callable, pack: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    real = images.open_image
    monkeypatch.setattr(images, "open_image", lambda source: opened.append(0) or real(source))
    members = {f"{n:03}.png": picture(n % 5) for n in range(100)}
    run = Run(predictor, [pack("set.zip", members)], words=3)
    for row in run:
        if row.name.endswith("004.png"):
            run.stop()
            run.stop()
    assert run.done == 5 and run.stopped and sum(run.counts.values()) == 15
    assert (
        len(opened) <= 2 * batch.BATCH_SIZE
    )  # each is looked at by its thumbnail and by the model
    assert list(run) == []


def test_a_run_that_takes_too_long_says_so_in_the_rows_it_did_not_reach(
    predictor: Predictor, picture: Callable, pack: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(batch, "LONGEST", 1.5)
    read = []
    clock = SimpleNamespace(monotonic=lambda: 0.5 * len(read))
    monkeypatch.setattr(batch, "time", clock)
    monkeypatch.setattr(archives, "time", clock)
    real = archives._read_member

    def slow(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
        read.append(member.filename)  # half a second later by the clock
        return real(archive, member)

    monkeypatch.setattr(archives, "_read_member", slow)
    members = {f"{n:02}.png": picture(n) for n in range(20)} | {"inner.zip": b""}
    run = Run(predictor, [pack("set.zip", members)], words=2)
    rows = list(run)
    answered = [isinstance(row.result, Prediction) for row in rows]
    done = sum(answered)
    assert answered == [True] * done + [False] * (21 - done) and 1 <= done <= 4
    assert read == list(members)[:done] and run.failed == 21 - done
    assert {str(row.result) for row in rows[done:20]} == {
        "The set took too long, and this picture was not reached; take fewer at once."
    }
    assert "inside an archive" in str(rows[20].result)


def test_rows_come_while_slow_pictures_are_still_being_read(
    predictor: Predictor, picture: Callable, pack: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A consumer that stops is not kept waiting for a whole batch of slow ones."""
    monkeypatch.setattr(batch, "FLUSH_SECONDS", 0.0)
    read = []
    real = archives._read_member
    monkeypatch.setattr(archives, "_read_member", lambda a, m: read.append(0) or real(a, m))
    archive = pack("set.zip", {f"{n}.png": picture(n) for n in range(10)})
    rows = iter(Run(predictor, [archive], words=2))
    assert next(rows).name == "set.zip/0.png" and len(read) == 1
    rows.close()


def test_one_decoded_picture_at_a_time_is_held(
    predictor: Predictor, picture: Callable, pack: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[weakref.ref] = []  # Pillow's pictures have no hash for a WeakSet
    most = 0
    real = images.open_image

    def watch(source: images.ImageSource) -> Image.Image:
        nonlocal most
        image = real(source)
        held.append(weakref.ref(image))
        most = max(most, sum(other() is not None for other in held))
        return image

    monkeypatch.setattr(images, "open_image", watch)
    run = Run(predictor, [pack("set.zip", {f"{n}.png": picture(n) for n in range(40)})], words=2)
    assert all(isinstance(row.result, Prediction) for row in run)
    # The picture, its copy that the model's input is made of, and the one before until then.
    assert 1 <= most <= 3


@pytest.mark.parametrize("words", [0, 51])
def test_the_number_of_words_is_checked_first(
    predictor: Predictor, picture: Callable, pack: Callable, words: int
) -> None:
    with pytest.raises(UserError, match="number of words"):
        Run(predictor, [pack("set.zip", {"a.png": picture(1)})], words=words)


def test_the_rest_takes_as_long_as_the_pace_so_far(
    predictor: Predictor, picture: Callable, pack: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 10_000, 10))  # every look at the clock is ten seconds later
    monkeypatch.setattr(batch.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(batch, "BATCH_SIZE", 4)
    monkeypatch.setattr(batch, "FLUSH_SECONDS", 1_000)
    run = Run(predictor, [pack("set.zip", {f"{n}.png": picture(n) for n in range(8)})], words=2)
    left = [run.seconds_left() for _ in run]
    # Four pictures took what the first of them was told with; the pace is a picture's.
    first, fourth = left[0], left[3]
    assert first == pytest.approx(7 / 4 * fourth) and left[-1] == 0
