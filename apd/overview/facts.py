"""What is asked of a stream every day. All answers are JSON values."""

from collections.abc import Sequence
from typing import Any

from apd.config import to_json
from apd.overview.growth import path_to
from apd.overview.waiting import consolidation_left_out, describe
from apd.refit import is_ahead
from apd.store import Stream, TaskEntry, Version

Row = dict[str, Any]

STATES = ("waiting", "submitted", "arriving", "refused", "rejected", "undone")
"""Of tasks that are not learned. Refused: below what the stream demands; rejected: not in the task format; undone: by a
rollback."""

LINK = "a symbolic link, which is not followed: `apd submit` copies the folder that it leads to"


def tasks(stream: Stream, version: Version) -> list[Row]:
    """One row per task of a version, in the order they were learned; accuracy in [0, 1] where it was measured."""
    measured = accuracies_of(stream, version.entries)
    return [
        _row(
            entry.name,
            "learned",
            f"{len(entry.classes)} classes, version {entry.learned_in}",
            classes=list(entry.classes),
            learned_in=entry.learned_in,
            test_accuracy=measured[entry.theta_key],
            bytes=entry.bytes,
        )
        for entry in version.entries
    ]


def arrivals(stream: Stream) -> list[Row]:
    """One row per task that is not learned, in one of STATES; submitted ones are in the inbox."""
    inbox = stream.inbox
    waiting = [_row(one.task, "waiting", describe(stream, one)) for one in inbox.waiting()]
    submitted = [_row(folder, "submitted", "in the inbox") for folder in inbox.complete()]
    arriving = [_row(folder, "arriving", "in the inbox, without task.json") for folder in inbox.incomplete()]
    arriving += [_row(key, "arriving", "no task folder or file can have that name") for key in inbox.misnamed()]
    arriving += [_row(key, "arriving", LINK) for key in inbox.links()]
    refused = [_row(one.task, "refused", _why(stream, one.task)) for one in inbox.refused()]
    rejected = [_row(folder, "rejected", reason) for folder, reason in inbox.rejected().items()]
    undone = [_row(one.task, "undone", _undone(one.task)) for one in inbox.undone()]
    return waiting + submitted + arriving + refused + rejected + undone


def _undone(task: str) -> str:
    return f"by a rollback; `apd forget {task}` removes its data, then it can come again"


def _why(stream: Stream, task: str) -> str:
    refusal = stream.refusals.task(task)
    return "; ".join(refusal.reasons) if refusal else ""


def _row(task: str, state: str, note: str, **learned: Any) -> Row:
    """All rows have the same fields; what only a learned task has is None in the others."""
    facts = dict.fromkeys(("classes", "learned_in", "test_accuracy", "bytes"))
    return {"task": task, "state": state, **facts, **learned, "note": note}


def accuracies_of(stream: Stream, entries: Sequence[TaskEntry]) -> dict[str, float | None]:
    """Test accuracy of exactly these parameters by theta key, None where nobody measured it."""
    found = stream.evaluations.get_all(entry.theta_key for entry in entries)
    return {key: None if record is None else record["test_accuracy"] for key, record in found.items()}


def accuracies(stream: Stream, version: Version) -> list[Row]:
    """Test accuracy of every task now and when it was learned."""
    measured = accuracies_of(stream, version.entries)
    return [
        {"task": entry.name, "test_accuracy": measured[entry.theta_key], "when_learned": entry.test_accuracy}
        for entry in version.entries
    ]


def status(stream: Stream) -> Row:
    """The stream in a few figures, and its settings."""
    head = stream.head()
    measured = accuracies_of(stream, head.entries)
    known = [value for entry in head.entries if (value := measured[entry.theta_key]) is not None]
    states = [row["state"] for row in arrivals(stream)]
    return {
        "stream": stream.url,
        "version": head.number,
        "kind": head.kind,
        "created": head.created,
        "tasks": len(head.entries),
        **{state: states.count(state) for state in STATES},
        "average_test_accuracy": sum(known) / len(known) if known else None,
        "tau_non_zeros": sum(entry.tau_nnz for entry in head.entries),
        "task_bytes": sum(entry.bytes for entry in head.entries),
        "learned_since_consolidation": learned_since_consolidation(stream, head),
        "consolidate_every": stream.config.consolidation.consolidate_every,
        "consolidation_due": is_due(stream),
        "consolidation_left_out": consolidation_left_out(stream),
        "settings": to_json(stream.config),
    }


def learned_since_consolidation(stream: Stream, head: Version) -> int:
    """How many tasks of the head were learned after its last consolidation, unless a rollback undid that."""
    last = head.consolidated
    if last is None:
        made = (past.number for past in path_to(head, stream.version) if past.kind == "consolidate")
        last = next(made, 0)
    return sum(entry.learned_in > last for entry in head.entries)


def is_due(stream: Stream) -> bool:
    """Whether `consolidate_every` tasks were learned since the last consolidation, and the variant clusters at all.

    A head whose consolidation was refused at every tolerance would only be refused again, and one that a rollback undid
    would only be undone again: the next one is due when the head has grown.
    """
    head = stream.head()
    if stream.config.learning.variant != "apd2" or head.kind == "rollback":
        return False
    settings = stream.config.consolidation
    grown = learned_since_consolidation(stream, head) >= settings.consolidate_every
    clusterings = [one for one in stream.refusals.consolidations(head.number) if not one.refit]
    return grown and len(clusterings) < len(settings.tolerances)


def consolidation_waits(stream: Stream) -> bool:
    """Whether one is due that a run should try: it has not failed too often."""
    return is_due(stream) and consolidation_left_out(stream) is None


def refit_is_due(stream: Stream, head: Version) -> bool:
    """Whether consolidating this version means to learn sigma again first: wanted, never done, not refused for it."""
    settings = stream.config.consolidation
    if not refit_is_ahead(stream, head) or len(head.entries) < settings.consolidate_every:
        return False
    return not any(one.refit for one in stream.refusals.consolidations(head.number))


def refit_is_ahead(stream: Stream, head: Version) -> bool:
    """Whether sigma may still be learned again; a task that trains meanwhile would go on needing the old one."""
    config, rounds = stream.config, stream.clustering(head).rounds
    return config.learning.variant == "apd2" and is_ahead(config.consolidation, rounds, len(head.entries))
