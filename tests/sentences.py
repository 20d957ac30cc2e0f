"""An error whose sentence stands in no locale: another side told it, or a test makes it up."""

from img2prompt.core.errors import UserError
from img2prompt.core.texts import Texts


class Sentence(UserError):
    """`UserError` with its sentence in place of a key."""

    def told(self, text: Texts) -> str:
        """The sentence."""
        return self.key
