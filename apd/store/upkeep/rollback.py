"""Going back: a new version that equals an old one."""

import dataclasses
import secrets
from collections.abc import Collection

from apd.errors import ConfigError
from apd.store.commits import successor
from apd.store.forget import sums_of
from apd.store.manifest import Version
from apd.store.records import Records
from apd.store.stream import Stream


def rollback(stream: Stream, number: int) -> Version:
    """Make the newest version equal to version `number`; nothing is lost, the versions between stay in the log.

    Tasks that were forgotten since do not come back. Tasks that were learned since are not in the new version, and do
    not count as waiting. Raises NotFound when there is no such version or garbage collection removed it.
    """
    old = stream.version(number)
    stream.marks.pin(number)
    commit_id = secrets.token_hex(16)
    return stream.history.commit(lambda head: _as_it_was(stream, old, head, commit_id))


def _as_it_was(stream: Stream, old: Version, head: Version, commit_id: str) -> Version:
    if head.number == old.number:
        raise ConfigError(f"version {old.number} is the newest already")
    return left_of(stream.records, old, head, _forgotten(stream, old, head), commit_id)


def left_of(
    records: Records, old: Version, head: Version, gone: Collection[tuple[str, int]], commit_id: str
) -> Version:
    """The version after `head` that equals an old one without these tasks: their names and arrivals."""
    kept = tuple(entry for entry in old.entries if (entry.name, entry.arrival) not in gone)
    missing = [entry.name for entry in head.entries if not any(entry.arrival == back.arrival for back in kept)]
    details = {"version": old.number, "without": missing, "forgotten": sorted(name for name, _ in gone)}
    back = successor(head, "rollback", f"back to version {old.number}", commit_id, details)
    back = dataclasses.replace(back, consolidated=old.consolidated)
    if len(kept) == len(old.entries):
        return dataclasses.replace(
            back, sigma=old.sigma, statistics=old.statistics, clustering=old.clustering, entries=old.entries
        )
    return dataclasses.replace(
        back,
        sigma=old.sigma if kept else None,
        statistics=sums_of(records, kept, commit_id),
        clustering=old.clustering if kept else None,
        entries=kept,
    )


def _forgotten(stream: Stream, old: Version, head: Version) -> set[tuple[str, int]]:
    """(task, arrival) of what was forgotten between the two."""
    since = (stream.version(number) for number in range(old.number + 1, head.number + 1))
    return {(version.details["task"], version.details["arrival"]) for version in since if version.kind == "forget"}
