"""`Gallery`: a few thousand credited training pictures, found by the features that a model sees.

`gallery.npz` holds thumbnails, prompts and credits of the pictures, and their features as short
vectors: standardised and clipped as for the baselines, then projected. It belongs to the CNN whose
features it holds. `scripts/build_gallery.py` makes it.
"""

import functools
import os
import re
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from img2prompt.core.arrays import TEXT, UTF8, ArrayFile, Form, load_arrays, save_arrays
from img2prompt.core.errors import UserError
from img2prompt.core.scaler import Scaler
from img2prompt.data import images, text
from img2prompt.embedding.vectors import WordVectors, top_k

GALLERY_FILE = "gallery.npz"
CREDITS_FILE = "gallery-credits.md"  # beside it
SIMILAR_LIMIT = 50  # pictures of one answer
NEIGHBOURS = 20  # that vote; 5, 20 and 50 were tried on validation, for the baseline `knn`
LICENCES = "https://spdx.org/licenses/{}.html"  # the text of a licence by its name
NO_LICENCES = ("BSD", "public domain")  # that name no single text
_FILE = ArrayFile(
    "inference.kind_gallery",
    "scripts/build_gallery.py",
    {
        "thumbnails": Form("u", (None,)),
        "ends": Form("iu", (None,)),
        "prompts": UTF8,
        "credits": UTF8,
        "credit": Form("iu", (None,)),
        "vectors": Form("f", (None, None)),
        "centre": Form("f", (None,)),
        "spread": Form("f", (None,)),
        "projection": Form("f", (None, None)),
        "tower": TEXT,
    },
)
_CREDIT_FIELDS = 3  # source, licence, address
MOST_PICTURES = 2**16  # of a file; ours have some thousands
LINE = 10_000  # characters of a prompt or a credit in a file; ours have 600
LARGEST = 1e3  # a number of the vectors and axes, whose columns are of length 1
LEAST_SPREAD = 1e-6  # `Scaler.fit` adds more
_ADDRESS = re.compile(r"https://[A-Za-z0-9._~/%-]+")  # which ends no link in Markdown


@dataclass(frozen=True)
class Credit:
    """Whose pictures they are.

    Attributes:
        source: the collection, in most cases `owner/name` of a repository.
        licence: such as "MIT" or "CC-BY-4.0".
        address: of the collection; "" where it has none.
    """

    source: str
    licence: str
    address: str


@dataclass(frozen=True)
class SimilarPicture:
    """A picture of the gallery that resembles the one that was asked about.

    Attributes:
        prompt: that made it, on one line; of a very long one the beginning, with "…".
        source, licence, address: see `Credit`.
        similarity: cosine of the two pictures' features, in [−1, 1].
        thumbnail: a WebP file, its longer side 128 pixels.
        words: those of the answer that stand in its prompt, in the answer's order.
    """

    prompt: str
    source: str
    licence: str
    address: str
    similarity: float
    thumbnail: bytes
    words: tuple[str, ...] = ()

    @property
    def image(self) -> Image.Image:
        """The thumbnail, decoded.

        Raises:
            ImageError: the file holds something else than a picture, or too large a one.
        """
        return images.open_image(self.thumbnail)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, without the thumbnail."""
        return {
            "prompt": self.prompt,
            "source": self.source,
            "licence": self.licence,
            "address": self.address,
            "similarity": round(self.similarity, 4),
            "words": [*self.words],
        }


@dataclass(frozen=True)
class Projection:
    """Features → the short vectors that are compared.

    Attributes:
        scaler: standardises the features.
        axes: float32 (F, K), of the standardised features.
    """

    scaler: Scaler
    axes: NDArray[np.float32]

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features (n, F) → float32 (n, K) of length 1."""
        projected = self.scaler(features) @ self.axes
        lengths = np.linalg.norm(projected, axis=1, keepdims=True)
        return np.asarray(projected / np.maximum(lengths, 1e-12), np.float32)


