"""Additive Parameter Decomposition: one model that learns new tasks for years and forgets none.

The layers, bottom up; an import may only point down this list:

    errors, config        what can go wrong; every setting, frozen
    state, decomposition  sigma, masks, taus as named tensors, and the network parameters they add up to
    prox, retroactive     closed forms of the objective's parts
    networks, data        what is trained, and on what
    objective, training   the loss, and the loop that minimises it
    consolidation         K-means over taus
    store                 versions of a stream in a folder or bucket
    learner, actors       the front doors: in this process, and on a Ray cluster
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """`from apd import Learner`, which brings torch along, costs nothing until it is asked for."""
    if name == "Learner":
        from apd.learner import Learner

        return Learner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
