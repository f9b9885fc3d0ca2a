"""Small task folders and what they are packed from, for tests."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

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


PICTURE = (3, 4, 5)
STREAM = StreamConfig(PICTURE)


def pixels(rows=9, shape=PICTURE, seed=0):
    """Random pictures, the same every time."""
    return np.random.RandomState(seed).randint(0, 256, (rows, *shape)).astype(np.uint8)


def digits(rows=9):
    """Labels 0, 1, 2, 0, ..."""
    return np.arange(rows) % 3


def loaded(folder, config=STREAM):
    """A folder's samples, once it is found to be a task."""
    validate_task(LocalFolder(folder), config)
    return load_task(LocalFolder(folder), config)


def rows_of(*splits):
    """All inputs as sorted tuples."""
    return sorted(tuple(row.flatten().tolist()) for split in splits for row in split.inputs)


def splits_of(data):
    """Train, validation and test."""
    return data.train, data.validation, data.test


def save(path, mode="RGB", size=(5, 4), colour=None):
    """A picture of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour or 0).save(path)


def encoded_picture(picture):
    """A PNG of uint8 (channels, height, width), as the hub stores pictures."""
    file = io.BytesIO()
    Image.fromarray(picture[0] if len(picture) == 1 else np.moveaxis(picture, 0, -1)).save(file, "png")
    return {"bytes": file.getvalue(), "path": None}


def encoded(rows=9):
    """PNGs of `pixels`."""
    return [encoded_picture(picture) for picture in pixels(rows)]


def hub_file(path, features=None, **columns):
    """A Parquet file with these columns and class names in the metadata of the hub's writer."""
    content = pa.table(columns)
    if features is not None:
        described = json.dumps({"info": {"features": features}})
        content = content.replace_schema_metadata({"huggingface": described})
    pq.write_table(content, path)
    return path
