"""Directories of tags at their edges: orders, BigTIFF, values, what is too much."""

import struct

import pytest

from img2prompt.data.picture_files import exif
from img2prompt.data.picture_files.exif import (
    Directory,
    header,
    main_directory,
    orientation,
    raw_profile,
    sound,
)

ORDERS = pytest.mark.parametrize("order", ["<", ">"])
TOO_MANY, NO_ROOM = "^too many entries$", "^the values take more room than there is$"


def directory(
    entries: list[tuple[int, int, int, bytes]], order: str = "<", big: bool = False, more: int = 0
) -> bytes:
    """A directory: its number of entries (`more` than there are), then tag, kind, count, value."""
    head, entry, inline = ("Q", "HHQ", 8) if big else ("H", "HHL", 4)
    return struct.pack(order + head, len(entries) + more) + b"".join(
        struct.pack(order + entry, tag, kind, count) + value.ljust(inline, b"\0")
        for tag, kind, count, value in entries
    )


def block(
    entries: list[tuple[int, int, int, bytes]], order: str = "<", after: bytes = b""
) -> bytes:
    """A whole EXIF block, `after` behind its first directory."""
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "L", 8)
    return start + directory(entries, order) + bytes(4) + after


def turned(value: int, order: str = "<", kind: int = 3) -> bytes:
    packed = struct.pack(order + {3: "H", 4: "L"}[kind], value)
    return block([(0x0112, kind, 1, packed)], order)


# --- one directory --------------------------------------------------------------------------------


@ORDERS
@pytest.mark.parametrize("big", [False, True])
def test_values_stand_within_an_entry_or_where_it_says(order: str, big: bool) -> None:
    inline, length, head = (8, 20, 8) if big else (4, 12, 2)
    short = 2 * inline // 4  # as many as an entry has room for
    beyond = 3 + head + 3 * length
    place = struct.pack(order + ("Q" if big else "L"), beyond)
    entries = [
        (256, 3, short, struct.pack(f"{order}{short}H", *range(7, 7 + short))),
        (258, 3, short + 1, place),
        (259, 4, 1, struct.pack(order + "L", 70_000)),
    ]
    outside = struct.pack(f"{order}{short + 1}H", *range(100, 101 + short))
    found = Directory(b"pad" + directory(entries, order, big) + outside, 3, order, big)
    assert found.whole and list(found.entries) == [256, 258, 259]
    assert found.numbers(256) == tuple(range(7, 7 + short))
    assert found.numbers(258) == tuple(range(100, 101 + short))
    assert found.numbers(259) == (70_000,) and found.number(259, 5) == 70_000
    first, second = found.entries[256], found.entries[258]
    assert (first.start, first.place) == (3 + head, 3 + head + length - inline)
    assert (second.tag, second.kind, second.count) == (258, 3, short + 1)
    assert (second.start, second.place) == (3 + head + length, beyond)
    # A number that lies outside is none, and of two numbers neither is the one.
    cut = Directory(b"pad" + directory(entries, order, big) + outside[:-1], 3, order, big)
    assert cut.numbers(258) == () and cut.number(258, 5) == 5
    assert cut.number(256, 5) == 5 and cut.numbers(999) == () and cut.number(999, 6) == 6


def test_a_bigtiff_has_numbers_of_eight_bytes() -> None:
    entries = [(273, 16, 1, struct.pack("<Q", 2**40))]
    assert Directory(directory(entries, big=True), 0, "<", True).numbers(273) == (2**40,)


@pytest.mark.parametrize("kind", [0, 1, 2, 5, 7, 8, 9, 11, 12, 13, 19])
def test_only_whole_numbers_without_a_sign_are_numbers(kind: int) -> None:
    data = directory([(256, kind, 1, b"\1\0\0\0")]) + bytes(20)
    assert Directory(data, 0, "<").numbers(256) == ()


@pytest.mark.parametrize("lost, left", [(0, 2), (1, 1), (12, 1), (13, 0), (24, 0)])
def test_entries_that_are_cut_off_are_left_out_and_that_is_told(lost: int, left: int) -> None:
    data = directory([(1, 3, 1, b"a"), (2, 3, 1, b"b")])
    found = Directory(data[: len(data) - lost], 0, "<")
    assert (found.whole, len(found.entries)) == (lost == 0, left)
    more = Directory(directory([(1, 3, 1, b"a")], more=1), 0, "<")
    assert not more.whole and list(more.entries) == [1]


def test_a_directory_that_does_not_begin_is_none() -> None:
    for data, start in ((b"", 0), (b"\1", 0), (bytes(8), 7), (bytes(8), 80)):
        with pytest.raises(struct.error):
            Directory(data, start, "<")
    assert Directory(bytes(8), 6, "<").entries == {}


def test_a_directory_has_at_most_as_many_entries_as_fit_two_bytes() -> None:
    assert not Directory(struct.pack("<Q", exif.MAX_ENTRIES), 0, "<", True).whole
    with pytest.raises(ValueError, match=TOO_MANY):
        Directory(struct.pack("<Q", exif.MAX_ENTRIES + 1), 0, "<", True)


