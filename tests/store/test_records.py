"""Tasks as blobs: what stands for their predictions, and what they take up."""

import dataclasses

import pytest
import torch

from apd.state import FIRST
from apd.store import Stream
from apd.store.blobs import key_of
from apd.store.forget import OWN
from apd.store.records import theta_key
from tests.store.samples import CONFIG, learn, learned_on


def test_what_a_task_takes_up_is_its_record_and_what_is_its_alone() -> None:
    stream = Stream.create("memory://records-take-up", CONFIG)
    entry = learn(stream, "a", 1).entry("a")
    record = stream.record(entry)
    own = [entry.record, *(record[part] for part in OWN if part != "step")]
    assert entry.bytes == sum(stream.objects.stat(key_of(digest)).size for digest in own)


@pytest.mark.parametrize(
    "changed",
    [
        lambda private: private | {"first.bias": private["first.bias"].reshape(2, 2)},
        lambda private: private | {"first.bias": private["first.bias"].to(torch.float64)},
        lambda private: private | {"first.bias": private["first.bias"].view(torch.int32)},
        lambda private: private | {"first.bias": -private["first.bias"]},
        lambda private: {"other.bias": private["first.bias"], "steps": private["steps"]},
        lambda private: {"first.bias": private["first.bias"]},
    ],
    ids=["shape", "dtype", "dtype of the same bits", "values", "name", "fewer"],
)
def test_no_two_different_thetas_have_the_same_key(changed) -> None:
    task = learned_on(FIRST, "a", 1).task
    same = dataclasses.replace(task, private={name: value.clone() for name, value in task.private.items()})
    assert theta_key(same) == theta_key(task)
    assert theta_key(dataclasses.replace(task, private=changed(task.private))) != theta_key(task)
