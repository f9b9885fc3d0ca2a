"""The heavy work, on a Ray cluster. The only package that knows Ray.

    workers     the kinds of work: learn, evaluate, consolidate, compare; plain classes, usable without Ray
    cluster     the connection, and an actor of its own for one piece of work

Only names and numbers travel to an actor, and only small results travel back; what is large goes through the store.
"""

from apd.actors.cluster import check_resources, cluster, companion, events
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
