"""From a URL to its objects."""

import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from typing import Any

from apd.store.local import LocalObjects
from apd.store.objects import Objects, normal_url, protocol_of

_temporary: weakref.WeakValueDictionary[str, LocalObjects] = weakref.WeakValueDictionary()
"""Temporary folders of this process that are in use."""


def connect(url: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None) -> Objects:
    """The objects below a folder, `s3://bucket/prefix` or `memory://name`; `storage_options` go to fsspec."""
    place = normal_url(url)
    if protocol_of(place) == "file":
        return _temporary.get(place) or LocalObjects(place)
    from apd.store.remote import RemoteObjects  # half a second of imports that a folder does not need

    return RemoteObjects(place, storage_options or {})


def temporary_folder() -> Objects:
    """Objects in a new temporary folder, removed when nothing in this process refers to them or it ends.

    `connect` to the same folder gives the same object, so a stream that is opened there again, such as a copy, keeps
    the folder too.
    """
    objects = LocalObjects(normal_url(tempfile.mkdtemp(prefix="apd-")))
    weakref.finalize(objects, _remove_own, objects.url, os.getpid())
    _temporary[objects.url] = objects
    return objects


def _remove_own(folder: str, process: int) -> None:
    """Remove a folder that this process made; the end of a forked one leaves it to its parent."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def make_bucket(url: str, storage_options: Mapping[str, Any] | None = None) -> None:
    """Make the bucket of an `s3://bucket/prefix` URL; nothing happens when it is there. Raises Unreachable."""
    from apd.store.remote import RemoteObjects

    RemoteObjects(normal_url(url), storage_options or {}).make_bucket()
