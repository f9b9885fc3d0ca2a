"""What is worth saying of a task that is in order: its inputs are of a size that networks do not learn well from."""

import numpy as np

from apd.data.format import Folder, TaskInfo
from apd.data.rows import read_rows

LARGEST, SMALLEST = 30.0, 0.05
"""Root mean square of the input's largest value, over samples. scikit-learn's wine as it comes (810) is learned to 78 %
of the test samples, standardised (1) to 97 %; times 30 to 94 %, plus 30 or times 0.03 not at all (MLP, 20 epochs)."""


def advice(folder: Folder, info: TaskInfo) -> str | None:
    """What to do about the inputs of a task; None where nothing is odd. Reads the first rows of train alone."""
    if info.input_dtype == "uint8":  # scaled by the network
        return None
    inputs, _ = next(read_rows(folder, info, "train"))
    values = inputs.reshape(len(inputs), -1).astype(np.float64)
    size = np.sqrt(np.square(values).mean(axis=0))
    largest = int(size.argmax())
    if np.all(values == values[:1]) and len(values) > 1:
        return f"the first {len(values)} inputs are all the same: there is nothing to tell classes apart by"
    if SMALLEST <= size[largest] <= LARGEST:
        return None
    return (
        f"inputs are about {size[largest]:.3g} in size (root mean square of value {largest}): networks learn best "
        "from values around 1. Scale them, in all tasks alike and in what is asked for predictions"
    )
