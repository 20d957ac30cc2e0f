"""The format of a file by its first bytes, and what the readers of all formats share."""

from collections.abc import Iterator

from img2prompt.core.errors import UserError
from img2prompt.core.files import is_web_page

MAX_PARTS = 100_000  # chunks, segments or extensions; more would take minutes
ARCHIVE_HEAD = 512  # bytes that are enough to recognise an archive
PNG_START = b"\x89PNG\r\n\x1a\n"


class UnusualError(ValueError):
    """The file is of a known format, in a variant that is not read here."""


def parts() -> Iterator[int]:
    """0, 1, 2 … up to `MAX_PARTS`, for loops over the parts of a file.

    Raises:
        UnusualError: after the last.
    """
    yield from range(MAX_PARTS)
    raise UnusualError("it has too many parts")


def sniff(data: bytes) -> str | None:
    """Which of `images.FORMATS` a file begins as, whatever its name says; None for others."""
    if data.startswith(PNG_START):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")) and data[8:10] != b"CR":
        return "TIFF"
    if data.startswith(b"BM"):
        return "BMP"
    return None


# Names that are words of a language.
_CAMERA_RAW = UserError("images.camera_raw")
_QUICKTIME, _MP4, _MATROSKA, _AVI = (
    UserError("images.video", format=name) for name in ("QuickTime", "MP4", "WebM/Matroska", "AVI")
)
_BRANDS: dict[bytes, str | UserError] = {
    b"heic": "HEIC",
    b"heix": "HEIC",
    b"heim": "HEIC",
    b"hevc": "HEIC",
    b"mif1": "HEIC",
    b"msf1": "HEIC",
    b"avif": "AVIF",
    b"avis": "AVIF",
    b"crx ": _CAMERA_RAW,
    b"qt  ": _QUICKTIME,
}
_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")  # an archive with members, one without
_ARCHIVES = (
    (b"Rar!\x1a\x07", "RAR"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"\x1f\x8b", "gzip"),
    (b"\x1f\x9d", "compress"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "XZ"),
    (b"\x28\xb5\x2f\xfd", "Zstandard"),
    (b"\x04\x22\x4d\x18", "LZ4"),
    (b"MSCF", "CAB"),
    (b"LZIP", "lzip"),
)
_STARTS: tuple[tuple[bytes, str | UserError], ...] = (
    *_ARCHIVES,
    *((start, "ZIP") for start in _ZIP_STARTS),
    (b"8BPS", "Photoshop (PSD)"),
    (b"%PDF", "PDF"),
    (b"\0\0\1\0", "ICO"),
    (b"\0\0\2\0", "CUR"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"%!PS", "PostScript (EPS)"),
    (b"\xc5\xd0\xd3\xc6", "PostScript (EPS)"),
    (b"gimp xcf", "GIMP (XCF)"),
    (b"DDS ", "DDS"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"qoif", "QOI"),
    (b"FUJIFILMCCD-RAW", _CAMERA_RAW),
    (b"IIRO", _CAMERA_RAW),
    (b"IIU\0", _CAMERA_RAW),
    (b"II*\0\x10\0\0\0CR", _CAMERA_RAW),
    (b"\xd7\xcd\xc6\x9a", "WMF"),
    (b"\x1aE\xdf\xa3", _MATROSKA),
    (b"OggS", "Ogg"),
    (b"ID3", "MP3"),
    (b"\x8aMNG", "MNG"),
    (b"\x8bJNG", "JNG"),
)
_PNM = tuple(b"P%d%c" % (kind, space) for kind in range(1, 8) for space in b" \n\r\t")


def is_zip(head: bytes) -> bool:
    """Whether a file's first four bytes are a zip's."""
    return head.startswith(_ZIP_STARTS)


def is_other_archive(head: bytes) -> bool:
    """Whether a file's first `ARCHIVE_HEAD` bytes are those of an archive that is no zip."""
    tar = head[257:262] == b"ustar"
    return tar or any(head.startswith(start) for start, _ in _ARCHIVES)


def other_kind(data: bytes) -> str | UserError | None:
    """The name of a format that is not read here, for a sentence; None where it is unknown."""
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], _MP4)
    for start, name in _STARTS:
        if data.startswith(start):
            return name
    if data.startswith(_PNM):
        return "PPM"
    if data.startswith(b"RIFF"):
        return _AVI if data[8:12] == b"AVI " else "WAV" if data[8:12] == b"WAVE" else None
    start = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith(b"<svg") or (start.startswith((b"<?xml", b"<!--")) and b"<svg" in start):
        return "SVG"
    return "HTML" if is_web_page(data) else None
