"""The heavy work, on a Ray cluster. The only package that knows Ray.

    workers     the kinds of work: learn, evaluate, consolidate, compare; plain classes, usable without Ray
    versions    what every node has to have the same
    resources   what an actor asks of the cluster
    work        an actor of its own for each piece of work
    metrics     what a monitor sees of it
    cluster     the connection

Only names and numbers travel to an actor, and only small results travel back; what is large goes through the store.
"""

from apd.actors.cluster import cluster
from apd.actors.resources import check_resources
from apd.actors.work import companion, events
from apd.actors.workers import Comparer, Consolidator, Evaluation, Evaluator, Trainer

__all__ = [
    "Comparer",
    "Consolidator",
    "Evaluation",
    "Evaluator",
    "Trainer",
    "check_resources",
    "cluster",
    "companion",
    "events",
]
