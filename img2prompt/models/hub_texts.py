"""The words of the vocabulary, read by the text encoder of CLIP or SigLIP.

Such a network was trained to say which text goes with which picture (Radford et al. 2021, arXiv
2103.00020; Zhai et al. 2023, arXiv 2303.15343). Asked for a sentence about each word, its text
encoder gives a classifier whose classes are the words themselves, as the paper does with the names
of classes.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.arrays import map_array
from img2prompt.core.backend import tf
from img2prompt.core.errors import UserError
from img2prompt.core.files import atomic_path
from img2prompt.models.backbones import Classifier
from img2prompt.models.hub_encoders import (
    FAMILIES,
    PREFIX,
    import_keras_hub,
    in_short,
    load_preset,
)

SENTENCE = "a picture of {word}"
BATCH = 256  # sentences read together


def word_classifier(backbone: str, words: Sequence[str], cache: Path) -> Classifier:
    """A classifier of pictures whose classes are words.

    It reads the last features of the backbone's tower, the unit vector beside texts.

    Args:
        backbone: as `load_hub_encoder`, of an encoder that reads texts.
        words: one class each.
        cache: a folder of this backbone's features. What the text encoder gave is kept there:
            reading 25,000 words takes minutes on a CPU.

    Raises:
        UserError: as `load_hub_encoder`, or the preset has no tokenizer.
    """
    asked = hashlib.sha256("\n".join([SENTENCE, *words]).encode()).hexdigest()[:16]
    path = cache / f"words-{asked}.npy"
    try:
        rows: NDArray[np.float32] = np.array(map_array(path))
        if rows.ndim != 2 or len(rows) != len(words) or not np.isfinite(rows).all():
            raise ValueError("another classifier's")
    except (OSError, EOFError, ValueError):
        rows = _scaled_directions(backbone, [SENTENCE.format(word=word) for word in words])
        with atomic_path(path) as temporary:
            np.save(temporary, rows)
    return Classifier(rows.T.copy(), np.zeros(len(words), np.float32), behind=0)


def _scaled_directions(backbone: str, sentences: Sequence[str]) -> NDArray[np.float32]:
    """Unit vector of each sentence times the network's own scale: (n, p)."""
    _, network = load_preset(backbone)
    family = FAMILIES[type(network).__name__]
    name = backbone.removeprefix(PREFIX)
    try:
        packer = getattr(import_keras_hub().models, family.texts).from_preset(name)
    except Exception as error:  # as in `load_preset`
        raise UserError("models.no_hub_texts", name=name, reason=in_short(error)) from None
    packer.image_converter = None
    length = network.text_encoder.max_sequence_length
    read = tf.function(network.get_text_embeddings, reduce_retracing=True)
    rows = []
    for start in range(0, len(sentences), BATCH):
        batch = {"prompts": list(sentences[start : start + BATCH]), "images": None}
        tokens = np.asarray(packer(batch, sequence_length=length)["token_ids"])
        embedded = read(tf.constant(_trimmed(tokens, network), tf.int32)).numpy()
        rows.append(embedded / np.linalg.norm(embedded, axis=1, keepdims=True))
    head = network.clip_head if hasattr(network, "clip_head") else network.siglip_head
    # SigLIP's bias is the same for all words: a softmax over them does not see it.
    return np.concatenate(rows) * np.exp(np.float32(head.logit_scale.numpy()))


def _trimmed(tokens: NDArray[np.integer], network: Any) -> NDArray[np.integer]:
    """Without what CLIP does not read: no token sees a later one, and its end is the largest."""
    if not hasattr(network, "text_pooler"):
        return tokens
    return tokens[:, : int(tokens.argmax(axis=1).max()) + 1]
