"""Every sentence that a person reads, by key: `locales/en.toml` is the English one.

A locale is a TOML file with the same keys and placeholders as the English one; to add a language,
copy `en.toml`, translate it, and name it by its code.
"""

import tomllib
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any

LOCALES = Path(__file__).with_name("locales")
ENGLISH = "en"


class Texts:
    """The texts of one language.

    Args:
        language: the code of a file in `locales/`.

    Raises:
        ValueError: there is no such locale.
    """

    def __init__(self, language: str = ENGLISH) -> None:
        if language not in languages():
            raise ValueError(f"There is no locale {language!r}.")
        self.language = language
        self._texts = _flat(tomllib.loads((LOCALES / f"{language}.toml").read_text("utf-8")))

    def __call__(self, key: str, /, **values: Any) -> str:
        """The text `table.name`, its placeholders filled; KeyError for a key no locale has."""
        text = self._texts[key]
        return text.format(**values) if values else text

    def __contains__(self, key: str) -> bool:
        return key in self._texts

    def get(self, key: str, default: str) -> str:
        """The text, or `default` where there is none."""
        return self._texts.get(key, default)

    def names(self, table: str = "") -> list[str]:
        """All keys of a table, in the file's order."""
        return [key for key in self._texts if key.startswith(table)]

    def placeholders(self, key: str) -> set[str]:
        """The names in braces of a text."""
        return {name for _, name, _, _ in Formatter().parse(self._texts[key]) if name}

    def number(self, value: float, digits: int = 2) -> str:
        """A number as this language writes it, with a true minus sign."""
        written = f"{value:,.{digits}f}".replace("-", "−")
        if self("page.decimal_comma") == "yes":
            written = written.replace(",", " ").replace(".", ",").replace(" ", ".")
        return written

    def percent(self, share: float) -> str:
        """Whole per cent; nothing is certain, and what rounds to nothing is not nothing."""
        if share >= 0.995:
            return "> 99 %"
        return f"{share * 100:.0f} %" if share > 0.005 else "< 1 %"


@cache
def languages() -> tuple[str, ...]:
    """The codes of the locales, English first."""
    codes = sorted(path.stem for path in LOCALES.glob("*.toml"))
    return (ENGLISH, *(code for code in codes if code != ENGLISH))


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
