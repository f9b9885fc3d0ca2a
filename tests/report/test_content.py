import dataclasses

import pytest

from apd.errors import StateError
from apd.report.content import AccuracyRow, ClusterRow, OrderRow, Report


def _with_task(report: Report, **changes: object) -> dict[str, object]:
    return {"tasks": (dataclasses.replace(report.tasks[0], **changes), *report.tasks[1:])}


def _with_layer(report: Report, **changes: object) -> dict[str, object]:
    return {"layers": (dataclasses.replace(report.layers[0], **changes),)}


CASES = {
    "accuracy of version 7 has 2 entries for 16 tasks": lambda r: {"accuracy": (AccuracyRow(7, "learn", (0.5, None)),)},
    "fine-tuning after version 7 has 1 entries": lambda r: {"fine_tuning": (AccuracyRow(7, "learn", (0.5,)),)},
    "accuracy in order 'B' has 0 entries": lambda r: {"orders": (OrderRow("B", ()),)},
    "an accuracy is 93.1, not in [0, 1]": lambda r: {"accuracy": (AccuracyRow(1, "learn", (93.1,) * 16),)},
    "the similarity has 1 entries": lambda r: {"similarity": ((0.0,) * 16,)},
    "row 3 of the similarity has 15 entries": lambda r: {
        "similarity": tuple((0.0,) * (15 if row == 3 else 16) for row in range(16))
    },
    "tau densities of 'conv1.weight' has 2 entries": lambda r: _with_layer(r, tau_densities=(0.1, 0.2)),
    "cluster 3 of 'conv1.weight' has unknown members ['who']": lambda r: _with_layer(
        r, clusters=(ClusterRow(3, ("who",), 0, None),)
    ),
    "task 'digits-high-rot0-00' has no classes": lambda r: _with_task(r, classes=()),
    "tau of 'digits-high-rot0-00' has density 1.2": lambda r: _with_task(r, tau_density=1.2),
}


@pytest.mark.parametrize("complaint", CASES)
def test_content_that_does_not_fit_is_refused_and_named(report, complaint):
    with pytest.raises(StateError) as refusal:
        dataclasses.replace(report, **CASES[complaint](report))
    assert str(refusal.value).startswith("report of 'digits', version 19: ")
    assert complaint in str(refusal.value)
