"""The bytes counted in memory are those that a store keeps."""

import pytest

from apd.config import NetworkConfig
from apd.data.digits import digits_tasks
from apd.learner import Learner
from apd.networks import from_config
from apd.overview.capacity import count
from apd.store.footprint import footprint


def test_the_bytes_of_a_learners_store():
    learner = Learner(
        NetworkConfig("mlp", {"hidden": [256, 128]}), (1, 8, 8), "uint8", epochs=2, capacity_per_task=0.1,
        consolidate_every=2, tolerance=0.1,
    )  # fmt: skip
    for task in digits_tasks(2):
        parts = [(split.inputs, split.labels) for split in (task.data.train, task.data.validation, task.data.test)]
        learner.learn(task.name, parts[0], validation=parts[1], test=parts[2])
    stream, head = learner.stream, learner.stream.head()
    assert head.sigma is not None
    tasks = [stream.load_entry(entry) for entry in head.entries]
    first = stream.version(1).sigma
    assert first is not None
    counted = footprint(tasks, stream.load_sigma(head.sigma), stream.load_sigma(first))
    stored = count(stream, head, {5: from_config(stream.config).spec(5)}).bytes
    assert counted == pytest.approx(stored, rel=0.02)
    assert counted > sum(tensor.nbytes for tensor in tasks[0].sigma.values())
