"""One task of a stream, ready to answer; and as a plain state dict for use without us."""

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from apd.config import to_json
from apd.data import read_inputs
from apd.decomposition import bare_state
from apd.errors import DataError, Unreachable
from apd.networks import from_config
from apd.store import Stream, TaskEntry
from apd.training import predict_logits


class Predictor:
    """Answers for one task of one version (the newest when None)."""

    def __init__(self, stream: Stream, task: str, version: int | None = None) -> None:
        chosen = stream.head() if version is None else stream.version(version)
        self.config = stream.config
        self.classes = chosen.entry(task).classes
        self.state = stream.load_task(chosen, task)
        self.network = from_config(stream.config)

    def file(self, path: Path) -> Iterator[dict[str, Any]]:
        """One answer per input in an image or array file: input, label, probability, probabilities of all classes.

        Raises DataError when the file cannot be read or its inputs are not the stream's shape.
        """
        inputs = read_inputs(path, self.config)
        probabilities = torch.softmax(predict_logits(self.network, self.state, inputs), dim=1)
        for row, values in enumerate(probabilities.tolist()):
            best = max(range(len(values)), key=values.__getitem__)
            yield {
                "input": str(path) if len(inputs) == 1 else f"{path}[{row}]",
                "label": self.classes[best],
                "probability": values[best],
                "probabilities": dict(zip(self.classes, values, strict=True)),
            }


def export(stream: Stream, task: str, file: Path, version: int | None = None) -> int:
    """Write theta_t and the private tensors of a task as safetensors; returns how many numbers that is.

    The file is the state dict of the network that the stream names, built for the task's number of classes, tied
    tensors under each of their names; its metadata have task, version and classes, a JSON list of names. Raises
    Unreachable when it cannot be written.
    """
    chosen = stream.head() if version is None else stream.version(version)
    state = from_config(stream.config).state_dict(bare_state(stream.load_task(chosen, task)))
    tensors = {name: value.clone(memory_format=torch.contiguous_format) for name, value in state.items()}
    classes = json.dumps(chosen.entry(task).classes, ensure_ascii=False)
    described = {"task": task, "version": str(chosen.number), "classes": classes}
    try:
        _write(file, save(tensors, metadata=described))
    except OSError as error:
        raise Unreachable(f"{file} cannot be written: {error}") from error
    return sum(value.numel() for value in tensors.values())


def _write(file: Path, data: bytes) -> None:
    """Whole or not at all, where a symlink leads, with the permissions of any new file."""
    target = Path(os.path.realpath(file))
    if file.is_dir():
        raise Unreachable(f"{file} cannot be written: it is a folder; name a file in it")
    if os.path.lexists(target) and not target.is_file():
        raise Unreachable(f"{file} cannot be written: it is there and no regular file; name another")
    if not target.parent.is_dir():
        raise Unreachable(f"{file} cannot be written: there is no folder {target.parent}; make it first")
    unfinished = target.with_name(f".apd-{secrets.token_hex(8)}")
    try:
        unfinished.write_bytes(data)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def checkout(stream: Stream, folder: Path, version: int | None = None) -> int:
    """Write every task of a version as `<task>.safetensors` into a new folder; returns how many there are.

    `index.json`, written last, gives each task's file, classes and test accuracy (null where these parameters were
    never measured), the network that the files are state dicts of, and which tasks are left out because they were
    forgotten since. Raises DataError when the folder is there already; after any other error it is not there either.
    """
    chosen = stream.head() if version is None else stream.version(version)
    gone = stream.forgotten_since(chosen)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise DataError(f"{folder} cannot be made: {error.strerror}; name a folder that is not there yet") from error
    with contextlib.ExitStack() as after_an_error:
        after_an_error.callback(shutil.rmtree, folder)
        there = [entry for entry in chosen.entries if entry.name not in gone]
        tasks = {entry.name: _written(stream, entry, folder, chosen.number) for entry in there}
        index = {"stream": stream.url, "version": chosen.number, "network": to_json(stream.config.network)}
        index |= {"tasks": tasks, "forgotten_since": list(gone)}
        (folder / "index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")
        after_an_error.pop_all()
    return len(tasks)


def _written(stream: Stream, entry: TaskEntry, folder: Path, version: int) -> dict[str, Any]:
    """What the index says of a task, once its file is there."""
    file, measured = f"{entry.name}.safetensors", stream.evaluations.get(entry.theta_key)
    export(stream, entry.name, folder / file, version)
    accuracy = measured["test_accuracy"] if measured else None
    return {"file": file, "test_accuracy": accuracy, "classes": list(entry.classes)}
