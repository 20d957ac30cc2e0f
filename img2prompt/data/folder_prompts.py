"""The prompts of a folder in DiffusionDB's layout, for who trains without the hub.

They come from `metadata.parquet` where it has them, else from the parts' own JSON, and from a
`prompts.parquet` beside it (column `prompt`) where one lies there.
"""

import os
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import pyarrow as pa

from img2prompt.data import diffusiondb
from img2prompt.data.diffusiondb import find_metadata, find_parts, iter_sourced_prompts

PROMPTS_FILE = "prompts.parquet"
BATCH = 65_536  # prompts in memory at once
# As `iter_sourced_prompts` reads them.
SCHEMA = pa.schema([("prompt", pa.string()), ("prompt_exact", pa.bool_()), ("source", pa.string())])


def folder_prompts(root: str | os.PathLike) -> Iterator[pa.Table]:
    """Stream a folder's prompts, repeated ones too: tables of `SCHEMA`.

    Raises:
        UserError: no parts, or a file that cannot be read.
    """
    root = Path(root)
    parts = find_parts(root)
    metadata = find_metadata(root)
    told = []
    if metadata is not None and "prompt" in diffusiondb.check_columns(metadata, {}):
        told.append(iter_sourced_prompts(metadata))
    else:
        told.append(
            (prompt, True, "")
            for part in parts
            for prompt in diffusiondb.read_prompts(part).values()
        )
    if (root / PROMPTS_FILE).is_file():
        told.append(iter_sourced_prompts(root / PROMPTS_FILE))
    prompts = chain(*told)
    while rows := list(islice(prompts, BATCH)):
        columns = [list(column) for column in zip(*rows, strict=True)]
        yield pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=SCHEMA)
