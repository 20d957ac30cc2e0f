"""Errors that a person can act on, each one sentence in every language that we have."""

from functools import cache
from typing import Any

from img2prompt.core.texts import Texts


class UserError(ValueError):
    """Bad input, told in one sentence that says what was wrong and what to do.

    The page tells it in its language; a command prints the English sentence and exits with 2.

    Args:
        key: where the sentence stands in a locale: `ROOM.NAME` of its table `error`, or a whole key
            such as `guess.waiting`.
        values: what its placeholders are filled with. An error among them is told in the same
            language, several in a list with commas between.
    """

    def __init__(self, key: str, /, **values: Any) -> None:
        super().__init__(key)  # so that a worker's error reaches the process that asked for it
        self.key, self.values = key, values

    def __str__(self) -> str:
        return self.told(_english())

    def told(self, text: Texts) -> str:
        """The sentence in a language."""
        key = next((key for key in (f"error.{self.key}", self.key) if key in text), None)
        if key is None:
            return self.key  # a program that uses ours may raise a sentence of its own
        return text(key, **{name: _told(value, text) for name, value in self.values.items()})


def _told(value: Any, text: Texts) -> Any:
    """A placeholder's value in a language."""
    if isinstance(value, list):
        return ", ".join(str(_told(one, text)) for one in value)
    return value.told(text) if isinstance(value, UserError) else value


@cache
def _english() -> Texts:
    return Texts()


class SharedFailureError(UserError):
    """What every further part would meet too: no network, no access, a full disk."""
