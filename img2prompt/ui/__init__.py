"""The web page: `page` puts it together, a file a tab, `service` answers, `texts` speaks."""

import os

# Read once, when gradio is imported: with it set, gradio looks nothing up on the network.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
