"""Inputs for fuzzing: small real files, made by code, and what damages them by their structure.

A mutation that only flips bytes stops at the first checksum. So files are taken apart into their
chunks (PNG, JPEG, RIFF) or members (zip), changed there, and put together again, mostly with
checksums and lengths that hold.
"""

import io
import json
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

PNG_START = b"\x89PNG\r\n\x1a\n"
INTERESTING = (0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


def picture(mode: str = "RGB", size: tuple[int, int] = (9, 6)) -> Image.Image:
    """A small picture of noise, the same each time."""
    noise = np.random.default_rng(len(mode)).integers(0, 256, (size[1], size[0], 4), np.uint8)
    return Image.fromarray(noise, "RGBA").convert(mode)


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    """The picture as a file."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def exif_of(comment: bytes, description: str = "") -> bytes:
    """EXIF with a UserComment and an ImageDescription."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = comment
    if description:
        exif[0x10E] = description
    return exif.tobytes()


def pictures() -> list[bytes]:
    """Real files of every format and of most kinds of pixels."""
    made = [encoded(picture(mode), "PNG") for mode in ("RGB", "RGBA", "L", "LA", "P", "1")]
    made.append(encoded(Image.new("I;16", (5, 4), 40_000), "PNG", transparency=3))
    made.append(encoded(picture("P"), "PNG", transparency=3, dpi=(72, 72)))
    exif = exif_of(b"ASCII\0\0\0a dog", "a dog")
    made += [encoded(picture(mode), "JPEG", exif=exif) for mode in ("RGB", "L", "CMYK")]
    made.append(encoded(picture(), "JPEG", progressive=True, comment=b"a dog"))
    made += [encoded(picture("RGBA"), "WEBP", lossless=some, exif=exif) for some in (True, False)]
    frames = [picture("L", (6, 6)), picture("P", (6, 6))]
    made.append(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    made.append(encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]))
    made.append(encoded(frames[0], "PNG", save_all=True, append_images=frames[:1]))
    made += [encoded(picture(mode), "BMP") for mode in ("RGB", "P", "1")]
    made += [
        encoded(picture("RGB"), "TIFF", compression=name)
        for name in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    ]
    made += [encoded(picture(mode).convert(mode), "TIFF") for mode in ("F", "I", "CMYK", "1")]
    return made


_PICTURES = pictures()

# What tools write, and what nobody should.
PARAMETERS = (
    "a dog, oil painting\nNegative prompt: cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, "
    "Seed: 1, Size: 512x512, Model hash: abc, Model: sd, Version: v1.9"
)
GRAPH = {
    "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a dog", "clip": ["4", 1]}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "cat", "clip": ["4", 1]}},
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 1,
            "steps": 20,
            "cfg": 7,
            "sampler_name": "euler",
            "scheduler": "normal",
            "model": ["4", 0],
            "positive": ["5", 0],
            "negative": ["5", 1],
            "latent_image": ["6", 0],
        },
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd.safetensors"}},
    "5": {
        "class_type": "ControlNetApplyAdvanced",
        "inputs": {"positive": ["1", 0], "negative": ["2", 0], "strength": 1.0},
    },
    "6": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512}},
}
INVOKE = {"positive_prompt": "a dog", "negative_prompt": "cat", "seed": 1, "steps": 20, "model": {}}
NOVEL = {
    "prompt": "a dog",
    "uc": "cat",
    "steps": 28,
    "sampler": "k_euler",
    "seed": 1,
    "v4_prompt": {
        "caption": {"base_caption": "a dog", "char_captions": [{"char_caption": "girl"}]}
    },
}
FOOOCUS = {"prompt": "a dog", "negative_prompt": "cat", "steps": 30, "seed": "1", "sampler": "dpm"}
TEXTS = (
    ("parameters", PARAMETERS),
    ("parameters", json.dumps(FOOOCUS)),
    ("prompt", json.dumps(GRAPH)),
    ("workflow", json.dumps({"nodes": [], "links": []})),
    ("invokeai_metadata", json.dumps(INVOKE)),
    ("sd-metadata", json.dumps({"image": {"prompt": [{"prompt": "a dog", "weight": 1}]}})),
    ("Dream", '"a dog" -s 50 -S 1 -W 512 -H 512 -C 7.5 -A k_lms'),
    ("Comment", json.dumps(NOVEL)),
    ("Description", "a dog"),
    ("Source", "Stable Diffusion XL"),
)
_KEYS = tuple(dict.fromkeys(key for key, _ in TEXTS))
_SYMBOLS = (":", ",", "\n", "(", ")", "<lora:a:1>", "\u202e", "\0", "😀", "\ud800", "BREAK", "AND")
_WORDS = ("dog", "the", "Steps: ", "Negative prompt:", "a" * 300, "ß", "東京", "  ", "1.2", '"')
TEXT = st.lists(
    st.one_of(st.sampled_from(_SYMBOLS + _WORDS), st.text(max_size=8)), max_size=12
).map(" ".join)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 2**31, 2**63, 10**400, 1.5, float("nan"), float("inf")]),
    TEXT,
)


