"""Additive Parameter Decomposition: one model that learns new tasks for years and forgets none.

The layers, bottom up; an import may only point down this list:

    errors, config        what can go wrong; every setting, frozen
    state, decomposition  sigma, masks, taus as named tensors, and the network parameters they add up to
    prox, retroactive     closed forms of the objective's parts
    networks, data        what is trained, and on what
    team, replay          several workers on one task; a step recorded for a GPU
    pruning, objective    the budget of non-zeros; the loss, term by term
    adam, loop, training  the optimiser, the loop that minimises the loss, learning one task
    metrics, baselines    accuracy, forgetting, capacity; what APD is compared with
    joint, refit          one network for several tasks; sigma learned again with it
    consolidation         K-means over taus
    store                 versions of a stream in a folder or bucket
    report, overview      a stream as people see it
    serving, benchmark    predictions of one task; methods beside each other on public datasets
    learner, actors       the front doors: in this process, and on a Ray cluster
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """`from apd import Learner`, which brings torch along, costs nothing until it is asked for."""
    if name == "Learner":
        from apd.learner import Learner

        return Learner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
