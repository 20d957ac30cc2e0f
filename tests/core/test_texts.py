"""The texts: one English file, and translations that say all of it."""

import io
import pickle
import re
import struct
from pathlib import Path

import pytest
from paths import ROOT
from PIL import Image

from img2prompt.core.errors import UserError
from img2prompt.core.files import read_json
from img2prompt.core.texts import ENGLISH, Texts, languages
from img2prompt.data import images


def _cut_png() -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(buffer, "PNG")
    return buffer.getvalue()[:-200]


def _damaged_png() -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(buffer, "PNG")
    data = buffer.getvalue()
    return data[:200] + bytes(100) + data[300:]


def _ycbcr_tiff() -> bytes:
    buffer = io.BytesIO()
    Image.new("YCbCr", (9, 9)).save(buffer, "TIFF")
    return buffer.getvalue()


def _header(width: int, height: int) -> bytes:
    """A GIF of one pixel that claims a size."""
    buffer = io.BytesIO()
    Image.new("L", (1, 1)).save(buffer, "GIF")
    data = buffer.getvalue()
    return data[:6] + struct.pack("<HH", width, height) + data[10:]


def _large_webp() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (6000, 6000)).save(buffer, "WEBP", method=0, quality=1)
    return buffer.getvalue()


UI = ROOT / "img2prompt" / "ui"


def test_english_and_one_more_language_ship() -> None:
    assert languages()[0] == ENGLISH and len(languages()) >= 2


@pytest.mark.parametrize("language", languages())
def test_a_locale_has_every_text_with_its_placeholders(language: str) -> None:
    english, other = Texts(), Texts(language)
    assert other.names() == english.names()
    for key in english.names():
        assert other.placeholders(key) == english.placeholders(key), key
        assert other(key, **dict.fromkeys(english.placeholders(key), "x")).strip(), key


def test_no_text_is_left_over() -> None:
    """Every key is asked for somewhere; one that is put together has its parts in the code."""
    files = [*UI.parent.rglob("*.py"), *UI.rglob("*.jinja")]
    code = "".join(path.read_text("utf-8") for path in files if path.is_relative_to(UI))
    # A template's "a.b_" ~ c is f"a.b_{c}".
    code += re.sub(r"\"([a-z_.]+)\" ~ (\w+)", r"f'\1{\2}'", code)
    every = code + "".join(path.read_text("utf-8") for path in files)
    built = [
        re.compile(re.sub(r"\{[^}]+\}", r"(\\w+)", part.replace(".", r"\.")))
        for part in re.findall(r"f[\"']([a-z_]+\.[a-z_.]*\{[^}]+\}[a-z_]*)[\"']", code)
    ]
    whole = ("figure.", "kind.", "preset.", "error.", "learn.word_")  # tables that are gone through

    def asked(key: str) -> bool:
        if f'"{key}"' in code or f"'{key}'" in code or key.startswith(whole):
            return True
        found = [match[1] for pattern in built if (match := pattern.fullmatch(key))]
        return any(
            part.isdigit() or re.search(rf"[\"']{part}[\"']", every) is not None for part in found
        )

    assert [key for key in Texts().names() if not asked(key)] == []


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (b"", "empty"),
        (b"not a picture", "unreadable"),
        (b"%PDF-1.7 " + bytes(40), "other_kind"),
        (bytes(4) + b"ftypmp42" + bytes(40), "other_kind"),
        (_cut_png(), "cut"),
        (_damaged_png(), "damaged"),
        (_ycbcr_tiff(), "odd"),
        (_header(1, 40_000), "side"),
        (_header(7_000, 8_000), "pixels"),
        (_large_webp(), "memory"),
        (bytes(images.MAX_BYTES + 1), "large"),
    ],
)
def test_what_the_rooms_below_say_is_said_in_every_language(content: bytes, key: str) -> None:
    with pytest.raises(UserError) as caught:
        images.open_image(content)
    english, german = str(caught.value), caught.value.told(Texts("de"))
    assert german != english
    values = re.findall(r"\d+|[A-Z]{3,}", english)
    assert all(value in german for value in values)
    assert re.fullmatch(
        re.sub(r"\\{\w+\\}", ".+", re.escape(Texts("de")(f"error.images.{key}"))), german
    )


def test_numbers_are_written_as_the_language_writes_them() -> None:
    english, german = Texts(), Texts("de")
    assert english.number(-0.254) == "−0.25" and german.number(-0.254) == "−0,25"
    assert english.number(12345, 0) == "12,345" and german.number(12345, 0) == "12.345"
    assert english.percent(0.5) == german.percent(0.5) == "50 %"


def test_an_error_is_told_in_the_language_asked_for() -> None:
    inner = UserError("guess.no_example")
    error = UserError("ui.no_language", language=inner, known="en, de")
    assert str(error) == error.told(Texts()) and str(inner) in str(error)
    assert error.told(Texts("de")).startswith("Es gibt keine Sprache")
    assert inner.told(Texts("de")) in error.told(Texts("de"))


def test_values_are_in_the_language_of_their_sentence(tmp_path: Path) -> None:
    made = [UserError("evaluation.form", side=side, fit="crop") for side in (128, 192)]
    error = UserError("evaluation.other_form", preset="gaze", side=64, fit="crop", made=made)
    assert "at 128 pixels by crop, 192 pixels by crop; prepare" in str(error)
    assert "sind 128 Pixel mit crop, 192 Pixel mit crop; bereite" in error.told(Texts("de"))
    with pytest.raises(UserError) as caught:
        images.open_image(bytes(4) + b"ftypqt  " + bytes(40))
    assert "is QuickTime video, not" in str(caught.value)
    assert "ist ein Video (QuickTime), kein" in caught.value.told(Texts("de"))
    path = tmp_path / "one.json"
    path.write_text('{"a": 1, "a": 2}')
    with pytest.raises(UserError) as caught:
        read_json(path)
    assert "(it holds a twice)" in str(caught.value)
    assert "(a steht zweimal darin)" in caught.value.told(Texts("de"))


def test_no_two_errors_say_the_same() -> None:
    english = Texts()
    said: dict[str, str] = {}
    for key in english.names("error."):
        sentence = re.sub(r"'?\{[^}]+\}'?", "{}", english(key))
        if len(sentence) > 20:  # a word or two may be a part of several sentences
            assert said.setdefault(sentence, key) == key


def test_an_error_reaches_another_process_whole() -> None:
    error = pickle.loads(pickle.dumps(UserError("ui.port_taken", port=80)))
    assert str(error) == "Port 80 is taken; choose another one with --port."
