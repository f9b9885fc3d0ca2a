"""Every error that `apd` raises on purpose.

    ApdError
    ├── ConfigError            a setting is unknown, out of range or contradicts another
    ├── DataError              labelled data cannot be read or used
    │   └── TaskRejected       a task folder breaks the task format; the stream goes on without it
    ├── TaskRefused            a trained task stays below what the stream demands
    ├── StateError             sigma, masks or taus do not fit each other or the network
    │   └── ShapeMismatch      a tensor's shape is not the network's
    ├── TrainingFailed         code of a stream's own, such as its network, raised an error in training
    ├── Diverged               a training's loss or parameters are no finite numbers any more
    ├── UnknownTask            no task of that name in that version
    │   └── Forgotten          the task was forgotten after its training had begun
    ├── StoreError             object storage
    │   ├── NotFound           no such object, version or stream
    │   ├── AlreadyExists      a put-if-absent found another object under its name
    │   ├── CorruptObject      bytes are not those that were written
    │   ├── UnknownSchema      written by a newer (or never released) format
    │   ├── Unreachable        the server refuses, is gone, or the disk is full
    │   └── UnsafeStore        the server does not honour put-if-absent
    └── ClusterError           Ray: resources, versions, connections
        ├── NoNode             no node is large enough for an actor
        └── WorkerLost         an actor, its process or its node died; trying again may help

Each takes one string, so that it survives a Ray or Prefect process boundary. The string names the place, what was
found, what was expected, and where it is known, what to do.
"""


class ApdError(Exception):
    """Base of all; the `apd` command prints it without a traceback and exits with 1."""


class ConfigError(ApdError):
    """A setting is unknown, out of range or contradicts another."""


class DataError(ApdError):
    """Labelled data cannot be read or used."""


class TaskRejected(DataError):
    """A task folder breaks the task format; the stream goes on without it."""


class TaskRefused(ApdError):
    """A trained task stays below what the stream demands; it was kept aside."""


class StateError(ApdError):
    """Sigma, masks or taus do not fit each other or the network."""


class ShapeMismatch(StateError):
    """A tensor's shape is not the one the network has."""


class TrainingFailed(ApdError):
    """Code of a stream's own, such as its network, raised an error in training; the text ends with its last line."""


class Diverged(ApdError):
    """A training's loss or parameters are no finite numbers any more; nothing of it was kept."""


class UnknownTask(ApdError):
    """No task of that name in that version."""


class Forgotten(UnknownTask):
    """The task was forgotten while a run dealt with it; nothing of its training was kept."""


class StoreError(ApdError):
    """Object storage failed or was misused."""


class NotFound(StoreError):
    """No such object, version or stream."""


class AlreadyExists(StoreError):
    """A put-if-absent found another object under its name."""


class CorruptObject(StoreError):
    """The bytes are not those that were written."""


class UnknownSchema(StoreError):
    """The object was written by a newer format than this release reads."""


class Unreachable(StoreError):
    """The server refuses, is gone, or the disk is full or read-only."""


class UnsafeStore(StoreError):
    """The server does not honour put-if-absent, so two committers could overwrite each other."""


class ClusterError(ApdError):
    """The Ray cluster cannot be reached, lacks a resource, or runs other versions."""


class NoNode(ClusterError):
    """No node of the cluster, busy or not, is large enough for an actor."""


class WorkerLost(ClusterError):
    """An actor, its process or its node died, or ran out of memory, before its work was finished."""
