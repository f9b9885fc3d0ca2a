"""The heavy work, on a Ray cluster. The only package that knows Ray.

    workers     the kinds of work: learn, evaluate, compare; plain classes, usable without Ray
    versions    what every node has to have the same
    resources   what an actor asks of the cluster
    work        an actor of its own for each piece of work
    crew        several actors that share a list of pieces of work
    consolidation   a consolidation by a crew
    refit       sigma learned again by a crew
    data_parallel   several workers on one task, through Ray Train
    metrics     what a monitor sees of it
    cluster     the connection

Only names and numbers travel to an actor, and only small results travel back; what is large goes through the store.
"""

from apd.actors.cluster import cluster
from apd.actors.consolidation import propose
from apd.actors.crew import crew
from apd.actors.data_parallel import learning
from apd.actors.refit import propose_refit
from apd.actors.resources import check_resources
from apd.actors.work import companion, events, first_done
from apd.actors.workers import Comparer, Evaluation, Evaluator, Trainer

__all__ = [
    "Comparer",
    "Evaluation",
    "Evaluator",
    "Trainer",
    "check_resources",
    "cluster",
    "companion",
    "crew",
    "events",
    "first_done",
    "learning",
    "propose",
    "propose_refit",
]
