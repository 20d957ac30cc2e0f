"""Makes a gallery: the pictures as a model sees them, their thumbnails, prompts and credits."""

import io
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from img2prompt.core.errors import UserError
from img2prompt.core.scaler import Scaler
from img2prompt.data import images
from img2prompt.data.gallery_pairs import GalleryRow, GalleryRules, choose_pairs, read_pairs
from img2prompt.inference.gallery import Credit, Gallery, Projection
from img2prompt.inference.predictor import BATCH, Predictor
from img2prompt.models.tower import tower_fingerprint, tower_of

SIDE = 128  # of a thumbnail's longer side, in pixels
QUALITIES = (85, 75, 65, 50, 35)  # of WebP; the first one with which all thumbnails fit
THUMBNAIL_BYTES = 9 * 2**20  # of all together, which leaves 3 MB for the rest of the file
AXES = 256  # of the projection: keeps nine of ten nearest pictures; with 128 eight
MOST_CHARACTERS = 600  # of a prompt; a longer one is cut between two words
CHECKED = 6  # nearest pictures whose recall is measured


def build_gallery(
    data: str | os.PathLike[str], predictor: Predictor, rules: GalleryRules
) -> tuple[Gallery, dict[str, Any]]:
    """A gallery of the pairs of a folder, as a model sees them.

    Args:
        data: a folder in DiffusionDB's layout with metadata.
        predictor: of the model that answers.
        rules: which pairs are shown.

    Returns:
        The gallery, and its figures: pictures, how many each rule left out, recall.

    Raises:
        UserError: as `choose_pairs`, or the model has no features.
    """
    tower = tower_of(predictor.model)
    if tower is None:
        raise UserError("training.no_features", preset=predictor.preset)
    rows, left_out = choose_pairs(data, rules)
    kept, smalls, features = _look_at(data, predictor, rows)
    scaler = Scaler.fit(features)
    scaled = scaler(features)
    projection = Projection(scaler, principal_axes(scaled, AXES))
    projected = projection(features)
    thumbnails = _encoded(smalls)
    known = sorted({(row.source, row.licence, row.address) for row in kept})
    place = {credit: number for number, credit in enumerate(known)}
    gallery = Gallery(
        tuple(_shortened(row.prompt) for row in kept),
        tuple(Credit(*credit) for credit in known),
        np.array([place[row.source, row.licence, row.address] for row in kept], np.uint16),
        np.frombuffer(b"".join(thumbnails), np.uint8),
        np.cumsum([len(data) for data in thumbnails]).astype(np.int64),
        projected,
        projection,
        tower_fingerprint(tower),
    )
    recall = round(nearest_recall(scaled, projected.astype(np.float16), CHECKED), 3)
    figures = {"pictures": len(gallery), "sources": len(known), f"recall_{CHECKED}": recall}
    return gallery, figures | {"left_out": left_out}


def principal_axes(rows: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """The directions in which rows (n, F) are longest: float32 (F, K), K at most n and `count`.

    Not centred, so that cosines of the projected rows are near those of the rows.
    """
    count = min(count, *rows.shape)
    values, sides = np.linalg.eigh((rows @ rows.T).astype(np.float64))  # (n, n), ascending
    values, sides = values[::-1][:count], sides[:, ::-1][:, :count]
    known = values > 1e-6 * max(float(values[0]), 1e-12)  # the rest is rounding
    known[0] = True
    return np.asarray(
        rows.T @ (sides[:, known] / np.sqrt(np.maximum(values[known], 1e-12))), np.float32
    )


def nearest_recall(rows: NDArray[np.float32], short: NDArray[np.floating], count: int) -> float:
    """The share of each row's nearest other rows by cosine that are also nearest when projected.

    Args:
        rows: float32 (n, F).
        short: float (n, K), what they were projected to.
        count: how many nearest.
    """
    near = []
    for vectors in (rows, short.astype(np.float32)):
        unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        cosines = unit @ unit.T
        np.fill_diagonal(cosines, -2.0)
        near.append(np.argsort(-cosines, axis=1, kind="stable")[:, :count])
    both = [len(set(a) & set(b)) for a, b in zip(*(n.tolist() for n in near), strict=True)]
    return float(np.mean(both)) / min(count, max(len(rows) - 1, 1))


def _look_at(
    data: str | os.PathLike[str], predictor: Predictor, rows: Sequence[GalleryRow]
) -> tuple[list[GalleryRow], list[Image.Image], NDArray[np.float32]]:
    """The rows whose picture can be used, their small pictures, and features (n, F)."""
    kept, smalls, features = [], [], []
    batch: list[NDArray[np.float32]] = []

    def look() -> None:
        found = predictor.look(np.stack(batch)).features
        assert found is not None
        features.append(found)
        batch.clear()

    for row, content in tqdm(read_pairs(data, rows), total=len(rows), unit="picture", disable=None):
        try:
            picture = images.open_image(content)
        except images.ImageError:
            continue
        batch.append(images.preprocess(picture, predictor.side, predictor.fit))
        picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        kept.append(row)
        smalls.append(picture)
        if len(batch) == BATCH:
            look()
    if batch:
        look()
    if not kept:
        raise UserError("data.no_gallery_pairs", path=data)
    return kept, smalls, np.concatenate(features)


def _encoded(pictures: Sequence[Image.Image]) -> list[bytes]:
    """The pictures as WebP files of the best quality with which they fit."""
    for quality in QUALITIES:
        files = []
        for picture in pictures:
            buffer = io.BytesIO()
            picture.save(buffer, "WEBP", quality=quality, method=6)
            files.append(buffer.getvalue())
        if sum(map(len, files)) <= THUMBNAIL_BYTES:
            break
    return files


def _shortened(prompt: str) -> str:
    if len(prompt) <= MOST_CHARACTERS:
        return prompt
    return prompt[:MOST_CHARACTERS].rpartition(" ")[0] + " …"
