"""Model presets, one file each; importing this registers our layers and losses with Keras."""

from img2prompt.models import hub_encoders, layers, losses

__all__ = ["hub_encoders", "layers", "losses"]
