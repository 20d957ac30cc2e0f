"""The toy world of the chain, made once for all tests of a run, whichever process asks first."""

from pathlib import Path

import pytest
import toy_chain
from filelock import FileLock


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A tiny DiffusionDB, and what `make assets` made of it: shards, runs, `assets`.

    With a trained `gaze` and an `original`. For all tests of this folder: nothing may change it.
    """
    base = tmp_path_factory.getbasetemp()
    root = (base if worker_id == "master" else base.parent) / "chain"  # one of all processes
    with FileLock(root.with_suffix(".lock")):
        if not (root / "assets" / "manifest.json").exists():
            root.mkdir(exist_ok=True)
            toy_chain.write_data(root)
            toy_chain.make(root, "assets")
    return root


@pytest.fixture(scope="session")
def shipped(world: Path) -> Path:
    """The assets of `world`."""
    return world / "assets"
