import dataclasses
import json

import pytest

from apd.benchmark import (
    METHODS,
    Cell,
    CellResult,
    Step,
    TaskResult,
    cells,
    data_of,
    load_tasks,
    network_for,
    protocol_of,
    run_cell,
)
from apd.benchmark.protocol import DEFAULTS, Method
from apd.data.official import BENCHMARKS
from apd.errors import ConfigError
from tests.benchmark import known


def run(method: str, order: str = "A", seed: int = 0, **settings) -> CellResult:
    protocol = protocol_of("digits", known.TINY | settings)
    *steps, result = run_cell(Cell(method, order, seed), protocol, load_tasks(protocol, order, None))
    assert [step.number for step in steps if isinstance(step, Step)] == list(range(1, len(result.tasks) + 1))
    assert isinstance(result, CellResult)
    return result


def numbers(result: CellResult) -> tuple[TaskResult, ...]:
    """All but the time, which is never the same."""
    return tuple(dataclasses.replace(task, seconds=0.0) for task in result.tasks)


@pytest.mark.parametrize("method", [*METHODS, "apd2@0.05"])
def test_a_cell_gives_the_same_numbers_every_time(method):
    assert numbers(run(method)) == numbers(run(method))


def test_what_is_known_of_the_data_does_not_depend_on_the_order():
    protocol = known.tiny()
    found = [data_of(load_tasks(protocol, order, None)) for order in ("A", "B")]
    assert found[0] == {"tasks": {"digits-0-4-rot0": 5, "digits-5-9-rot180": 5}, "notes": []}
    assert found[0] == found[1]


def test_orders_and_seeds_differ():
    finals = {
        tuple(task.accuracies[-1] for task in run("stl", order, seed).tasks) for order in ("A", "B") for seed in (0, 1)
    }
    assert len(finals) > 1


@pytest.mark.parametrize("method", ["apd2", "mtl"])
def test_a_cell_survives_storage(method):
    result = run(method)
    assert CellResult.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_accuracies_are_measured_after_every_arrival():
    assert [len(task.accuracies) for task in run("finetuning").tasks] == [2, 1]
    assert [len(task.accuracies) for task in run("mtl").tasks] == [1, 1]


@pytest.mark.parametrize("method", ["apd-fixed", "apd1", "apd2", "stl"])
def test_without_a_consolidation_nothing_is_forgotten(method):
    first = run(method).tasks[0]
    assert first.accuracies[0] == first.accuracies[-1]


def consolidating(max_accuracy_drop: float) -> dict:
    """Four tasks, then everything that a cluster's tasks have at the same place becomes one value."""
    rules = {"consolidate_every": 4, "tolerance": 1e3, "least_saving": 1, "max_accuracy_drop": max_accuracy_drop}
    return {"tasks": 4, "consolidation": rules, "learning": {"epochs": 3, "batch_size": 64}}


def test_apd2_consolidates_when_it_is_due():
    settings = consolidating(max_accuracy_drop=1.0)
    apart, together = run("apd1@0.5", **settings), run("apd2@0.5", **settings)
    capacities = [
        (task.paper_capacity, other.paper_capacity) for task, other in zip(together.tasks, apart.tasks, strict=True)
    ]
    assert all(mine == other for mine, other in capacities[:3])
    assert capacities[3][0] < capacities[3][1]
    moved = [mine.accuracies != other.accuracies for mine, other in zip(together.tasks, apart.tasks, strict=True)]
    assert any(moved), "values a thousand times the usual tolerance apart were made one"


def test_a_consolidation_that_costs_too_much_is_refused():
    settings = consolidating(max_accuracy_drop=0.0)
    assert numbers(run("apd2@0.5", **settings)) == numbers(run("apd1@0.5", **settings))


def test_apd2_learns_sigma_again_where_that_is_wanted():
    settings = consolidating(max_accuracy_drop=1.0)
    settings["consolidation"] |= {"consolidate_every": 2, "refit": True}
    settings["tasks"] = 3
    apart, refitted = run("apd1@0.5", **settings), run("apd2@0.5", **settings)
    assert refitted.tasks[0].accuracies[0] == apart.tasks[0].accuracies[0]
    assert refitted.tasks[0].accuracies[1:] != apart.tasks[0].accuracies[1:]
    assert refitted.tasks[2].accuracies != apart.tasks[2].accuracies
    settings["consolidation"]["refit_epochs"] = 1
    assert numbers(run("apd2@0.5", **settings)) != numbers(refitted)
    assert refitted.tasks[1].paper_capacity > apart.tasks[1].paper_capacity  # the first task has a tau as well


