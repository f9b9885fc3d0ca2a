import dataclasses
import json
import math
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apd.config import (
    ConsolidationConfig,
    LearningConfig,
    NetworkConfig,
    ResourceConfig,
    StreamConfig,
    from_json,
    to_json,
)
from apd.errors import ConfigError

STREAM = StreamConfig(input_shape=(1, 28, 28))


@given(
    st.builds(
        LearningConfig,
        capacity_per_task=st.none() | st.floats(0.001, 1),
        variant=st.sampled_from(["apd-fixed", "apd1", "apd2"]),
        epochs=st.integers(1, 99),
    )
)
def test_settings_survive_json(learning):
    stream = dataclasses.replace(STREAM, learning=learning, network=NetworkConfig("mlp", {"hidden": [4, 5]}))
    assert from_json(StreamConfig, json.loads(json.dumps(to_json(stream)))) == stream


def test_defaults_are_valid_and_complete():
    assert from_json(StreamConfig, {"input_shape": [3]}) == StreamConfig(input_shape=(3,))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning": {"epoch": 3}}, "unknown setting learning.epoch; LearningConfig has .*epochs"),
        ({"learning": {"epochs": 0}}, "learning.epochs is 0 but must be >= 1"),
        ({"learning": {"epochs": 2.5}}, "learning.epochs is 2.5 but must be a whole number"),
        ({"learning": {"epochs": True}}, "learning.epochs is True but must be a whole number"),
        ({"learning": {"capacity_per_task": 2}}, r"learning.capacity_per_task is 2.0 but must be in \(0, 1\] or null"),
        ({"learning": {"variant": "apd3"}}, "learning.variant is 'apd3' but must be one of apd-fixed, apd1, apd2"),
        ({"learning": {"prune_from": 0.8, "prune_until": 0.5}}, "learning.prune_until is 0.5 but must be in"),
        ({"learning": 3}, "learning is 3 but must be an object"),
        ({"learning": {"seed": -1}}, r"learning.seed is -1 but must be in 0\.\.4294967295"),
        ({"learning": {"seed": 2**32}}, r"learning.seed is 4294967296 but must be in 0\.\.4294967295"),
        ({"split": {"seed": -1}}, r"split.seed is -1 but must be in 0\.\.4294967295"),
        ({"network": {"name": "vgg"}}, "network.name is 'vgg' but must be mlp, lenet, resnet18 or module:callable"),
        ({"input_shape": 3}, "input_shape is 3 but must be a list of numbers"),
        ({"input_shape": []}, r"input_shape is \(\) but must be one or more sizes"),
        ({"consolidation": {"tolerance": -1}}, "consolidation.tolerance is -1.0 but must be >= 0"),
        ({"consolidation": {"refit_epochs": 0}}, "consolidation.refit_epochs is 0 but must be >= 1 or null"),
        ({"split": {"validation": 0.6, "test": 0.5}}, r"split.validation \+ split.test is 1.1 but must be < 1"),
        ({"resources": {"num_cpus": 0}}, "resources.num_cpus is 0.0 but must be > 0"),
        ({"learning": {"mask_start": math.nan}}, "learning.mask_start is nan but must be a finite number"),
        ({"learning": {"learning_rate": math.inf}}, "learning.learning_rate is inf but must be a finite number"),
        ({"consolidation": {"tolerance": 10**400}}, "consolidation.tolerance is 10+ but must be a finite number"),
        ({"resources": {"custom": {"gpu": "two"}}}, "resources.custom.gpu is 'two' but must be a finite number"),
        ({"network": {"arguments": {"p": math.nan}}}, "network.arguments is {'p': nan} but must be JSON values"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(values, message):
    with pytest.raises(ConfigError, match=message):
        from_json(StreamConfig, {"input_shape": [1, 8, 8]} | values)


def test_what_are_no_settings_at_all_is_an_error():
    with pytest.raises(ConfigError, match="resources is 3 but must be an object"):
        from_json(ResourceConfig, 3, "resources.")


def test_a_missing_setting_is_an_error():
    with pytest.raises(ConfigError, match=r"stream settings are incomplete.*input_shape"):
        from_json(StreamConfig, {})


@pytest.mark.parametrize("kind", [LearningConfig, ConsolidationConfig, StreamConfig])
def test_settings_cannot_be_changed_and_have_types(kind):
    config = STREAM if kind is StreamConfig else kind()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.__setattr__(dataclasses.fields(kind)[0].name, 1)
    assert set(typing.get_type_hints(kind)) == {item.name for item in dataclasses.fields(kind)}
