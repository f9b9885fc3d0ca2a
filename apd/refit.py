"""sigma learned again, from the first tasks together, and each of them anew on top of it.

The first task alone makes the sigma that every later task starts from, and what one task shows is little to start from.
Once s tasks are there, a network that tells the classes of all of them apart gives a better one. It is trained as a
single task would be (`apd.joint`); then every task is learned as if it had just arrived, within the budget of any task.

This is the one place where old thetas are replaced instead of kept, so the caller puts it through the gate that every
consolidation passes. It happens once in the life of a stream: what it costs does not grow.

    outcome = refit(network, before, tasks, learning)
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace

from torch import Tensor

from apd.config import ConsolidationConfig, LearningConfig
from apd.data import pool
from apd.decomposition import compose
from apd.joint import JointTask, JointTraining
from apd.networks import Network
from apd.state import Arrival, Clustering, Consolidation, ParameterReport, Regrouping, TaskState, Tensors
from apd.training import Fit

SHRUNK = 0.5
"""The share of the newest sigma that joint training starts from.

Ten tasks of Omniglot-rotation together, with a head for each, in two orders, and five others learned on top of that:
71 and 73 % of the validation pictures, then 72.9 %, from all of sigma without initial values; 78 and 80 %, then 75.2 %,
from 0.3 of it; 76 and 80 %, then 76.8 %, from a half. From initial values alone twenty tasks stayed at chance in all
epochs of one order of five, and ten tasks that shared every step in three.
"""


def is_ahead(settings: ConsolidationConfig, rounds: int, tasks: int) -> bool:
    """Whether a stream of so many tasks, consolidated so often, may still come to it."""
    return settings.refit and not rounds and tasks < 2 * settings.consolidate_every


def refit(
    network: Network,
    before: Sequence[TaskState],
    tasks: Sequence[JointTask],
    learning: LearningConfig,
    *,
    epochs: int | None = None,
    device: str = "cpu",
) -> Consolidation:
    """The outcome for two or more tasks, given as they are and as what to train them on; in this process.

    epochs: of `joint_training`.
    """
    joint = joint_training(network, tasks, before[-1].sigma, learning, epochs=epochs, device=device)
    for _ in joint.epochs():
        pass
    sigma, after = sigma_of(joint), list[TaskState]()
    for task in tasks:
        fit = fit_again(network, task, sigma, learning, device=device)
        for _ in fit.epochs():
            pass
        after.append(fit.result().task)
    return renewed(before, after, sigma)


def joint_training(
    network: Network,
    tasks: Sequence[JointTask],
    newest: Tensors,
    learning: LearningConfig,
    *,
    epochs: int | None = None,
    device: str = "cpu",
) -> JointTraining:
    """Training of one classifier of all tasks' classes, from half of the newest sigma and initial values.

    epochs: over all of the tasks' data; None: as many as over one task's. `SHRUNK` says what either start alone came
    to. Source of the remedy: Ash and Adams, On warm-starting neural network training (2020). Fewer epochs are better
    where tasks have data enough that more teach it their samples by heart: on CIFAR-100 Superclass, with a head for
    each task, later ones had 64.4 % on the outcome of seven epochs and 60.8 on that of twenty, which knew all samples.

    To tell the classes of one task from those of another as well takes more than a head for each task would, and what
    is learned for it is of use to tasks that come later. Validation accuracy of tasks learned on top of ten: CIFAR-100
    Superclass, two orders, 66.9 and 67.6 % after five epochs, 66.7 and 68.5 after eight, 64.6 and 66.8 with a head for
    each after four and five; Omniglot-rotation, three orders, 75.5, 75.7 and 88.4 %, with heads 75.9, 75.7 and 86.6.
    """
    classes = [task.classes for task in tasks]
    together = JointTask("together", sum(classes), pool([task.data for task in tasks], classes))
    initial = network.initial(together.classes, learning.seed)
    start = {name: initial[name] + SHRUNK * value for name, value in newest.items()}
    settings = replace(learning, epochs=epochs or learning.epochs)
    return JointTraining(network, [together], settings, start=start, device=device)


def sigma_of(joint: JointTraining) -> dict[str, Tensor]:
    """What a finished joint training makes of the shared parameters; on the CPU."""
    body = joint.body
    return {key: body[key] for key in joint.network.spec(joint.tasks[0].classes).shared}


def fit_again(
    network: Network, task: JointTask, sigma: Tensors, learning: LearningConfig, *, device: str = "cpu"
) -> Fit:
    """Training of a task relative to this sigma, which stands still; masks, tau and private tensors start anew."""
    alone = Arrival(sigma, pull={}, earlier=0)  # without a pull, sigma is left where it is by every variant
    return Fit(network, task.name, task.classes, task.data, alone, learning, device=device)


def renewed(before: Sequence[TaskState], after: Sequence[TaskState], sigma: Tensors) -> Consolidation:
    """Both forms of the same tasks, the newest sigma being the last one's, as the outcome of a consolidation."""
    stored = sum(part.nnz for task in before for part in task.tau.values())
    found = outcome(stored, differing(sigma, before[-1].sigma), merged(map(report, before, after)))
    facts = {item.name: getattr(found, item.name) for item in fields(found)}
    return Consolidation(**facts, tasks=tuple(after), sigma=sigma)


def outcome(tau_stored: int, sigma_moved: int, found: Mapping[str, ParameterReport]) -> Regrouping:
    """What was decided, without tensors: no clusters. The arguments are those of `Regrouping`."""
    return Regrouping(Clustering(1, {}), 0.0, tau_stored, sigma_moved, found, refit=True)


def differing(sigma: Tensors, other: Tensors) -> int:
    """The number of elements in which they differ."""
    return sum(int((value != other[name]).sum()) for name, value in sigma.items())


def report(before: TaskState, after: TaskState) -> dict[str, ParameterReport]:
    """What became of one task, per shared parameter."""
    old, new = compose(before), compose(after)
    return {
        name: ParameterReport(
            members=(),
            inertia=None,
            refused=0,
            tau_before=before.tau[name].nnz,
            tau_after=after.tau[name].nnz,
            local_shared_before=0,
            local_shared_after=0,
            moves={before.name: float((old[name] - new[name]).abs().max())},
        )
        for name in old
    }


def merged(reports: Iterable[Mapping[str, ParameterReport]]) -> dict[str, ParameterReport]:
    """The reports of several tasks as one."""
    total: dict[str, ParameterReport] = {}
    for found in reports:
        for name, part in found.items():
            total[name] = _added(total[name], part) if name in total else part
    return total


def _added(one: ParameterReport, other: ParameterReport) -> ParameterReport:
    return replace(
        one,
        tau_before=one.tau_before + other.tau_before,
        tau_after=one.tau_after + other.tau_after,
        moves={**one.moves, **other.moves},
    )