def test_sizes():
    separate, tuned, elastic = run("stl"), run("finetuning"), run("ewc")
    assert separate.byte_capacity == pytest.approx(2.0)
    assert separate.tasks[0].paper_capacity == 1.0
    assert 1.0 < tuned.byte_capacity < 1.2
    assert tuned.byte_capacity + 0.8 < elastic.byte_capacity < 2.2
    assert run("mtl").byte_capacity == pytest.approx(tuned.byte_capacity)
    assert run("apd2@0.5").tasks[-1].paper_capacity > run("apd2@0.1").tasks[-1].paper_capacity > 1.0


def test_every_benchmark_has_a_protocol():
    assert set(DEFAULTS) == set(BENCHMARKS)
    for name in BENCHMARKS:
        assert protocol_of(name, {}).benchmark == name


def test_settings_change_a_benchmarks_own():
    protocol = protocol_of("digits", {"learning": {"epochs": 3}})
    assert protocol.learning.epochs == 3
    assert protocol.learning.batch_size == DEFAULTS["digits"]["learning"]["batch_size"]
    other = protocol_of("digits", {"network": {"name": "lenet"}})
    assert (other.network.name, other.network.arguments) == ("lenet", {})


def test_an_argument_of_the_network_leaves_the_benchmarks_others():
    own = DEFAULTS["five-datasets"]["network"]
    for named in ({}, {"name": own["name"]}):
        protocol = protocol_of("five-datasets", {"network": named | {"arguments": {"large_pictures": True}}})
        assert protocol.network.arguments == own["arguments"] | {"large_pictures": True}
    assert protocol_of("five-datasets", {"network": {"arguments": {"width": 8}}}).network.arguments == {"width": 8}


def test_a_benchmark_may_have_a_stiffness_of_its_own(monkeypatch):
    monkeypatch.setitem(DEFAULTS, "digits", DEFAULTS["digits"] | {"ewc_stiffness": 3e4})
    assert protocol_of("digits", {}).ewc_stiffness == 3e4
    assert protocol_of("digits", {"ewc_stiffness": 5}).ewc_stiffness == 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning": {"variant": "apd1"}}, "choose it by --methods"),
        ({"learning": {"seed": 1}}, "choose it by --seeds"),
        ({"learning": {"epoch": 1}}, "unknown setting learning.epoch"),
        ({"learning": {"precision": "float16"}}, "one of float32, bfloat16"),
        ({"learning": 5}, "learning is 5 but must be an object"),
        ({"learning": None}, "learning is None but must be an object"),
        ({"learning": "fast"}, "learning is 'fast' but must be an object"),
        ({"network": 3}, "network is 3 but must be an object"),
        ({"network": {"arguments": 3}}, r"network\.arguments is 3 but must be an object"),
        ({"tasks": 0}, "tasks is 0"),
        ({"ewc_stiffness": 0}, "ewc_stiffness is 0"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ConfigError, match=message):
        protocol_of("digits", settings)


def test_cells_come_seed_by_seed_and_order_by_order():
    names = [cell.name for cell in cells(["stl", "apd2@0.02"], ["A", "B"], [0, 1])]
    assert names[:4] == ["stl-A-0", "apd2@0.02-A-0", "stl-B-0", "apd2@0.02-B-0"]
    assert len(set(names)) == 8


def test_a_network_that_cannot_be_is_refused_before_any_cell():
    protocol = protocol_of("digits", {"network": {"arguments": {"hidden": []}}})
    with pytest.raises(ConfigError, match=r"network\.arguments\.hidden"):
        network_for(protocol, load_tasks(protocol, "A", None)).spec(2)


@pytest.mark.parametrize(
    ("methods", "orders", "seeds", "message"),
    [
        (["sgd"], ["A"], [0], "method is 'sgd' but must be one of apd-fixed"),
        (["stl@0.1"], ["A"], [0], "a variant of APD"),
        (["apd2@2"], ["A"], [0], "a share in"),
        (["apd2@x"], ["A"], [0], "a share in"),
        (["apd2@0.0"], ["A"], [0], r"method is 'apd2@0\.0' but must be a variant of APD at a share in \(0, 1\]"),
        (["apd2@.000"], ["A"], [0], "a share in"),
        (["stl"], ["A"], [-1], r"seed is -1 but must be in 0\.\.858993458"),
        (["stl"], ["E"], [858993459], "seed is 858993459"),
        (["stl"], ["F"], [0], "order is 'F'"),
        (["stl"], [], [0], "orders is"),
        (["stl", "stl"], ["A"], [0], "named once each"),
    ],
)
def test_cells_that_cannot_be(methods, orders, seeds, message):
    with pytest.raises(ConfigError, match=message):
        cells(methods, orders, seeds)


def test_a_cell_decides_variant_seed_and_budget():
    protocol = protocol_of("digits", {})
    learning = Cell("apd-fixed@0.05", "B", 2).learning(protocol)
    assert (learning.variant, learning.capacity_per_task, learning.seed) == ("apd-fixed", 0.05, 11)
    assert Cell("stl", "B", 2).learning(protocol).seed == 11
    assert Method.parse("apd2@.5") == Method("apd2", 0.5)
