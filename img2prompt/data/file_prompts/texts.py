"""Extracts the text fields of a picture file: PNG chunks, EXIF, XMP, IPTC and comments.

Fields of EXIF, XMP and IPTC are named "exif.UserComment", "xmp.description" and so on; PNG chunks
keep their keys, and the comment of a JPEG or GIF is "comment".
"""

import contextlib
import re
from typing import Any
from xml.etree import ElementTree

from PIL import Image, ImageFile, IptcImagePlugin
from PIL.PngImagePlugin import iTXt

from img2prompt.data.images import read_exif

MAX_TEXT = 2**20  # characters of one text; a large ComfyUI graph has a tenth of it
MAX_TEXTS = 200
MAX_XMP = 2**18  # bytes; XMP is usually padded to a few kilobytes
_EXIF_FOLDER = 0x8769
_TAGS = {
    0x010D: "DocumentName",
    0x010E: "ImageDescription",
    0x010F: "Make",
    0x0110: "Model",
    0x0131: "Software",
    0x013B: "Artist",
    0x9286: "UserComment",
    0x9C9B: "XPTitle",
    0x9C9C: "XPComment",
    0x9C9E: "XPKeywords",
    0x9C9F: "XPSubject",
}
_XMP_NAMES = frozenset(
    "description title creator CreatorTool UserComment DigitalSourceType Software parameters "
    "prompt".split()
)
_IPTC_NAMES = {(2, 120): "caption", (2, 65): "program"}
# EXIF's UserComment begins with the name of its encoding, padded to eight bytes; eight zeros mean
# that it is undefined.
_NAMED = re.compile(rb"(?:(ascii|jis)[\0 ]+|(unicode)\0|\0+)\Z", re.IGNORECASE)
_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_DECLARED = re.compile(r"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)


def read_texts(image: Image.Image) -> dict[str, str]:
    """The texts of an opened picture file by name, each at most `MAX_TEXT` characters.

    Damage to one kind of text does not affect the others.

    Args:
        image: as `images.open_encoded` returns it; its pixels are not decoded.
    """
    texts: dict[str, str] = {}
    for read in (_chunks, _comment, _exif_texts, _xmp_texts, _iptc_texts):
        try:
            found = read(image)
        except Exception:  # Pillow's readers raise many types on damage
            continue
        for name, value in found.items():
            if 0 < len(value) <= MAX_TEXT and len(texts) < MAX_TEXTS:
                texts.setdefault(name, value)
    return texts


def decode_comment(comment: bytes | str) -> str:
    """Decode EXIF's UserComment: eight bytes that name the encoding, then the text.

    Many programs omit the name, or use another encoding than they name. Byte order marks and the
    positions of zero bytes are more reliable.
    """
    if isinstance(comment, str):  # a field of type ASCII, which Pillow decodes as Latin-1
        comment = comment.encode("latin-1", "replace")
    kind = b""
    if len(comment) >= 8 and (named := _NAMED.match(comment[:8])):
        kind = (named[1] or named[2] or b"").lower()
        comment = comment[8:]
    for mark, encoding in _MARKS:
        if comment.startswith(mark):
            return _end(comment[len(mark) :].decode(encoding, "replace"))
    if wide := _wide(comment, kind == b"unicode"):
        return _end(comment.decode(wide, "replace"))
    if kind == b"jis":
        tried = ("iso2022_jp",) if b"\x1b" in comment else ("utf-8", "shift_jis", "euc_jp")
        for one in tried:
            try:
                return _end(comment.decode(one))
            except UnicodeDecodeError:
                continue
    return _end(_narrow(comment))


def mend(value: str) -> str:
    """Decode as UTF-8 a text that was wrongly decoded as Latin-1; others stay as they are.

    Latin-1 text with letters beyond ASCII is almost never valid UTF-8.
    """
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return value


def _wide(data: bytes, told: bool) -> str | None:
    """Which UTF-16 the data is in; None where it is not UTF-16.

    The standard leaves the byte order open: zeros come before or after ASCII letters.
    """
    said = data.rstrip(b"\0")  # zeros pad a field of fixed length
    before, behind = said[::2].count(0), said[1::2].count(0)
    if not told and before + behind <= len(said) // 4:
        return None
    if before == behind == 0 and data:
        try:  # "UNICODE", and then UTF-8
            data.decode("utf-8")
            return None
        except UnicodeDecodeError:
            pass
    return "utf-16-le" if behind > before else "utf-16-be"


def _narrow(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _end(value: str) -> str:
    return value.lstrip("\ufeff").strip("\0")


def _chunks(image: Image.Image) -> dict[str, str]:
    """PNG's texts; `open_encoded` moved those after the pixels to the front."""
    if image.format != "PNG":
        return {}
    # tEXt is Latin-1 by the standard, and UTF-8 from many programs; iTXt is UTF-8.
    return {
        key: value if isinstance(value, iTXt) else mend(value)
        for key, value in image.info.items()
        if isinstance(key, str) and isinstance(value, str) and "." not in key
    }


def _comment(image: Image.Image) -> dict[str, str]:
    comment = image.info.get("comment")
    return {"comment": decode_comment(comment)} if isinstance(comment, bytes) else {}


def _exif_texts(image: Image.Image) -> dict[str, str]:
    exif = read_exif(image)
    folders: list[dict[int, Any]] = [dict(exif)]
    with contextlib.suppress(Exception):  # the first directory is kept
        folders.append(exif.get_ifd(_EXIF_FOLDER))
    texts: dict[str, str] = {}
    for folder in reversed(folders):  # UserComment belongs into the second directory
        for tag, name in _TAGS.items():
            value = _exif_text(name, folder.get(tag))
            if value:
                texts.setdefault(f"exif.{name}", value)
    return texts


def _exif_text(name: str, value: Any) -> str:
    if isinstance(value, tuple) and all(isinstance(v, int) and 0 <= v < 256 for v in value):
        value = bytes(value)
    if name == "UserComment" and isinstance(value, bytes | str):
        return decode_comment(value)
    if name.startswith("XP") and isinstance(value, bytes):
        return _end(value.decode("utf-16-le", "replace"))
    if isinstance(value, bytes):
        return decode_comment(value)
    return _end(mend(value)) if isinstance(value, str) else ""


def _xmp_texts(image: Image.Image) -> dict[str, str]:
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    if isinstance(packet, str):
        packet = packet.encode("utf-8", "replace")
    if not isinstance(packet, bytes) or not 0 < len(packet) <= MAX_XMP:
        return {}
    xml = packet.strip(b"\0 \r\n\t").decode("utf-8", "replace").lstrip("\ufeff")
    if _DECLARED.search(xml):  # XMP declares no entities; XML bombs do
        return {}
    texts: dict[str, str] = {}
    for element in ElementTree.fromstring(xml).iter():
        for tag, value in element.attrib.items():
            if (name := _short(tag)) in _XMP_NAMES:
                texts.setdefault(name, value)
        # Once a name: nested elements of one name would take quadratic time.
        if (name := _short(element.tag)) in _XMP_NAMES and name not in texts:
            texts[name] = next((part for part in element.itertext() if part.strip()), "")
    return {f"xmp.{name}": value.strip() for name, value in texts.items()}


def _short(tag: str) -> str:
    return tag.rpartition("}")[2]


def _iptc_texts(image: Image.Image) -> dict[str, str]:
    if not isinstance(image, ImageFile.ImageFile):
        return {}
    found = IptcImagePlugin.getiptcinfo(image) or {}
    texts = {}
    for key, name in _IPTC_NAMES.items():
        value = found.get(key)
        value = value[0] if isinstance(value, list) and value else value
        if isinstance(value, bytes):
            texts[f"iptc.{name}"] = _end(_narrow(value))
    return texts
