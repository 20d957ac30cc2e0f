"""Confidences: a decoder fitted to a model's answers on validation pictures."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.errors import UserError
from img2prompt.core.files import provenance, read_json, sha256_of, write_json
from img2prompt.core.forms import Run
from img2prompt.data.images import to_float
from img2prompt.data.shards import pixel_reader, read_shards, settings_of
from img2prompt.data.splits import source_names
from img2prompt.embedding.class_words import ClassWords
from img2prompt.embedding.vectors import EMBEDDING_FILE, WordVectors
from img2prompt.evaluation.metrics import WORDS, is_hit
from img2prompt.inference.decoder import (
    DECODER_PROVENANCE,
    DECODER_SUFFIX,
    Decoder,
    prior_of_background,
)
from img2prompt.inference.predictor import Predictor, load_model
from img2prompt.training.inputs import calibration_pictures


def fit_decoder(
    decoder: Decoder, predicted: NDArray[np.float32], true: Sequence[NDArray[np.int64]]
) -> Decoder:
    """A decoder whose confidences fit the answers to validation pictures.

    Args:
        decoder: how words are ranked.
        predicted: float32 (n, steps, D).
        true: positions of each picture's true words.
    """
    words, values = decoder.rank_vectors(predicted, WORDS)
    return decoder.calibrate(values.ravel(), is_hit(words, true).ravel())


def refit_decoder(
    run: str | os.PathLike[str],
    folders: Sequence[str | os.PathLike[str]],
    class_words: str | os.PathLike[str] | None = None,
    command: Sequence[str] = (),
) -> Decoder:
    """Fit the confidences of a finished run anew and write its `model.decoder.npz`.

    Args:
        run: what `train` wrote.
        folders: prepared folders at the model's size, whose validation split is used.
        class_words: needed for a run that was trained with a prior.
        command: what a person typed, kept for the manifest.

    Raises:
        UserError: an unfinished run, or folders without validation pictures of its size.
    """
    run = Path(run)
    config = read_json(run / "config.json", Run)
    vectors = WordVectors.load(run / EMBEDDING_FILE)
    prior = Decoder.plain(vectors).prior
    if weight := config.get("prior", 0.0):
        if class_words is None:
            raise UserError("training.needs_class_words", run=run)
        prior = prior_of_background(ClassWords.load(class_words, vectors).background, weight)
    predictor = Predictor(load_model(run / "model.keras"), vectors, run.name)
    pictures = read_shards(folders)
    left_out = pictures.of_sources(source_names(config.get("without", "")), strict=False)
    validation = np.flatnonzero(pictures.in_split("validation") & ~left_out)
    settings = settings_of(pictures.folders[0])
    if not len(validation) or (settings.size, settings.fit) != (predictor.side, predictor.fit):
        raise UserError("training.other_pictures", side=predictor.side, fit=predictor.fit)
    true = [vectors.prompt_positions(prompt) for prompt in pictures.prompts(validation)]
    index = calibration_pictures(np.flatnonzero([len(words) > 0 for words in true]))
    pixels = pixel_reader(pictures)
    blocks = np.array_split(index, max(1, len(index) // 64))
    predicted = np.concatenate(
        [predictor.predict_vectors(to_float(pixels(validation[block]))) for block in blocks]
    )
    plain = dataclasses.replace(Decoder.plain(vectors), prior=prior)
    decoder = fit_decoder(plain, predicted, [true[i] for i in index])
    decoder.save(run / ("model" + DECODER_SUFFIX), model=sha256_of(run / "model.keras"))
    write_json(run / DECODER_PROVENANCE, provenance(command))
    return decoder
