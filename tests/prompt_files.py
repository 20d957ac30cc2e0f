"""Small picture files that carry texts, made as the tools make them."""

import gzip
import io
import json
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

PICTURE = Image.linear_gradient("L").convert("RGB").resize((16, 16))


def png(texts: dict[str, str], **options: Any) -> bytes:
    """A PNG with a chunk a text: iTXt where it is not ASCII."""
    info = PngImagePlugin.PngInfo()
    for key, value in texts.items():
        info.add_itxt(key, value) if not value.isascii() else info.add_text(key, value, **options)
    return saved("PNG", pnginfo=info)


def saved(file_format: str, picture: Image.Image = PICTURE, **options: Any) -> bytes:
    """The picture as a file's bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def commented(file_format: str, comment: bytes) -> bytes:
    """As piexif writes a UserComment: in EXIF's own folder, an encoding's name before it."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = comment
    return saved(file_format, exif=exif)


def unicode_comment(text: str, order: str = "be") -> bytes:
    """A UserComment as piexif writes Unicode."""
    return b"UNICODE\0" + text.encode(f"utf-16-{order}")


def comfy_exif(file_format: str, graph: dict, workflow: dict) -> bytes:
    """As ComfyUI's SaveAnimatedWEBP: the graph in the tag of the camera's model."""
    exif = Image.Exif()
    exif[0x0110] = f"prompt:{json.dumps(graph)}"
    exif[0x010F] = f"workflow:{json.dumps(workflow)}"
    return saved(file_format, exif=exif)


def fooocus_exif(file_format: str, text: str, scheme: str) -> bytes:
    """As Fooocus: the comment as plain text in the first folder."""
    exif = Image.Exif()
    exif[0x9286] = text
    exif[0x0131] = "Fooocus v2.5.5"
    exif[0x927C] = scheme
    return saved(file_format, exif=exif)


def exif_file(file_format: str, tags: dict[int, Any], inner: dict[int, Any] | None = None) -> bytes:
    """A picture with EXIF tags in the first folder, and in EXIF's own one."""
    exif = Image.Exif()
    exif[0x0132] = "2026:01:01 00:00:00"  # Pillow writes no empty first folder into a PNG
    for tag, value in tags.items():
        exif[tag] = value
    for tag, value in (inner or {}).items():
        exif.get_ifd(0x8769)[tag] = value
    return saved(file_format, exif=exif)


def xmp_file(file_format: str, body: str, attributes: str = "") -> bytes:
    """A picture with a packet of XMP, `body` within its one description."""
    packet = (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
        'xmlns:exif="http://ns.adobe.com/exif/1.0/" '
        f'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" {attributes}>'
        f"{body}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end='w'?>"
    )
    if file_format == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet)
        return saved("PNG", pnginfo=info)
    if file_format == "TIFF":
        return exif_file("TIFF", {700: packet.encode()})
    return saved(file_format, xmp=packet.encode())


def hidden_file(text: str, file_format: str = "PNG", packed: bool = True) -> bytes:
    """A picture with a text in the lowest bits of its alpha, down the columns."""
    data = gzip.compress(text.encode()) if packed else text.encode()
    return hidden_bits(b"stealth_pngcomp" if packed else b"stealth_pnginfo", data, file_format)


def hidden_bits(
    name: bytes, data: bytes, file_format: str = "PNG", length: int | None = None
) -> bytes:
    """The same of raw bytes, with any length told."""
    told = struct.pack(">I", len(data) * 8 if length is None else length)
    bits = np.unpackbits(np.frombuffer(name + told + data, np.uint8))
    side = max(32, int(np.ceil(np.sqrt(len(bits)))))
    alpha = np.full(side * side, 254, np.uint8)
    alpha[: len(bits)] |= bits
    picture = PICTURE.resize((side, side)).convert("RGBA")
    picture.putalpha(Image.fromarray(alpha.reshape(side, side).T.copy()))
    buffer = io.BytesIO()
    picture.save(
        buffer, file_format, **({"lossless": True, "exact": True} if file_format == "WEBP" else {})
    )
    return buffer.getvalue()


def hidden_in_colours(text: str, packed: bool = True) -> bytes:
    """A picture without alpha that has a text in the lowest bits of its colours."""
    data = gzip.compress(text.encode()) if packed else text.encode()
    name = b"stealth_rgbcomp" if packed else b"stealth_rgbinfo"
    bits = np.unpackbits(np.frombuffer(name + struct.pack(">I", len(data) * 8) + data, np.uint8))
    side = max(32, int(np.ceil(np.sqrt(len(bits) / 3))))
    colours = np.full(side * side * 3, 200, np.uint8)
    colours[: len(bits)] |= bits
    columns = colours.reshape(side, side, 3).transpose(1, 0, 2)
    return saved("PNG", Image.fromarray(np.ascontiguousarray(columns)))


def with_chunk(data: bytes, kind: bytes, body: bytes, before: bytes) -> bytes:
    """A PNG with one chunk more, before the first of another kind."""
    at = data.index(before) - 4
    check = struct.pack(">I", zlib.crc32(kind + body))
    return data[:at] + struct.pack(">I", len(body)) + kind + body + check + data[at:]