def changed_json(value: object) -> st.SearchStrategy[object]:
    """A JSON value like this one: parts left out, swapped for others, repeated or nested."""
    other = st.one_of(
        SCALARS,
        st.sampled_from([[], {}, [["1", 0]], ["3", 0], ["9", 5], ["1", "x"], {"text": ["1", 0]}]),
        st.integers(1, 300).map(lambda depth: _nested(depth)),
    )

    @st.composite
    def change(draw: Callable) -> object:
        def walk(part: object, depth: int) -> object:
            choice = draw(st.integers(0, 19))
            if choice == 0:
                return draw(other)
            if isinstance(part, dict):
                kept = {k: walk(v, depth + 1) for k, v in part.items() if draw(st.integers(0, 24))}
                if choice == 1 and part:
                    kept[draw(TEXT)] = draw(st.sampled_from(list(part.values())))
                return kept
            if isinstance(part, list):
                return [walk(item, depth + 1) for item in part] * (1 + (choice == 1))
            return draw(SCALARS) if choice == 1 else part

        return walk(value, 0)

    return change()


def _nested(depth: int) -> object:
    value: object = "deep"
    for _ in range(depth):
        value = [value]
    return value


def _dumped(value: object) -> str:
    try:
        return json.dumps(value)
    except (ValueError, RecursionError):
        return "{"


TOOL_TEXT = st.one_of(
    st.sampled_from(TEXTS),
    st.tuples(st.sampled_from(_KEYS), TEXT),
    *(
        st.tuples(st.just(key), changed_json(value).map(_dumped))
        for key, value in (
            ("prompt", GRAPH),
            ("invokeai_metadata", INVOKE),
            ("Comment", NOVEL),
            ("parameters", FOOOCUS),
        )
    ),
    TEXT.map(lambda text: ("parameters", f"{text}\nSteps: {text}, Sampler: Euler, Seed: 1")),
)
_ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be", "utf-16", "latin-1")
_HEADS = (b"ASCII\0\0\0", b"UNICODE\0", b"JIS\0\0\0\0\0", b"\0" * 8, b"", b"UNDEFINE")


def _png_with(texts: list[tuple[str, str]], itxt: bool, packed: bool) -> bytes:
    info = PngImagePlugin.PngInfo()
    for key, value in texts:
        clean = value.encode("utf-8", "replace").decode()
        if itxt:
            info.add_itxt(key, clean, zip=packed)
        else:
            info.add_text(key, clean.encode("latin-1", "replace").decode("latin-1"), zip=packed)
    return encoded(picture(), "PNG", pnginfo=info)


@st.composite
def pictures_with_prompts(draw: Callable) -> bytes:
    """Files as image generators write them, their texts changed."""
    texts = draw(st.lists(TOOL_TEXT, min_size=1, max_size=3))
    form = draw(st.sampled_from(["PNG", "PNG", "JPEG", "WEBP", "comment"]))
    if form == "PNG":
        data = _png_with(texts, draw(st.booleans()), draw(st.booleans()))
    else:
        text = texts[0][1]
        head = draw(st.sampled_from(_HEADS))
        body = text.encode(draw(st.sampled_from(_ENCODINGS)), "replace")[:60_000]
        if form == "comment":
            data = encoded(picture(), "JPEG", comment=body)
        else:
            data = encoded(picture(), form, exif=exif_of(head + body, draw(TEXT)[:500]))
    return draw(damaged(st.just(data))) if draw(st.integers(0, 3)) == 0 else data


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """(kind, body) of each chunk."""
    found, at = [], len(PNG_START)
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">L", data, at)
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def png_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """Chunks → a file with lengths and checksums that hold."""
    parts = [
        struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body))
        for kind, body in chunks
    ]
    return PNG_START + b"".join(parts)


def _jpeg_segments(data: bytes) -> list[bytes]:
    found, at = [data[:2]], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", data, at + 2)
        found.append(data[at : at + 2 + length])
        at += 2 + length
    return [*found, data[at:]]


