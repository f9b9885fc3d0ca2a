"""A stream of its own that begins as a copy of another at one of its versions."""

import secrets
from collections.abc import Collection, Mapping, Set
from typing import Any

from apd.config import to_json
from apd.errors import AlreadyExists
from apd.store.arrivals import arrival_key, claim_key
from apd.store.blobs import Blobs, key_of
from apd.store.connect import connect
from apd.store.evaluations import Measurements
from apd.store.formats import encode_document
from apd.store.history import HINT, History, version_key
from apd.store.manifest import Version, now
from apd.store.marks import Marks
from apd.store.objects import Objects
from apd.store.progress import Progress, unheard
from apd.store.records import Records
from apd.store.stream import CONFIG, Stream
from apd.store.transfer import copy_objects
from apd.store.upkeep.reach import Reach
from apd.store.upkeep.rollback import left_of


def fork(
    stream: Stream,
    number: int,
    url: str,
    *,
    storage_options: Mapping[str, Any] | None = None,
    progress: Progress = unheard,
) -> Stream:
    """Copy version `number` with its history, arrivals and data to an empty place, which then goes its own way.

    Of older versions only the manifests are copied: in the fork they count as collected. Where tasks of the version
    were forgotten since, the fork's newest version is another one, without them. Its configuration, written last, makes
    it a stream; interrupted before that, the same fork can be started again. Raises AlreadyExists when there is
    anything else.
    """
    version = stream.version(number)
    stream.marks.pin(number)
    target, gone = connect(url, storage_options), stream.forgotten_since(version)
    if target.exists(CONFIG):
        raise AlreadyExists(f"there is a stream in {target.url} already; fork to another place")
    keys = _keys(stream, version)
    _check_free(target, {*keys, HINT, version_key(number + 1)} if gone else set(keys))
    target.require_put_if_absent()
    sizes = {listed.key: listed.size for listed in stream.objects.list("")}
    copy_objects(stream.objects, target, {key: sizes.get(key, 0) for key in keys}, progress)
    head = _without(target, version, gone) if gone else version
    marks = Marks(target)
    for older in range(head.number):
        marks.collect(older)
    origin = {"url": stream.url, "version": number}
    body = {"config": to_json(stream.config), "created": now(), "id": secrets.token_hex(16), "forked_from": origin}
    target.create(CONFIG, encode_document("stream", body))
    return Stream.open(url, storage_options=storage_options)


def _check_free(target: Objects, keys: Set[str]) -> None:
    """Raise AlreadyExists for what this fork would not write itself; what it leaves behind when interrupted may stay.

    Blobs of another version do no harm: nothing names them.
    """
    for listed in target.list(""):
        if listed.key not in keys and not listed.key.startswith(("blobs/", "collected/", "probes/")):
            raise AlreadyExists(
                f"{target.url} holds {listed.key} already, as an interrupted fork of another version leaves it; "
                "fork to another place"
            )


def _without(target: Objects, version: Version, gone: Collection[str]) -> Version:
    """The version of the fork that follows on the one it was made of, without the tasks that were forgotten since."""
    blobs = Blobs(target)
    history, lost = History(target, blobs), {(name, version.entry(name).arrival) for name in gone}
    target.delete(version_key(version.number + 1))  # as an interrupted try has made it
    following = left_of(Records(blobs), version, version, lost, secrets.token_hex(16))
    return history.append(following, version)


def _keys(stream: Stream, version: Version) -> list[str]:
    """Everything the fork consists of."""
    reach = Reach(stream)
    history = [stream.version(number) for number in range(version.number + 1)]
    blobs = {reference.digest for reference in reach.of(version) | reach.of_history(history)}
    manifests = [version_key(number) for number in range(version.number + 1)]
    evaluations = [Measurements(stream.objects, "evaluation").key(entry.theta_key) for entry in version.entries]
    comparisons = [Measurements(stream.objects, "comparison").key(entry.name) for entry in version.entries]
    optional = [key for key in [*evaluations, *comparisons] if stream.objects.exists(key)]
    tombs = [listed.key for listed in stream.objects.list("forgotten/")]
    return [*map(key_of, sorted(blobs)), *_arrivals(stream, version), *optional, *tombs, *manifests]


def _arrivals(stream: Stream, version: Version) -> list[str]:
    """Arrivals up to the last one the version has settled, with names and data; later ones are not the fork's."""
    last = max(version.watermark, *version.settled, 0)
    keys = [arrival_key(number) for number in range(1, last + 1)]
    for arrival in stream.inbox.arrivals(1, last):
        if stream.inbox.stands_for(arrival.task, arrival.number):
            keys += [claim_key(arrival.task), *(f"tasks/{arrival.task}/{file}" for file in arrival.files)]
    return keys