@pytest.mark.parametrize(
    "kind, size",
    [
        *((1, 1), (2, 1), (3, 2), (4, 4), (5, 8), (6, 1), (7, 1), (8, 2), (9, 4), (10, 8), (11, 4)),
        *((12, 8), (13, 4), (16, 8), (17, 8), (18, 8)),
    ],
)
def test_values_may_take_the_room_of_the_whole_data_and_no_more(kind: int, size: int) -> None:
    count = 40
    length = count * size
    empty = directory([(700, kind, count, bytes(4))])
    exactly = empty + bytes(length - len(empty)) if length > len(empty) else empty
    Directory(exactly, 0, "<")
    data = directory([(700, kind, len(exactly) // size + 1, bytes(4))]) + bytes(
        len(exactly) - len(empty)
    )
    with pytest.raises(ValueError, match=NO_ROOM):
        Directory(data, 0, "<")


def test_the_room_of_all_values_counts_together() -> None:
    two = [(700, 7, 20, bytes(4)), (701, 7, 20, bytes(4))]
    assert len(Directory(directory(two) + bytes(14), 0, "<").entries) == 2  # 40 bytes
    with pytest.raises(ValueError, match=NO_ROOM):
        Directory(directory(two) + bytes(13), 0, "<")


def test_numbers_are_bounded_and_bytes_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exif, "MAX_VALUES", 10)
    for kind, count in ((3, 10), (1, 11), (2, 11), (6, 11), (7, 11)):
        Directory(directory([(700, kind, count, bytes(4))]) + bytes(60), 0, "<")
    for kind in (3, 4, 5, 16):
        with pytest.raises(ValueError, match=NO_ROOM):
            Directory(directory([(700, kind, 11, bytes(4))]) + bytes(200), 0, "<")


# --- a block --------------------------------------------------------------------------------------


def test_the_first_bytes_tell_order_place_and_size() -> None:
    rest = bytes(12)
    assert header(b"II*\0\x08\0\0\0" + rest) == ("<", 8, False)
    assert header(b"MM\0*\0\0\1\0" + rest) == (">", 256, False)
    assert header(b"II+\0\x08\0\0\0" + struct.pack("<Q", 16)) == ("<", 16, True)
    assert header(b"MM\0+\0\x08\0\0" + struct.pack(">Q", 2**33)) == (">", 2**33, True)
    assert header((b"II*\0\x08\0\0\0" + rest)[:16]) == ("<", 8, False)
    for data in (b"", (b"II*\0\x08\0\0\0" + rest)[:15], b"IM*\0" + rest, b"II\0*" + rest):
        assert header(data) is None


@ORDERS
@pytest.mark.parametrize("kind", [3, 4])
@pytest.mark.parametrize("before", [b"", b"Exif\0\0", b"Exif\0\0Exif\0\0"])
def test_a_block_says_which_way_up(order: str, kind: int, before: bytes) -> None:
    for value in range(1, 9):
        assert orientation(before + turned(value, order, kind)) == value
    for value in (0, 9, 65_535):
        assert orientation(turned(value, order, kind)) == 1


def test_xmp_is_asked_only_where_exif_says_nothing() -> None:
    for xmp in (b'tiff:Orientation="6"', "<tiff:Orientation>6</…> 狐 \ud800"):
        assert orientation(None, xmp) == orientation(b"", xmp) == orientation(b"junk", xmp) == 6
        assert orientation(block([(256, 3, 1, b"\1\0")]), xmp) == 6
        assert orientation(turned(3), xmp) == 3
        assert orientation(turned(9), xmp) == 1
    for xmp in (None, b"", "", b'tiff:Orientation="9"', b"tiff:Orientation=6", b'Orientation="6"'):
        assert orientation(None, xmp) == 1


@pytest.mark.parametrize("tag", [0x8769, 0x8825, 0xA005])
@ORDERS
def test_a_block_is_sound_where_its_folders_are(tag: int, order: str) -> None:
    def with_folder(at: int, after: bytes) -> bytes:
        return block([(tag, 4, 1, struct.pack(order + "L", at))], order, after)

    inner = directory([(0x9286, 7, 4, b"text")], order)
    place = 8 + 2 + 12 + 4
    assert sound(with_folder(place, inner)) and sound(b"Exif\0\0" + with_folder(place, inner))
    assert sound(with_folder(0, b""))  # there is none
    assert not sound(with_folder(9_999, inner))
    too_much = directory([(0x9286, 7, 9_999, b"")], order)
    assert not sound(with_folder(place, too_much))
    assert orientation(with_folder(place, too_much), b'tiff:Orientation="5"') == 5


def test_what_is_no_block_or_too_large_is_not_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    good = turned(6)
    found = main_directory(good)
    assert found is not None and found.orientation() == 6
    big = b"II+\0\x08\0\0\0" + struct.pack("<Q", 16) + directory([], big=True)
    for data in (b"", b"Exif\0\0", b"junk" * 9, big, b"II*\0" + bytes([200]) + bytes(20)):
        assert main_directory(data) is None and not sound(data)
    monkeypatch.setattr(exif, "MAX_BLOCK", len(good))
    assert sound(good) and not sound(good + b"x")


def test_imagemagicks_text_is_hexadecimal_behind_three_lines() -> None:
    for text in ("\nexif\n      4\n45786966\n0000\n", b"\nexif\n4\n457869660000"):
        assert raw_profile(text) == b"Exif\0\0"
    assert raw_profile("\nexif\n4\n") == b""
    for text in ("\nexif\n4\nno hexadecimal", b"\nexif\n4\n4\xe9", "\nexif\n4\n456"):
        assert raw_profile(text) is None
