"""A run's state on disk, so that a run killed at any moment goes on as if nothing had happened.

`checkpoint/epoch-0007.weights.h5` is the state after seven epochs: weights, the optimizer's
moments and number of steps, and the state of the random numbers of dropout and of the loss.
`best.weights.h5` are the weights that scored best so far. Everything else that is drawn depends on
the seed and the epoch alone.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from img2prompt.core.backend import keras
from img2prompt.core.files import atomic_path, read_json, sweep, write_json
from img2prompt.core.forms import Best

FOLDER = "checkpoint"
BEST_WEIGHTS, BEST_RECORD = "best.weights.h5", "best.weights.json"
_RANDOM = "random"  # the group in a checkpoint; those of earlier versions have none
_SUFFIX = ".weights.h5"


class Checkpoint(keras.callbacks.Callback):
    """Writes the state after every epoch and keeps the last one.

    Keras' own BackupAndRestore writes over the file it would restore from, so a kill during the
    write left nothing, and its files lack the state of dropout, as `save_weights` does.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if not np.isfinite((logs or {}).get("loss", 0.0)):
            return  # the epoch before is the one to go back to
        older = list(self.folder.glob("epoch-*" + _SUFFIX))
        with atomic_path(self.folder / f"epoch-{epoch + 1:04}{_SUFFIX}") as temporary:
            self.model.save_weights(temporary)
            with h5py.File(temporary, "a") as file:
                group = file.create_group(_RANDOM)
                for number, state in enumerate(random_states(self.model)):
                    group.create_dataset(str(number), data=state)
        for path in older:
            path.unlink(missing_ok=True)


class BestWeights(keras.callbacks.Callback):
    """Keeps the weights of the epoch with the best `val_f1`; the record survives a kill.

    Runs before `Checkpoint`: killed between the two, a run repeats the epoch and finds
    the same weights again.
    """

    def __init__(self, folder: Path, enabled: bool) -> None:
        super().__init__()
        self.path, self.record = folder / BEST_WEIGHTS, folder / BEST_RECORD
        self.enabled = enabled

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        score = (logs or {}).get("val_f1", 0.0)
        best = read_json(self.record, Best)["val_f1"] if self.record.exists() else -1.0
        if self.enabled and score > best:
            with atomic_path(self.path) as temporary:
                self.model.save_weights(temporary)
            write_json(self.record, {"epoch": epoch + 1, "val_f1": score})


def restore(folder: str | os.PathLike[str], network: keras.Model) -> int:
    """Load the latest checkpoint into a compiled network; the number of epochs it has had."""
    found = {_epochs(path): path for path in Path(folder).glob("epoch-*" + _SUFFIX)}
    if not found:
        return 0
    latest = found[max(found)]
    network.optimizer.build(network.trainable_variables)  # so that its moments are loaded too
    network.load_weights(latest)
    with h5py.File(latest, "r") as file:
        group = file.get(_RANDOM, {})
        set_random_states(network, [group[str(number)][()] for number in range(len(group))])
    return max(found)


def random_states(network: keras.Model) -> list[NDArray[Any]]:
    """The state of a compiled network's random numbers: dropout's seeds, and its loss's state.

    Returns:
        uint32 (2,) for each layer that draws, then the loss's `random_state` if it has one.
    """
    states = [keras.ops.convert_to_numpy(seed) for seed in _seeds(network)]
    if hasattr(network.loss, "random_state"):
        states.append(np.asarray(network.loss.random_state))
    return states


def set_random_states(network: keras.Model, states: list[NDArray[Any]]) -> None:
    """Restore what `random_states` returned; without any, nothing changes."""
    for seed, state in zip(_seeds(network), states, strict=False):
        seed.assign(state)
    if states and hasattr(network.loss, "random_state"):
        network.loss.random_state = states[-1]


def clear(out: Path) -> None:
    """Delete what only the training of a run needed."""
    shutil.rmtree(out / FOLDER, ignore_errors=True)
    for name in (BEST_WEIGHTS, BEST_RECORD):
        (out / name).unlink(missing_ok=True)


def sweep_run(out: Path) -> None:
    """Remove what a killed process left half-written in a run's folder, which this one holds."""
    for folder in (out, out / FOLDER):
        sweep(folder, earlier_versions=True)
        for name in ("new.weights.h5", "new." + BEST_WEIGHTS):  # of earlier versions
            (folder / name).unlink(missing_ok=True)


def _epochs(path: Path) -> int:
    return int(path.name.removeprefix("epoch-").removesuffix(_SUFFIX))


def _seeds(network: keras.Model) -> list[keras.Variable]:
    """The seeds of the layers that draw: the variables that are no weights."""
    weights = {id(variable) for variable in network.weights}
    return [variable for variable in network.variables if id(variable) not in weights]
