"""The web page: `page` lays it out, `guess` answers, `text` holds every word a visitor reads."""

import os

# Read once, when gradio is imported: with it set, gradio looks nothing up on the network.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
