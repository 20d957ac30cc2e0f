"""Targets: the words of each prompt as numbers, kept beside the shards.

`PREPARED/targets/<embedding>-<form>/part-000001.npy`, int32 (n, positions).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.errors import UserError
from img2prompt.core.files import atomic_path
from img2prompt.data import text
from img2prompt.data.rows import read_rows, row_form
from img2prompt.data.shards import PathOf
from img2prompt.embedding.vectors import WordVectors


@dataclass(frozen=True)
class TargetForm:
    """Which words of a prompt are kept as its target.

    Attributes:
        content: distinct content words, or all words in their order.
        positions: at most so many; −1 fills up the rest.
    """

    content: bool
    positions: int

    def of(self, prompt: str, vectors: WordVectors) -> NDArray[np.int32]:
        """Positions in the vocabulary of a prompt's known words: int32 (positions,)."""
        known = vectors.prompt_positions(prompt, self.content)[: self.positions]
        row = np.full(self.positions, -1, np.int32)
        row[: len(known)] = known
        return row

    def path_of(self, vectors: WordVectors) -> PathOf:
        """Where a shard's targets lie."""
        kind = "content" if self.content else "words"
        # The tokenizer's rules decide a target as much as the embedding does.
        name = f"{vectors.fingerprint}-{kind}{self.positions}-v{text.STOP_WORDS_VERSION}"
        return lambda folder, shard: folder / "targets" / name / f"{shard}.npy"

    def cache(self, path: Path, prompts: Sequence[str], vectors: WordVectors) -> None:
        """Write the targets of a shard's prompts, unless they are there."""
        if self._is_cached(path, prompts, vectors):
            return
        rows = [self.of(prompt, vectors) for prompt in prompts]
        with atomic_path(path) as temporary:
            np.save(temporary, np.array(rows, np.int32).reshape(-1, self.positions))

    def _is_cached(self, path: Path, prompts: Sequence[str], vectors: WordVectors) -> bool:
        """Whether targets are there and are those of these prompts, as a few of them tell."""
        if not path.exists():
            return False
        some = np.unique(np.linspace(0, len(prompts) - 1, 8).astype(int))[: len(prompts)]
        try:
            shape = row_form(path)[0]
            kept = read_rows(path, some)
        except UserError:
            return False
        fresh = [self.of(prompts[i], vectors) for i in some]
        return shape == (len(prompts), self.positions) and np.array_equal(
            kept, np.array(fresh, np.int32).reshape(-1, self.positions)
        )
