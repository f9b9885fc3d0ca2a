"""What a monitor sees of the work while it goes on.

    name                        kind        unit                         tags           set by
    apd_steps_per_second        gauge       training steps a second      stream, task   a trainer, after every epoch
    apd_samples_per_second      gauge       training samples a second    stream, task   a trainer, after every epoch
    apd_tau_density             gauge       non-zeros of tau over P      stream, task   a trainer, after every epoch
    apd_waiting_tasks           gauge       accepted, in no version      stream         a flow, when a task starts, ends
    apd_commit_seconds          histogram   seconds until the new head   stream, kind   a flow; kind: learn, consolidate

A stream is its URL. Rates are of the last epoch, its validation included; a step is a whole batch. Every Ray node
serves what its processes set to Prometheus, at the metrics port that `ray.nodes()` names, with the prefix `ray_`. What
a process has set is gone some seconds after the process. Without a connection to Ray nothing is served, and nothing
fails.
"""

import functools

from ray.util.metrics import Gauge, Histogram

BOUNDARIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Seconds: a commit takes some 20 ms in a folder, tenths of a second in a bucket, more when it loses races."""


def trained(stream: str, task: str, samples: int, batch_size: int, seconds: float, tau_density: float) -> None:
    """One epoch of so many samples took so long; tau_density is what it left of tau, in [0, 1]."""
    tags = {"stream": stream, "task": task}
    rate = samples / max(seconds, 1e-9)
    _gauge("apd_samples_per_second", "training samples a second, in the last epoch", *tags).set(rate, tags)
    _gauge("apd_steps_per_second", "training steps a second, in the last epoch", *tags).set(rate / batch_size, tags)
    _gauge("apd_tau_density", "non-zeros of tau over the parameters of one network", *tags).set(tau_density, tags)


def waiting(stream: str, tasks: int) -> None:
    """So many accepted tasks are in no version yet, those in training included."""
    _gauge("apd_waiting_tasks", "accepted tasks that are in no version yet", "stream").set(tasks, {"stream": stream})


def committed(stream: str, kind: str, seconds: float) -> None:
    """A commit took so long, races that it lost included. kind: `learn` or `consolidate`."""
    tags = {"stream": stream, "kind": kind}
    _histogram("apd_commit_seconds", "seconds until a commit was the head", *tags).observe(seconds, tags)


@functools.cache
def _gauge(name: str, description: str, *tags: str) -> Gauge:
    return Gauge(name, description, tags)


@functools.cache
def _histogram(name: str, description: str, *tags: str) -> Histogram:
    return Histogram(name, description, list(BOUNDARIES), tags)
