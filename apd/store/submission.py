"""A task folder on its way into the inbox.

inbox/<folder>/submitter      digest of whose folder it is; created once, decides between two of one name
inbox/<folder>/order.<ns>     when: servers tell whole seconds only
inbox/<folder>/task.json      last, so that a folder with it is complete
"""

import os
import platform
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from apd.data import LocalFolder, measure
from apd.errors import AlreadyExists, DataError, NotFound
from apd.store.blobs import in_parallel
from apd.store.formats import compact, digest_of
from apd.store.objects import Objects, check_key, is_key, shown
from apd.store.progress import Meter, Progress

METADATA = "task.json"
ORDER = "order."
SUBMITTER = "submitter"


class ObjectFolder:
    """A task folder in the store, as `apd.data.Folder`."""

    def __init__(self, objects: Objects, prefix: str, names: Sequence[str] | None = None) -> None:
        self._objects = objects
        self._prefix = check_key(prefix)
        self._names = names

    def names(self) -> list[str]:
        """Names of the files directly in it."""
        if self._names is not None:
            return sorted(self._names)
        start = len(self._prefix) + 1
        found = (listed.key[start:] for listed in self._objects.list(self._prefix + "/"))
        return sorted(name for name in found if "/" not in name)

    def open(self, name: str) -> BinaryIO:
        """One file, seekable, to read."""
        return self._objects.open(f"{self._prefix}/{name}")


def submit(objects: Objects, path: Path, progress: Progress) -> str:
    """See `Inbox.submit`."""
    place = Path(os.path.abspath(path))  # the working folder has a name, too
    sizes = {file.name: file.stat().st_size for file in place.iterdir() if file.is_file()}
    if METADATA not in sizes:
        raise DataError(f"{path} has no {METADATA}; `apd pack` makes a task folder with one")
    for name in (place.name, *sizes):
        if not is_key(name):
            raise DataError(f"{shown(name)!r} in {shown(str(path))} cannot be the name of an object; rename it")
    folder = place.name if _is_free(objects, place) else suffixed(place.name)
    meter = Meter(sum(sizes.values()), progress)

    def upload(name: str) -> None:
        objects.upload(place / name, f"inbox/{folder}/{name}", meter.moved)

    in_parallel(upload, sorted(sizes.keys() - {METADATA}))
    objects.put(f"inbox/{folder}/{ORDER}{time.time_ns():020d}", b"submitted")
    upload(METADATA)
    return folder


def content(objects: Objects, folder: str) -> list[str]:
    """Names in a folder of an area, those in its sub-folders included."""
    return [listed.key.removeprefix(f"{folder}/") for listed in objects.list(f"{folder}/") if is_key(listed.key)]


def _is_free(objects: Objects, path: Path) -> bool:
    """Whether the folder may go to the place of its name.

    All that is there must be of these very files, and nobody else on the way there. Sizes are often equal.
    """
    target = f"inbox/{path.name}"
    mine, there = LocalFolder(path), ObjectFolder(objects, target)
    names = [name for name in content(objects, target) if name != SUBMITTER and not name.startswith(ORDER)]
    try:
        if not set(names) <= set(mine.names()) or any(measure(mine, name) != measure(there, name) for name in names):
            return False
        objects.create(f"{target}/{SUBMITTER}", digest_of(compact([platform.node(), str(path)])).encode())
    except AlreadyExists:
        return METADATA in names  # these files, from elsewhere
    except NotFound:
        return False  # a run is emptying the place at this moment
    return True


def suffixed(folder: str) -> str:
    """A name that nothing has, for a folder whose own is taken."""
    return f"{folder}.{secrets.token_hex(4)}"
