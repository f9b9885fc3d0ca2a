"""From a URL to its objects."""

from collections.abc import Mapping
from typing import Any

from apd.store.local import LocalObjects
from apd.store.objects import Objects, normal_url, protocol_of


def connect(url: str, storage_options: Mapping[str, Any] | None = None) -> Objects:
    """The objects below a folder, `s3://bucket/prefix` or `memory://name`; `storage_options` go to fsspec."""
    if protocol_of(url) == "file":
        return LocalObjects(normal_url(url))
    from apd.store.remote import RemoteObjects  # half a second of imports that a folder does not need

    return RemoteObjects(normal_url(url), storage_options or {})


def make_bucket(url: str, storage_options: Mapping[str, Any] | None = None) -> None:
    """Make the bucket of an `s3://bucket/prefix` URL; nothing happens when it is there. Raises Unreachable."""
    from apd.store.remote import RemoteObjects

    RemoteObjects(normal_url(url), storage_options or {}).make_bucket()
