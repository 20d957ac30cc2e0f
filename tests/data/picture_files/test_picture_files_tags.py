"""What is learnt of a TIFF's directory and a BMP's head, and what is changed in them."""

import struct

import pytest

from img2prompt.data.picture_files import checks as picture_files
from img2prompt.data.picture_files import exif
from img2prompt.data.picture_files.checks import PictureFile, tidy
from img2prompt.data.picture_files.kinds import UnusualError


def tiff(tags: dict[int, tuple], order: str = "<", room: int = 64) -> bytes:
    """A TIFF's directory: tag → (kind, value) of one number, or of two shorts."""
    data = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "LH", 8, len(tags))
    for tag, (kind, *values) in sorted(tags.items()):
        letter = {3: "H", 4: "L"}[kind]
        value = struct.pack(f"{order}{len(values)}{letter}", *values).ljust(4, b"\0")
        data += struct.pack(order + "HHL", tag, kind, len(values)) + value
    return data + bytes(4 + room)


PACKED = {256: (4, 40), 257: (4, 24), 258: (3, 8), 277: (3, 3), 259: (3, 5)}


@pytest.mark.parametrize(
    "more, piece",
    [
        ({}, 40 * 24 * 3),
        ({259: (3, 1)}, 0),  # unpacked: row by row
        ({278: (4, 8)}, 40 * 8 * 3),
        ({278: (4, 1_000)}, 40 * 24 * 3),
        ({322: (4, 16), 323: (4, 32)}, 16 * 32 * 3),
        ({322: (4, 16)}, 0),
        ({277: (3, 1)}, 40 * 24),
        ({277: (3, 100)}, 40 * 24 * 8),
        ({258: (3, 8, 16)}, 40 * 24 * 3),
        ({258: (3, 1)}, 40 * 24 * 3 // 8),
        ({262: (3, 6)}, 40 * 24 * 4),
        ({262: (3, 6), 258: (3, 16)}, 40 * 24 * 6),
        ({262: (3, 2)}, 40 * 24 * 3),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_largest_piece_of_a_tiff_is_counted(order: str, more: dict, piece: int) -> None:
    data = tiff(PACKED | more, order)
    assert tidy(data, "TIFF") == PictureFile(data, piece=piece)


@pytest.mark.parametrize("offsets, lengths", [(273, 279), (324, 325)])
def test_a_tiff_whose_pieces_lie_beyond_its_end_is_cut(offsets: int, lengths: int) -> None:
    size = len(tiff(PACKED | {offsets: (4, 0), lengths: (4, 0)}))
    for at, cut in ((size - 10, False), (size - 9, True)):
        assert tidy(tiff(PACKED | {offsets: (4, at), lengths: (4, 10)}), "TIFF").cut is cut


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [3, 4])
def test_a_tiff_is_said_to_be_upright_and_its_turn_is_told(order: str, kind: int) -> None:
    upright = tiff(PACKED | {exif.ORIENTATION: (kind, 1)}, order)
    for value in range(1, 9):
        found = tidy(tiff(PACKED | {exif.ORIENTATION: (kind, value)}, order), "TIFF")
        assert (found.data, found.orientation) == (upright, value)


def test_unsound_folders_of_a_tiff_are_no_folders_any_more() -> None:
    sound = {0x8825: (4, 90)}  # zeros there: a folder of no entries
    for unsound in ((0x8769,), (0xA005,), (0x8769, 0xA005)):
        data = tiff(PACKED | sound | dict.fromkeys(unsound, (4, 10**6)), room=80)
        found = tidy(data, "TIFF").data
        places = [data.index(struct.pack("<HHL", tag, 4, 1)) for tag in unsound]
        expected = bytearray(data)
        for place in places:
            expected[place : place + 2] = b"\xff\xff"
        assert found == bytes(expected)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_of_eight_byte_offsets_is_read_like_any(order: str) -> None:
    def big(turn: int) -> bytes:
        start = (b"II+\0" if order == "<" else b"MM\0+") + struct.pack(order + "HHQQ", 8, 0, 16, 6)
        tags = {**PACKED, exif.ORIENTATION: (3, turn)}
        return start + b"".join(
            struct.pack(order + "HHQ", tag, kind, 1)
            + struct.pack(order + {3: "H", 4: "L"}[kind], value).ljust(8, b"\0")
            for tag, (kind, value) in sorted(tags.items())
        )

    for turn in range(1, 9):
        expected = PictureFile(big(1), orientation=turn, piece=40 * 24 * 3)
        assert tidy(big(turn), "TIFF") == expected


def test_a_tiff_of_no_directory_is_cut_or_refused() -> None:
    assert tidy(b"II*\0" + bytes([99, 0, 0, 0]) + bytes(20), "TIFF").cut
    assert tidy(b"II*\0", "TIFF") == PictureFile(b"II*\0", cut=True)
    huge = b"II*\0\x08\0\0\0" + struct.pack("<HHHLL", 1, 700, 7, 10**6, 0) + bytes(20)
    with pytest.raises(UnusualError, match="its directory takes more room than the file has"):
        tidy(huge, "TIFF")


@pytest.mark.parametrize("kind, decoder", [(0, 0.0), (1, 30.0), (2, 30.0), (3, 0.0)])
def test_a_bmp_in_runs_costs_more_and_may_be_no_larger(
    kind: int, decoder: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"BM" + struct.pack("<L", 60) + bytes(24) + bytes([kind]) + bytes(29)
    assert tidy(data, "BMP") == PictureFile(data, decoder=decoder)
    assert tidy(data[:-1], "BMP") == PictureFile(data[:-1], cut=True, decoder=decoder)
    monkeypatch.setattr(picture_files, "MAX_RUNS", 60)
    tidy(data, "BMP")
    if decoder:
        with pytest.raises(UnusualError, match="it has too many runs"):
            tidy(data + b"x", "BMP")
    else:
        assert tidy(data + b"x", "BMP") == PictureFile(data + b"x")
