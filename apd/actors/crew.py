"""Several actors of one kind that share a list of pieces of work."""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import ray

from apd.actors.resources import free, room
from apd.actors.work import result_of, several
from apd.config import ResourceConfig


class Crew:
    """Actors that are there for the time of a `crew` block."""

    def __init__(self, members: Sequence[Any]) -> None:
        self._members = members

    def each(self, method: str, items: Sequence[Any], *arguments: Any) -> Iterator[Any]:
        """`method(item, *arguments)` of every item, dealt out in turn; the results come in the order of the items."""
        shared = [ray.put(argument) for argument in arguments]  # once, however many items there are
        calls = [
            (member, getattr(member, method).remote(item, *shared))
            for item, member in zip(items, itertools.cycle(self._members), strict=False)
        ]
        for member, reference in calls:
            yield result_of(reference, member._actor_id.hex())

    def one(self, method: str, *arguments: Any) -> Any:
        """`method(*arguments)` of the first of them."""
        (first, *_) = self._members
        return result_of(getattr(first, method).remote(*arguments), first._actor_id.hex())


@contextlib.contextmanager
def crew(kind: type, url: str, resources: ResourceConfig, most: int) -> Iterator[Crew]:
    """As many actors as the cluster has room for now, `most` at most and one at least; killed when the block ends.

    Errors are those of `apd.actors.work`; a member that is lost is an error of the call that it had.
    """
    size = max(1, min(most, room(resources), free(resources)))
    with several(kind, url, resources, size) as members:
        yield Crew(members)
