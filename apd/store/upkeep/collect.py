"""Garbage collection: remove what no kept version needs.

A version is kept when it is among the newest `keep`, was the head within the grace period (somebody may still be
reading it), or a task is being trained on top of it. Manifests, the tables they name and the reports of consolidations
are kept for ever, so the history stays whole; of other versions the rest is removed.

Why nothing that is needed can be lost: a blob is written for one commit, and a later version has it only by taking it
over from the head, which is kept, or from an old version that was pinned first. Versions are marked as collected
before pins are looked for; a pin that comes later finds the mark and fails, one that was there earlier protects its
version for the grace period. Blobs younger than that are not touched, nor those of a trained task that waits for its
commit, however long.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from apd.errors import ConfigError
from apd.store.attempts import FILES, REFIT, decode_base, decode_candidate, is_of_a_task
from apd.store.blobs import in_parallel
from apd.store.manifest import Version
from apd.store.objects import Listed, fetch_if_there, numbered
from apd.store.stream import Stream
from apd.store.upkeep.reach import Reach

DAY = 86400.0

PROBE = re.compile(r"probes/[0-9a-f]{16}")
"""Keys of probes; what else people keep there is not ours."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a collection would do, or did."""

    kept: tuple[int, ...]
    """Versions that stay whole."""
    collected: tuple[int, ...]
    """Versions of which only the manifest stays, those of earlier collections included."""
    blobs: tuple[Listed, ...]
    """Blobs to remove."""
    others: tuple[str, ...]
    """Keys of old probes and pins, and of attempts that nobody will go on with."""

    @property
    def bytes(self) -> int:
        """What the blobs take up."""
        return sum(blob.size for blob in self.blobs)


def plan_collection(stream: Stream, *, keep: int = 10, grace: float = DAY) -> Plan:
    """What `collect` would remove now. keep: number of newest versions. grace: in seconds."""
    if keep < 1 or grace < 0:
        raise ConfigError(f"keep is {keep} and grace {grace}, but must be at least 1 version and 0 seconds")
    before = stream.objects.clock() - grace
    versions = list(stream.log(newest_first=False))
    marked = stream.marks.collected()
    kept = (_kept(stream, versions, keep, before) & set(range(len(versions)))) - marked.keys()
    others = [version.number for version in versions if version.number not in kept]
    pinned = {number for number in others if _pinned(stream, number, marked, before)}
    return Plan(
        kept=tuple(sorted(kept)),
        collected=tuple(number for number in others if number not in pinned),
        blobs=tuple(_unneeded(stream, versions, kept, pinned, before)),
        others=tuple(_others(stream, versions[-1], before)),
    )


def collect(stream: Stream, *, keep: int = 10, grace: float = DAY) -> Plan:
    """Remove what is not needed; safe beside commits, readers and other collections. Returns what it did."""
    marked = stream.marks.collected()
    for number in plan_collection(stream, keep=keep, grace=grace).collected:
        if number not in marked:
            stream.marks.collect(number)
    plan = plan_collection(stream, keep=keep, grace=grace)
    in_parallel(stream.objects.delete, [*(blob.key for blob in plan.blobs), *plan.others])
    stream.inbox.sweep()
    stream.objects.sweep(stream.objects.clock() - grace)
    return plan


def _kept(stream: Stream, versions: Sequence[Version], keep: int, before: float) -> set[int]:
    written = {number: listed.modified for number, listed in numbered(stream.objects, "versions/").items()}
    newest = {version.number for version in versions[-keep:]}
    recent = {
        version.number
        for version in versions
        if written.get(version.number + 1, before) >= before  # one that is not listed yet is recent
    }
    return newest | recent | _bases(stream)


def _bases(stream: Stream) -> set[int]:
    """Versions on top of which a task is trained."""
    return {decode_base(data, where) for where, data in _attempts(stream, "base.json")}


def _attempts(stream: Stream, name: str) -> Iterator[tuple[str, bytes]]:
    """Full name and content of every attempt's object of that name."""
    keys = [listed.key for listed in stream.objects.list("attempts/") if listed.key.endswith(f"/{name}")]
    for key, data in zip(keys, in_parallel(lambda key: fetch_if_there(stream.objects, key), keys), strict=True):
        if data is not None:
            yield stream.objects.where(key), data


def _pinned(stream: Stream, number: int, marked: dict[int, float], before: float) -> bool:
    """Whether somebody relies on it; a pin cannot be younger than a mark, so old marks need no look."""
    if marked.get(number, before) < before:
        return False
    pinned = stream.marks.pinned_at(number)
    return pinned is not None and pinned >= before


def _unneeded(
    stream: Stream, versions: Sequence[Version], kept: set[int], pinned: set[int], before: float
) -> Iterator[Listed]:
    reach = Reach(stream)
    needed = reach.of_history(versions)
    for number in kept | pinned:
        needed |= reach.of(versions[number], partly=number in pinned)
    for where, data in _attempts(stream, "candidate.json"):
        candidate = decode_candidate(data, where)
        if not versions[-1].is_settled(candidate.arrival):
            needed |= reach.of_candidate(candidate)
    digests = {reference.digest for reference in needed}
    for digest, listed in stream.blobs.stored().items():
        if digest not in digests and listed.modified < before:
            yield listed


def _others(stream: Stream, head: Version, before: float) -> Iterator[str]:
    claimed = {item.key.removeprefix("names/").removesuffix(".json") for item in stream.objects.list("names/")}
    attempts = [item for item in stream.objects.list("attempts/") if _is_over(item.key, head, claimed)]
    probes = [listed for listed in stream.objects.list("probes/") if PROBE.fullmatch(listed.key)]
    for listed in [*probes, *numbered(stream.objects, "pins/").values(), *attempts]:
        if listed.modified < before:
            yield listed.key


def _is_over(key: str, head: Version, claimed: Collection[str]) -> bool:
    """Whether an attempt, once old, is of no use: its task is learned or forgotten, or it was at learning sigma."""
    attempt = key.split("/")[1]
    if not is_of_a_task(attempt):
        return attempt.startswith(REFIT)
    forgotten = attempt not in claimed and key in {f"attempts/{attempt}/{file}" for file in FILES}
    return forgotten or head.has(attempt)