@dataclass(frozen=True, eq=False)
class Gallery:
    """Pictures with prompts and credits, and the index to find them by.

    Attributes:
        prompts: of each of n pictures.
        credits: whose pictures there are.
        credit: int (n,), position in `credits` of each picture.
        thumbnails: WebP files one after the other, uint8.
        ends: int64 (n,), where each ends.
        vectors: float32 (n, K), of length 1: the pictures' projected features.
        projection: how they were made.
        tower: `tower_fingerprint` of the model whose features these are.
    """

    prompts: tuple[str, ...]
    credits: tuple[Credit, ...]
    credit: NDArray[np.integer]
    thumbnails: NDArray[np.uint8]
    ends: NDArray[np.int64]
    vectors: NDArray[np.float32]
    projection: Projection
    tower: str

    def __post_init__(self) -> None:
        if not self._is_even():
            raise UserError("inference.uneven_gallery")

    def __len__(self) -> int:
        return len(self.prompts)

    def nearest(
        self, features: NDArray[np.float32], count: int, answer: Sequence[str] = ()
    ) -> tuple[SimilarPicture, ...]:
        """The pictures most like one, most alike first; all of them where there are fewer.

        Args:
            features: float32 (F,), what the model sees of it: a row of `Look.features`.
            count: how many, at least 1.
            answer: words that are looked for in the pictures' prompts.
        """
        near, cosines = self._search(features[None], count)
        return tuple(
            self._picture(int(place), float(cosine), answer)
            for place, cosine in zip(near[0], cosines[0], strict=True)
        )

    def votes(
        self, features: NDArray[np.float32], vectors: WordVectors, neighbours: int = NEIGHBOURS
    ) -> NDArray[np.float32]:
        """What the prompts of the nearest pictures say: see `word_votes`.

        Args:
            features: float32 (n, F), `Look.features`.
            vectors: the embedding.
            neighbours: how many pictures vote on each.

        Returns:
            float32 (n, V) in [0, 1].
        """
        near, cosines = self._search(features, neighbours)
        return word_votes(near, cosines, self._words_of(vectors), len(vectors))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the `.npz`, atomically; the same contents give the same bytes."""
        fields = ((row.source, row.licence, row.address) for row in self.credits)
        arrays = {
            "thumbnails": self.thumbnails,
            "ends": self.ends,
            "prompts": "\n".join(self.prompts),
            "credits": "\n".join("\t".join(row) for row in fields),
            "credit": self.credit.astype(np.uint16),
            "vectors": self.vectors.astype(np.float16),
            "centre": self.projection.scaler.centre.astype(np.float32),
            "spread": self.projection.scaler.spread.astype(np.float32),
            "projection": self.projection.axes.astype(np.float16),
            "tower": self.tower,
        }
        save_arrays(path, _FILE, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Gallery":
        """Read what `save` wrote.

        Raises:
            UserError: missing or damaged.
        """
        arrays = load_arrays(path, _FILE)
        numbers = ("centre", "spread", "projection", "vectors")
        try:
            prompts = _lines(arrays["prompts"], MOST_PICTURES)
            rows = [tuple(line.split("\t")) for line in _lines(arrays["credits"], len(prompts))]
            with np.errstate(over="ignore"):  # what became infinite is refused
                centre, spread, axes, short = (arrays[name].astype(np.float32) for name in numbers)
            if any(len(row) != _CREDIT_FIELDS for row in rows):
                raise UserError("inference.uneven_gallery")
            return cls(
                tuple(prompts),
                tuple(Credit(*row) for row in rows),
                arrays["credit"],
                arrays["thumbnails"].astype(np.uint8, copy=False),
                arrays["ends"].astype(np.int64),
                short,
                Projection(Scaler(centre, spread), axes),
                arrays["tower"],
            )
        except UserError as error:
            raise _FILE.unfit(path, error) from None

    def check_tower(self, tower: str) -> None:
        """Raise `UserError` unless the model of this `tower_fingerprint` made these features."""
        if tower != self.tower:
            raise UserError("inference.gallery_of_another_model", file=GALLERY_FILE)

    def _is_even(self) -> bool:
        n, width = len(self.prompts), self.projection.axes.shape
        sizes = (len(self.credit), len(self.ends), len(self.vectors))
        if not n or any(size != n for size in sizes) or self.vectors.shape[1] != width[1]:
            return False
        ends = np.concatenate([[0], self.ends])
        numbers = (self.vectors, self.projection.scaler.centre, self.projection.scaler.spread)
        return bool(
            (ends >= 0).all()
            and (np.diff(ends) > 0).all()
            and ends[-1] == len(self.thumbnails)
            and 0 <= self.credit.min() <= self.credit.max() < len(self.credits)
            and len(self.projection.scaler.centre) == len(self.projection.scaler.spread) == width[0]
            and (self.projection.scaler.spread >= LEAST_SPREAD).all()
            and all(np.isfinite(values).all() for values in numbers)
            # Products and quotients of larger ones would run over.
            and (np.abs(self.projection.scaler.centre) <= LARGEST / LEAST_SPREAD).all()
            and (np.abs(self.vectors) <= LARGEST).all()
            and (np.abs(self.projection.axes) <= LARGEST).all()
        )

    def _search(
        self, features: NDArray[np.float32], count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        if features.shape[1] != len(self.projection.scaler.centre):
            raise UserError("inference.gallery_of_other_features")
        near, cosines = top_k(self.projection(features) @ self.vectors.T, count)
        return near, np.clip(cosines, -1.0, 1.0)

    def _picture(self, place: int, similarity: float, answer: Sequence[str]) -> SimilarPicture:
        prompt, credit = self.prompts[place], self.credits[int(self.credit[place])]
        start = int(self.ends[place - 1]) if place else 0
        thumbnail = self.thumbnails[start : int(self.ends[place])].tobytes()
        said = set(text.words(prompt))
        words = tuple(word for word in answer if word in said)
        return SimilarPicture(
            prompt, credit.source, credit.licence, credit.address, similarity, thumbnail, words
        )

    @functools.cached_property
    def _known(self) -> weakref.WeakKeyDictionary[WordVectors, list[NDArray[np.int64]]]:
        return weakref.WeakKeyDictionary()

    def _words_of(self, vectors: WordVectors) -> list[NDArray[np.int64]]:
        """Positions in the vocabulary of every prompt's content words, found once."""
        if vectors not in self._known:
            self._known[vectors] = [vectors.prompt_positions(prompt) for prompt in self.prompts]
        return self._known[vectors]


