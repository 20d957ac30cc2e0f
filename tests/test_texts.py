"""The texts: one English file, and translations that say all of it."""

import re
from pathlib import Path

import pytest

from img2prompt.errors import UserError
from img2prompt.ui.texts import ENGLISH, LOCALES, Texts, languages

UI = Path(__file__).resolve().parent.parent / "img2prompt" / "ui"


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
    """Every key is asked for somewhere; keys that are put together count by their beginning."""
    code = "".join(path.read_text("utf-8") for path in UI.glob("*.py"))
    built = {match.rstrip("{") for match in re.findall(r"text\(f?[\"']([a-z_]+\.[a-z_]*)\{", code)}
    built |= {"kind.", "preset."}
    for key in Texts().names():
        used = f'"{key}"' in code or f"'{key}'" in code
        assert used or any(key.startswith(start) for start in built), key


def test_numbers_are_written_as_the_language_writes_them() -> None:
    english, german = Texts(), Texts("de")
    assert english.number(-0.254) == "−0.25" and german.number(-0.254) == "−0,25"
    assert english.number(12345, 0) == "12,345" and german.number(12345, 0) == "12.345"
    assert english.percent(0.5) == german.percent(0.5) == "50 %"


def test_an_unknown_language_is_one_sentence() -> None:
    with pytest.raises(UserError, match="There is no language 'tlh'; choose one of en, de"):
        Texts("tlh")
    assert not (LOCALES / "tlh.toml").exists()
