"""Model presets, one file each; importing this registers our layers and losses with Keras."""

from img2prompt.models import layers, losses

__all__ = ["layers", "losses"]
