"""Keras layers of ours, registered so that a `.keras` file loads with `safe_mode` on."""

from typing import Any

from img2prompt.core.backend import keras

ops = keras.ops


@keras.saving.register_keras_serializable(package="img2prompt")
class ScaledTanh(keras.layers.Layer):
    """tanh(x) · (max − min) / 2 + (max + min) / 2: the original's last activation.

    The original closed over a global array, so its model could not be loaded again. This layer
    carries the range with it, and the fingerprint of the embedding it belongs to.

    Args:
        minimum: smallest value over all word vectors.
        maximum: largest value over all word vectors.
        embedding: `WordVectors.fingerprint` of those vectors.
        fit: how the training pictures were made square (`images.FITS`); serving does the same.
    """

    def __init__(
        self,
        minimum: float,
        maximum: float,
        embedding: str = "",
        fit: str = "stretch",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not minimum < maximum:
            raise ValueError(f"minimum {minimum} must be below maximum {maximum}")
        self.minimum, self.maximum = float(minimum), float(maximum)
        self.embedding, self.fit = embedding, fit

    def call(self, inputs: Any) -> Any:
        half, middle = (self.maximum - self.minimum) / 2, (self.maximum + self.minimum) / 2
        return ops.tanh(inputs) * half + middle

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        names = ("minimum", "maximum", "embedding", "fit")
        return super().get_config() | {name: getattr(self, name) for name in names}


@keras.saving.register_keras_serializable(package="img2prompt")
class ChannelStretch(keras.layers.Layer):
    """Stretch each colour channel of each picture to [0, 1], as the notebook did.

    It loses the picture's own exposure and colour cast; kept in the preset `notebook` alone.
    """

    def call(self, inputs: Any) -> Any:
        low = ops.min(inputs, axis=(1, 2), keepdims=True)  # (b, 1, 1, 3)
        high = ops.max(inputs, axis=(1, 2), keepdims=True)
        return (inputs - low) / ops.maximum(high - low, 1e-6)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape


@keras.saving.register_keras_serializable(package="img2prompt")
class PooledStatistics(keras.layers.Layer):
    """Mean and standard deviation over a feature map's positions: (b, h, w, c) → (b, 2c).

    The mean tells what is in the picture, the deviation how it is drawn: channel statistics
    carry style (Huang & Belongie 2017, arXiv 1703.06868).
    """

    def call(self, inputs: Any) -> Any:
        inputs = ops.cast(inputs, "float32")
        mean = ops.mean(inputs, axis=(1, 2))
        variance = ops.var(inputs, axis=(1, 2))
        return ops.concatenate([mean, ops.sqrt(variance + 1e-6)], axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        channels = input_shape[-1]
        assert channels is not None
        return (input_shape[0], 2 * channels)