def _riff_chunks(data: bytes) -> list[bytes]:
    found, at = [data[:12]], 12
    while at + 8 <= len(data):
        (length,) = struct.unpack_from("<L", data, at + 4)
        end = at + 8 + length + length % 2
        found.append(data[at:end])
        at = end
    return found


@st.composite
def damaged(draw: Callable, files: st.SearchStrategy[bytes]) -> bytes:
    """A file with its parts dropped, repeated, swapped, cut, or with bytes changed."""
    data = draw(files)
    if draw(st.booleans()):
        data = _by_parts(draw, data)
    for _ in range(draw(st.integers(0, 3))):
        data = _by_bytes(draw, data)
    return data


def _by_parts(draw: Callable, data: bytes) -> bytes:
    if data.startswith(PNG_START):
        chunks = png_chunks(data)
        number = draw(st.integers(0, max(len(chunks) - 1, 0)))
        kind, body = chunks[number]
        body = _by_bytes(draw, body) if draw(st.booleans()) else body
        extra = (draw(st.sampled_from([b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", kind])), body)
        chunks[number : number + 1] = draw(
            st.sampled_from([[], [(kind, body)], [(kind, body)] * 2, [(kind, body), extra]])
        )
        return png_of(chunks)
    split = _jpeg_segments if data[:2] == b"\xff\xd8" else _riff_chunks
    if data[:2] != b"\xff\xd8" and data[:4] != b"RIFF":
        return _by_bytes(draw, data)
    parts = split(data)
    number = draw(st.integers(0, len(parts) - 1))
    part = _by_bytes(draw, parts[number]) if draw(st.booleans()) else parts[number]
    other = parts[draw(st.integers(0, len(parts) - 1))]
    parts[number : number + 1] = draw(st.sampled_from([[], [part], [part, part], [part, other]]))
    return b"".join(parts)


def _by_bytes(draw: Callable, data: bytes) -> bytes:
    if not data:
        return data
    at = draw(st.integers(0, len(data) - 1))
    choice = draw(st.integers(0, 4))
    if choice == 0:
        return data[:at]
    if choice == 1:
        return data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]
    if choice == 2:
        return data[:at] + draw(st.binary(max_size=12)) + data[at:]
    if choice == 3:
        return data[:at] + data[at + draw(st.integers(1, 64)) :]
    form = draw(st.sampled_from(["<H", ">H", "<L", ">L"]))
    number = draw(st.sampled_from(INTERESTING)) & (0xFFFF if form[1] == "H" else 0xFFFFFFFF)
    return data[:at] + struct.pack(form, number) + data[at + struct.calcsize(form) :]


_NAMES = (
    "a.png",
    "b.jpg",
    "notes.txt",
    "a.txt",
    "a.json",
    "part-000001.json",
    "folder/",
    "folder/c.png",
    "../../up.png",
    "/etc/passwd",
    "C:\\a.png",
    "__MACOSX/._a.png",
    "\u202egnp.exe",
    "bell\x07.png",
    "a" * 300 + ".png",
    "",
    "inner.zip",
    "é.png",
)


_TABLE = {"a.png": {"p": "a dog", "se": 1}, "b.jpg": {"p": "a cat"}, "folder/c.png": {"p": " "}}


@st.composite
def archives(draw: Callable, part: bool = False) -> bytes:
    """Zip archives of pictures, prompts and other things, some of them damaged.

    Args:
        part: with the JSON of prompts that a part of DiffusionDB has.
    """
    some = _PICTURES
    members = st.one_of(
        st.sampled_from(some),
        damaged(st.sampled_from(some)),
        TEXT.map(lambda text: text.encode("utf-8", "replace")),
        changed_json(_TABLE).map(lambda value: _dumped(value).encode()),
        st.binary(max_size=40),
        st.just(b"\0" * 3_000_000),  # packs to three kilobytes
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of names that come twice
        if part:
            table = draw(st.one_of(st.just(_TABLE), changed_json(_TABLE)))
            archive.writestr("part-000001.json", _dumped(table))
        for _ in range(draw(st.integers(0, 5))):
            name = draw(st.sampled_from(_NAMES)).replace("\0", "")
            entry = zipfile.ZipInfo(name or "x", date_time=(2022, 8, 7, 0, 0, 0))
            entry.compress_type = draw(st.sampled_from([0, 8, 8, 12, 14]))
            archive.writestr(entry, draw(members), compresslevel=1)
        archive.comment = draw(st.binary(max_size=9))
    data = buffer.getvalue()
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        data = _by_bytes(draw, data)
    return data
