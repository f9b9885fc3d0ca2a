"""The samples of a task folder: in memory as long as they are small enough, on this machine's disk beyond that."""

import numpy as np
import torch

from apd.config import StreamConfig
from apd.data.format import Folder, TaskInfo, read_info
from apd.data.rows import count_rows, read_rows
from apd.data.splits import Samples, Split, TaskData, split
from apd.data.spool import check_room, spool
from apd.data.validate import check_fits


def load_task(folder: Folder, config: StreamConfig) -> TaskData:
    """The samples of a validated task folder; splits that it lacks are held out of train.

    Inputs of more than `resources.data_in_memory` bytes in all are not held in memory but written to disk, which
    changes nothing in any result. Raises DataError when the disk has no room for them.
    """
    info = read_info(folder)
    check_fits(info, config)
    counts = {name: count_rows(folder, info, name) for name in info.files}
    size = sum(counts.values()) * info.row_bytes
    load = _into_memory
    if size > config.resources.data_in_memory:
        check_room(size)
        load = _onto_disk
    loaded = {name: load(folder, info, name, count) for name, count in counts.items()}
    return split(loaded["train"], config.split, loaded.get("validation"), loaded.get("test"))


def _onto_disk(folder: Folder, info: TaskInfo, name: str, count: int) -> Samples:
    return spool(read_rows(folder, info, name), count, info.input_shape, info.input_dtype)


def _into_memory(folder: Folder, info: TaskInfo, name: str, count: int) -> Samples:
    inputs = torch.from_numpy(np.empty((count, *info.input_shape), info.input_dtype))
    labels, first = torch.empty(count, dtype=torch.int64), 0
    for chunk_inputs, chunk_labels in read_rows(folder, info, name):
        last = first + len(chunk_labels)
        inputs.numpy()[first:last] = chunk_inputs
        labels.numpy()[first:last] = chunk_labels
        first = last
    return Split(inputs, labels)
