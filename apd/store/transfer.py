"""A stream as a whole, from one place to another."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apd.errors import AlreadyExists
from apd.store.blobs import in_parallel
from apd.store.connect import connect
from apd.store.objects import Objects, is_key
from apd.store.progress import Meter, Progress, unheard
from apd.store.stream import CONFIG, Stream

WHOLE = 2**26
"""Bytes of an object that is held in memory on its way; larger ones go through a file."""


def copy_stream(
    stream: Stream, url: str, storage_options: Mapping[str, Any] | None = None, progress: Progress = unheard
) -> Stream:
    """Copy everything that a stream holds to an empty place and open it there; what the source has stays.

    An interrupted copy is no stream yet, and doing it again completes it. Raises AlreadyExists when the place holds
    anything that the source does not.
    """
    source, target = stream.objects, connect(url, storage_options)
    listed = _everything(source)
    strange = sorted({found.key for found in target.list("")} - set(listed))
    if target.exists(CONFIG) or strange:
        raise AlreadyExists(f"{target.url} holds {strange[0] if strange else CONFIG} already; choose an empty place")
    target.require_put_if_absent()
    copy_objects(source, target, {key: size for key, size in listed.items() if key != CONFIG}, progress)
    target.create(CONFIG, source.read(CONFIG))
    return Stream.open(url, storage_options=storage_options)


def _everything(source: Objects) -> dict[str, int]:
    """Sizes by key; versions are listed before what they refer to, so that nothing of a listed one is missing.

    What lies in the inbox under a name that no object can have stays there.
    """
    versions = {item.key: item.size for item in source.list("versions/")}
    others = (item for item in source.list("") if not item.key.startswith("versions/"))
    return versions | {item.key: item.size for item in others if is_key(item.key)}


def copy_objects(source: Objects, target: Objects, sizes: Mapping[str, int], progress: Progress = unheard) -> None:
    """Copy these objects (bytes by key), some at a time; `progress` hears of each that has arrived."""
    meter = Meter(sum(sizes.values()), progress)

    def copy(key: str) -> None:
        copy_object(source, target, key)
        meter.moved(sizes[key])

    in_parallel(copy, sizes)


def copy_object(source: Objects, target: Objects, key: str) -> None:
    """One object of any size, through this machine."""
    if 0 < source.stat(key).size <= WHOLE:  # a stream writes no empty object, but keeps those that people gave it
        target.put(key, source.read(key))
        return
    with tempfile.NamedTemporaryFile() as file:
        with source.open(key) as data:
            shutil.copyfileobj(data, file)
        file.flush()
        target.upload(Path(file.name), key)
