"""What a learner is given by mistake: a sentence that says so, and nothing learned, waiting or left behind."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from apd.errors import DataError, TaskRefused, TaskRejected
from apd.learner import Learner
from tests.test_learner import SHAPE, new, samples


@pytest.fixture(scope="module")
def learner() -> Learner:
    """One task."""
    made = new(epochs=1)
    made.learn("shoes", samples(1))
    return made


def test_a_refused_name_with_other_data_is_told_before_training() -> None:
    learner = new(epochs=1, min_accuracy=1.0)
    inputs, labels = samples(1)
    useless = inputs, labels.flip(0) * (torch.arange(90) % 2)
    for _ in range(2):  # the same data may be tried again
        with pytest.raises(TaskRefused):
            learner.learn("hats", useless)
    epochs: list[Any] = []
    with pytest.raises(TaskRejected, match=r"a task named 'hats' with other data arrived on .*forget that task first"):
        learner.learn("hats", (inputs, labels), on_epoch=epochs.append)
    assert epochs == []
    assert list(learner.stream.objects.list("inbox/")) == []
    learner.forget("hats")
    assert learner.learn("hats", (inputs, labels)).task == "hats"


@pytest.mark.parametrize(
    ("data", "classes", "message"),
    [
        (samples(2), [3, 5, 7], r"classes is \[3, 5, 7\] but must be names, as text"),
        (samples(2), ["a", "b", "c\udcff"], "classes is .* but must be names, as text"),
        ((samples(2)[0], ["x", "y", "z"] * 30), [3, 5, 7], "found label 'x', expected one of 3 classes: 3, 5, 7"),
        (TensorDataset(*samples(2), samples(2)[1]), None, r"sample 0: found a tuple of 3, expected a pair"),
        (TensorDataset(samples(2)[0]), None, r"sample 0: found a tuple of 1, expected a pair"),
    ],
)
def test_data_that_cannot_be_used(learner: Learner, data: Any, classes: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        learner.learn("hats", data, classes=classes)
    assert learner.tasks == ("shoes",)
    assert list(learner.stream.objects.list("inbox/")) == []


@pytest.mark.parametrize("nothing", [torch.zeros(0, *SHAPE), np.zeros((0, *SHAPE), np.float32), []])
def test_nothing_to_predict_for_has_no_answers(learner: Learner, nothing: Any) -> None:
    assert learner.predict("shoes", nothing) == []
    assert learner.predict_proba("shoes", nothing).shape == (0, 3)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_inputs_that_are_not_finite_get_no_answer(learner: Learner, bad: float) -> None:
    inputs: Tensor = samples(1)[0].clone()
    inputs[7, 0, 1, 2] = bad
    with pytest.raises(DataError, match="inputs hold values that are not finite numbers"):
        learner.predict("shoes", inputs)
