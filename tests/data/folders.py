"""Small task folders for tests, right and wrong."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from apd.config import SplitConfig, StreamConfig
from apd.data import LocalFolder, load_task, validate_task

CONFIG = StreamConfig((1, 2, 3), split=SplitConfig(0.2, 0.2))
INFO = {
    "schema": 1,
    "name": "shoes",
    "kind": "classification",
    "classes": ["boot", "sandal", "clog"],
    "input_shape": [1, 2, 3],
    "input_dtype": "uint8",
    "files": {"train": "train.parquet"},
}


def table(rows=30, *, size=6, dtype="uint8", classes=3, inputs=None, labels=None):
    """A table of the task format with these rows, or with these very columns."""
    if inputs is None:
        values = np.random.RandomState(0).randint(0, 256, rows * size).astype(dtype)
        inputs = pa.FixedSizeListArray.from_arrays(pa.array(values), size)
    labels = pa.array(np.arange(rows) % classes) if labels is None else labels
    return pa.table({"input": inputs, "label": labels})


def write(folder, info=INFO, **tables):
    """A folder with these tables as <split>.parquet and this metadata; one good train table if none is given."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, content in (tables or {"train": table()}).items():
        pq.write_table(content, folder / f"{split}.parquet", row_group_size=8)
    if info is not None:
        (folder / "task.json").write_text(info if isinstance(info, str) else json.dumps(info))
    return folder


def validate(folder, config=CONFIG):
    return validate_task(LocalFolder(folder), config)


def load(folder, config=CONFIG):
    return load_task(LocalFolder(folder), config)
