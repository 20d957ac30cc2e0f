"""Reads PyTorch's checkpoints without PyTorch."""

import collections
import pickle
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.errors import UserError


class _TensorUnpickler(pickle.Unpickler):
    """Reads the tensors of a PyTorch checkpoint and refuses everything else.

    A checkpoint is a pickle; only the three names below may be looked up, and none of them runs
    code of the file's choosing.
    """

    def __init__(self, file: BinaryIO, storages: dict[str, list[Any]]) -> None:
        super().__init__(file)
        self.storages = storages

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *tensor: tensor[:4]  # storage, offset, size, stride
        if module == "torch" and name in ("FloatStorage", "LongStorage"):
            return np.dtype("<f4" if name == "FloatStorage" else "<i8")
        raise UserError("models.no_tensor", name=f"{module}.{name}")

    def persistent_load(self, pid: tuple[Any, ...]) -> list[Any]:
        _, dtype, key, _, numel, _ = pid
        return self.storages.setdefault(key, [dtype, numel, None])


def read_torch_tensors(file: BinaryIO) -> dict[str, NDArray[Any]]:
    """Read a state dict in PyTorch's legacy (non-zip) format without PyTorch.

    Raises:
        UserError: another format, or a pickle that asks for more than tensors.
    """
    storages: dict[str, list[Any]] = {}
    try:
        header = [_TensorUnpickler(file, storages).load() for _ in range(3)]
        if header[0] != 0x1950A86A20F9469CFC6C:  # PyTorch's magic number
            raise UserError("models.no_checkpoint")
        state = _TensorUnpickler(file, storages).load()
        for key in _TensorUnpickler(file, storages).load():
            file.read(8)  # the number of elements, known already
            dtype, numel, _ = storages[key]
            storages[key][2] = np.frombuffer(file.read(dtype.itemsize * numel), dtype)
    except UserError:
        raise
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError, IndexError):
        raise UserError("models.no_checkpoint") from None
    tensors = {}
    for name, (storage, offset, size, stride) in state.items():
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if min((offset, *stride, *size), default=0) < 0 or last >= len(storage[2]):
            raise UserError("models.past_data")
        strides = [step * storage[0].itemsize for step in stride]
        view = np.lib.stride_tricks.as_strided(storage[2][offset:], size, strides, writeable=False)
        tensors[name] = np.array(view)
    return tensors
