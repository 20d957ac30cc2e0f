"""What is imported when the page starts."""

import subprocess
import sys

from paths import ROOT
from waiting import PATIENCE

# `app.py` as it is started; where it would begin to serve, it tells what is loaded, and ends.
# Keras itself imports scikit-learn and matplotlib where they are installed; here they are not, so
# that an import of ours would fail.
CODE = """
import os, runpy, sys
sys.modules |= dict.fromkeys(("sklearn", "matplotlib"))
from img2prompt.ui import page

def told(app):
    loaded = {name.partition(".")[0] for name, module in sys.modules.items() if module}
    os.write(1, " ".join(sorted(loaded)).encode())
    os._exit(0)

page._serve = told
sys.argv = ["app.py"]
runpy.run_path("app.py", run_name="__main__")
"""
# Libraries of training, preparation and the documents.
OFFLINE = {"datasets", "gensim", "sklearn", "duckdb", "dask", "distributed", "matplotlib"}


def test_the_page_starts_without_the_libraries_of_offline_work() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
    )
    loaded = set(done.stdout.split())
    assert {"gradio", "img2prompt", "tensorflow"} <= loaded, done.stderr
    assert loaded & OFFLINE == set()
