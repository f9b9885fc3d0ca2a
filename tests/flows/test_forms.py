"""The forms that Prefect's UI draws for the deployments: every field typed, described, with its choices and bounds."""

from importlib import import_module
from typing import Any, get_args

import pytest
import yaml
from prefect import Flow
from prefect.exceptions import ParameterTypeError
from prefect.utilities.callables import parameter_schema

from apd.data.official import ORDERS
from apd.data.official.benchmarks import BENCHMARKS
from flows.forms import BenchmarkName
from flows.learn import learn
from tests.conftest import ROOT

FLOWS = ("benchmark", "consolidate", "evaluate", "forget", "ingest", "learn", "report", "run")


def flow(name: str) -> Flow[..., Any]:
    found: Flow[..., Any] = getattr(import_module(f"flows.{name}"), name)
    return found


def form(name: str) -> dict[str, dict[str, Any]]:
    """The fields of a flow's form."""
    fields: dict[str, dict[str, Any]] = parameter_schema(flow(name).fn).model_dump_for_openapi()["properties"]
    return fields


@pytest.mark.parametrize("name", FLOWS)
def test_every_field_has_a_type_and_a_sentence(name: str):
    for field in form(name).values():
        assert {"type", "anyOf"} & set(field)
        assert field["description"][:1].isupper()
        assert field["description"].endswith(".")
        assert "\n\n" not in field["description"]
    assert flow(name).description


@pytest.mark.parametrize("name", FLOWS)
def test_what_is_optional_shows_what_it_is_without(name: str):
    schema = parameter_schema(flow(name).fn).model_dump_for_openapi()
    for field, described in schema["properties"].items():
        assert (field in schema["required"]) != ("default" in described)


def test_choices_are_a_list_to_choose_from():
    assert form("learn")["if_refused"]["enum"] == ["leave", "accept", "train again"]
    assert form("benchmark")["name"]["enum"] == list(BENCHMARKS)
    assert form("benchmark")["orders"]["items"]["enum"] == list(ORDERS)
    assert form("benchmark")["orders"]["default"] == list(ORDERS)
    assert get_args(BenchmarkName) == BENCHMARKS


def test_bounds_are_part_of_the_form():
    assert form("learn")["task"]["pattern"] == "^[a-z0-9][a-z0-9._-]{0,63}$"
    assert form("learn")["stream"]["minLength"] == 1
    assert {"type": "integer", "minimum": 0} in form("report")["version"]["anyOf"]
    assert {"type": "integer", "minimum": 1} in form("run")["max_parallel"]["anyOf"]


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"task": "../shoes"}, "task: String should match pattern"),
        ({"task": "shoes", "if_refused": "never"}, "if_refused: Input should be 'leave', 'accept' or 'train again'"),
    ],
)
def test_a_wrong_value_never_starts_a_run(parameters: dict[str, Any], complaint: str):
    with pytest.raises(ParameterTypeError, match=complaint):
        learn.validate_parameters({"stream": "folder", **parameters})


def test_every_deployment_is_one_of_these_flows_and_gives_it_only_what_it_takes():
    for deployment in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]:
        name = deployment["entrypoint"].rsplit(".", 1)[-1]
        assert name in FLOWS
        assert set(deployment.get("parameters", {})) <= set(form(name))
        assert deployment["description"]