def word_votes(
    near: NDArray[np.integer],
    cosines: NDArray[np.floating],
    words: Sequence[NDArray[np.int64]],
    size: int,
) -> NDArray[np.float32]:
    """The words of similar pictures' prompts, each picture's weight its cosine where positive.

    Args:
        near: int (n, k), positions of the similar pictures.
        cosines: float (n, k), how similar they are.
        words: distinct words of every picture's prompt, as positions in the vocabulary.
        size: V, of the vocabulary.

    Returns:
        float32 (n, V), of each word the weighted share of those prompts that hold it, in [0, 1].
    """
    votes = np.zeros((len(near), size), np.float32)
    weights = np.maximum(np.asarray(cosines, np.float32), 0.0)
    weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
    for row, places in enumerate(near):
        for place, weight in zip(places, weights[row], strict=True):
            votes[row, words[place]] += weight
    return votes


def credits_table(gallery: Gallery) -> str:
    """Markdown: whose pictures a gallery shows, how many, and under which licence."""
    counts = np.bincount(gallery.credit, minlength=len(gallery.credits))
    rows = zip(gallery.credits, counts.tolist(), strict=True)
    lines = [
        f"| {_linked(credit.source, credit.address)} | {_licence(credit.licence)} | {count} |"
        for credit, count in sorted(rows, key=lambda row: (-row[1], row[0].source))
    ]
    return "\n".join(["| source | licence | pictures |", "|---|---|---:|", *lines]) + "\n"


def credits_document(gallery: Gallery) -> str:
    """`credits_table` with a heading, the Markdown of `CREDITS_FILE`."""
    return (
        "# Credits of the gallery\n\n"
        f"`{GALLERY_FILE}` holds thumbnails of {len(gallery):,} pictures, with their prompts, that "
        "these collections publish under these licences; the pictures were made smaller, and "
        "prompts of more than some hundred characters shortened. The authors and the copyright "
        "notices stand in the collections.\n\n"
    ) + credits_table(gallery)


def _licence(name: str) -> str:
    return name if name in NO_LICENCES else _linked(name, LICENCES.format(name))


def _lines(told: str, most: int) -> list[str]:
    """The lines of a text, counted before they are made."""
    if told.count("\n") < most:
        lines = told.split("\n")
        if max(map(len, lines)) <= LINE:
            return lines
    raise UserError("inference.uneven_gallery")


def _linked(name: str, address: str) -> str:
    plain = re.sub(r"([\\`*\[\]<>|&~])", r"\\\1", name)  # what Markdown would read as its own
    return f"[{plain}]({address})" if _ADDRESS.fullmatch(address) else plain
