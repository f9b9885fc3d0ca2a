"""What a learner is given by mistake: a sentence that says so, and nothing learned, waiting or left behind."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from apd.errors import ConfigError, DataError, TaskRefused, TaskRejected
from apd.learner import Learner, built_by
from tests.test_learner import SHAPE, Small, new, samples


@pytest.fixture(scope="module")
def learner() -> Learner:
    """One task."""
    made = new(epochs=1)
    made.learn("shoes", samples(1))
    return made


def test_inputs_of_a_size_that_is_hard_to_learn_from_are_warned_of() -> None:
    inputs, labels = samples(1)
    with pytest.warns(UserWarning, match=r"pressure: inputs are about .*Scale them") as warned:
        new(epochs=1).learn("pressure", (inputs * 1000, labels))
    assert warned[0].filename == __file__


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


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"input_shape": 64}, "input_shape is 64 but must be a list of numbers"),
        ({"input_shape": "1x4x4"}, "input_shape is '1x4x4' but must be a list of numbers"),
        ({"input_shape": (1, 4.0, 4)}, r"input_shape is 4\.0 but must be a whole number"),
        ({"input_shape": (10**6, 10**4, 10**4)}, r"input_shape is \(1000000, 10000, 10000\), and no two such inputs"),
        ({"input_shape": (10**30,)}, r"input_shape is \(10+,\), and no two such inputs"),
        ({"input_dtype": "float64"}, "input_dtype is 'float64' but must be one of uint8, float32"),
        ({"input_dtype": torch.float64}, "input_dtype is 'float64' but must be one of uint8, float32"),
        ({"network": "mlp"}, r"network is 'mlp' but must be a callable that makes one .* NetworkConfig\('lenet'\)"),
        ({"network": Small(3)}, "network is a Small but must be a callable that makes one"),
        ({"device": "gpu"}, "device is 'gpu', which torch cannot use here: "),
        ({"device": "meta"}, "device is 'meta', which torch cannot use here: "),
        ({"device": "cuda:99"}, "device is 'cuda:99', which torch cannot use here: "),
    ],
)
def test_a_learner_that_cannot_be_begun(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Learner(**{"network": Small, "input_shape": SHAPE} | changed)


@pytest.mark.parametrize("dtype", [np.float32, np.dtype("float32"), torch.float32])
def test_whole_numbers_and_dtypes_of_any_library(dtype: Any) -> None:
    learner = Learner(Small, tuple(np.array(SHAPE)), dtype, epochs=np.int64(1))
    assert (learner.stream.config.input_shape, learner.stream.config.input_dtype) == (SHAPE, "float32")


def test_a_task_and_its_classes_have_names(learner: Learner) -> None:
    with pytest.raises(DataError, match="task is 3 but must be a name, as text"):
        learner.learn(3, samples(2))  # type: ignore[arg-type]
    for classes in (3, "abc", {"a", "b", "c"}):
        with pytest.raises(DataError, match=r"classes is .*, expected a sequence of names in label order"):
            learner.learn("hats", samples(2), classes=classes)  # type: ignore[arg-type]


class Factory:
    """Makes networks; of itself there is one object for each width."""

    def __init__(self, width: int) -> None:
        self.width = width

    def __call__(self, classes: int) -> Small:
        """A network of this width."""
        return Small(classes, self.width)


@pytest.mark.parametrize("network", [partial(Small, width=4), Factory(4), lambda classes: Small(classes, 4)])
def test_a_network_without_a_name_has_to_be_given_again(network: Any, tmp_path: Path) -> None:
    learner = Learner(network, SHAPE)
    learner.save(tmp_path / "stream")
    with pytest.raises(
        ConfigError, match=r"cannot be made by '.*: .*; hand over .*: Learner\.load\(url, network=\.\.\.\)"
    ):
        Learner.load(tmp_path / "stream")
    assert Learner.load(tmp_path / "stream", network).tasks == ()


@pytest.mark.parametrize("name", ["functools:partial", f"{__name__}:Factory"])
def test_streams_that_name_the_class_of_such_a_network_say_so_too(name: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot be made by .*; hand over what the learner was given"):
        built_by(SHAPE, 2, name)
