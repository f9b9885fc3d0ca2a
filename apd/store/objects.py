"""Named byte strings in one place: what the store asks of a folder or a bucket, and nothing more.

An object is written whole, read whole, and never empty (some servers treat an empty conditional write as
unconditional). Only `create` decides anything: it is the put-if-absent on which every commit rests. Nothing here
depends on a listing being fresh; `list` serves people, garbage collection and the inbox.
"""

import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from apd.errors import AlreadyExists, ConfigError, NotFound, StoreError, UnsafeStore
from apd.store.progress import Moved, unheard

RACERS = 8
"""Writers of one name at once in the start-up probe; a server that lets several win is caught only by a race."""
ROUNDS = 3
"""Races of the start-up probe."""
PROTOCOLS = ("file", "s3", "memory")
"""What a URL may begin with; elsewhere nobody has seen that put-if-absent decides."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of a listing."""

    key: str
    size: int
    modified: float
    """Seconds since 1970 by the clock of whoever stores the object."""


class Objects(ABC):
    """A flat namespace of objects below one URL. Keys are relative, separated by `/`."""

    url: str

    @abstractmethod
    def read(self, key: str) -> bytes:
        """The whole object in one request. Raises NotFound."""

    @abstractmethod
    def create(self, key: str, data: bytes) -> None:
        """Put if absent: afterwards the object holds `data`, or AlreadyExists says that it holds something else.

        Writing the same bytes again is no error, so a write whose answer was lost can be repeated.
        """

    @abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """Write whole and at once, whatever was there."""

    @abstractmethod
    def stat(self, key: str) -> Listed:
        """Size and age of one object, which is not fetched. Raises NotFound."""

    def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        try:
            return bool(self.stat(key))
        except NotFound:
            return False

    @abstractmethod
    def list(self, prefix: str) -> Iterator[Listed]:
        """Every object whose key begins with `prefix`, which ends with `/` or is empty; possibly out of date."""

    def links(self, prefix: str) -> Sequence[str]:
        """Keys of what stands for folders that lie elsewhere, which nothing of a stream does; a bucket has none."""
        return []

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove the object; no error when it is gone already."""

    @abstractmethod
    def copy(self, source: str, target: str) -> None:
        """Copy within the store without moving the bytes through this machine; replaces `target`."""

    @abstractmethod
    def upload(self, file: Path, key: str, moved: Moved = unheard) -> None:
        """Write a file of any size; `moved` is told of every piece."""

    @abstractmethod
    def open(self, key: str) -> BinaryIO:
        """A seekable reader that fetches as it goes. Raises NotFound."""

    @abstractmethod
    def sweep(self, before: float) -> int:
        """Remove what writers that died before that time left half-written; returns how many."""

    def clock(self) -> float:
        """The time by which the store dates its objects, in seconds since 1970; this machine's clock may differ."""
        key = f"probes/{secrets.token_hex(8)}"
        self.put(key, b"clock")
        moment = self.stat(key).modified
        self.delete(key)
        return moment

    def where(self, key: str) -> str:
        """The object's full name, for people."""
        return f"{self.url}/{key}"

    def require_put_if_absent(self) -> None:
        """Race writers for one name and raise UnsafeStore unless exactly one wins, every time."""
        for _ in range(ROUNDS):
            self._race(f"probes/{secrets.token_hex(8)}")

    def _race(self, key: str) -> None:
        offers = [f"racer {number} {secrets.token_hex(8)}".encode() for number in range(RACERS)]
        with ThreadPoolExecutor(RACERS) as racers:
            won = list(racers.map(lambda offer: self._wins(key, offer), offers))
        kept = self.read(key)
        self.delete(key)
        if sum(won) != 1 or kept != offers[won.index(True)]:
            raise UnsafeStore(
                f"{self.url} does not honour put-if-absent: {sum(won)} of {RACERS} writers of one new name were told "
                "that they created it, where exactly one must be; two committers would overwrite each other. Use a "
                "server that implements If-None-Match on PutObject, in a bucket without versioning"
            )

    def _wins(self, key: str, offer: bytes) -> bool:
        try:
            self.create(key, offer)
        except AlreadyExists:
            return False
        return True


def is_key(key: str) -> bool:
    """Whether an object may have this key: it would not leave the prefix, nor be changed on the way."""
    odd = any(part in ("", ".", "..") for part in key.split("/"))
    return not odd and "\\" not in key and "\0" not in key and shown(key) == key


def check_key(key: str) -> str:
    """The key itself; raises StoreError for one that no object may have."""
    if not is_key(key):
        raise StoreError(
            f"{shown(key)!r} is no key of an object: its parts are separated by single /, none is . or .., and it is "
            "text without backslashes"
        )
    return key


def shown(key: str) -> str:
    """A key for people; a folder may hold names that are no text."""
    return key.encode(errors="backslashreplace").decode()


def check_data(key: str, data: bytes) -> None:
    """Raise StoreError for an empty object."""
    if not data:
        raise StoreError(f"refusing to write the empty object {key}: conditional writes of empty objects are not safe")


def protocol_of(url: str) -> str:
    """`file`, `s3`, `memory`, ..."""
    return url.partition("://")[0].lower() if "://" in url else "file"


def is_local(url: str) -> bool:
    """Whether only this machine can see it."""
    return protocol_of(url) in ("file", "memory")


def normal_url(url: str | os.PathLike[str]) -> str:
    """One spelling per place: an absolute path for a folder, no trailing slash. Raises ConfigError for other places.

    `file:///my%20folder` is the folder `/my folder`, as everywhere; in a path without `file://`, `%` is a character.
    """
    try:
        given = os.fsdecode(url)
    except TypeError:
        raise ConfigError(
            f"{url!r} is no place for a stream; give text or a path, not a {type(url).__name__}"
        ) from None
    if not given:
        raise ConfigError("the stream's URL is empty; give a folder or s3://bucket/prefix")
    scheme, _, place = given.partition("://")
    nowhere = given.lower().startswith("s3:") and not place.strip("/")
    if protocol_of(given) not in PROTOCOLS or nowhere or "\0" in unquote(given):
        raise ConfigError(f"{given!r} is no place for a stream; give a folder or s3://bucket/prefix")
    if given.lower().startswith("file:"):
        return _folder_of(given)
    if protocol_of(given) == "file":
        return os.path.abspath(os.path.expanduser(given))
    return f"{scheme.lower()}://{place.rstrip('/')}"


def _folder_of(file_url: str) -> str:
    """The folder of a `file://` URL, which must be on this machine."""
    _, two_slashes, place = file_url.partition("://")
    host, slash, path = place.partition("/")
    if not (two_slashes and slash and host.lower() in ("", "localhost")):
        raise ConfigError(
            f"{file_url!r} is no place for a stream; a file URL must read file:///path/of/a/folder, without a host "
            "other than localhost"
        )
    return os.path.abspath(f"/{unquote(path, errors='surrogateescape')}")


def stream_name(url: str) -> str:
    """What people see: `shoes` of the folder `/data/shoes`, `shoes-stream` of `s3://shoes/stream`.

    In buckets whole paths, for there the last part is often the same, and one Prefect server may show many streams.
    """
    place = normal_url(url)
    parts = place.partition("://")[2].split("/")
    return place.rsplit("/", 1)[-1] if is_local(place) else "-".join(part for part in parts if part)


def number_in(area: str, key: str) -> int | None:
    """12 of `<area>00000012.json`; None of any other key."""
    name = key.removeprefix(area).removesuffix(".json")
    return int(name) if name.isdecimal() and key == f"{area}{int(name):08d}.json" else None


def numbered(objects: Objects, area: str) -> dict[int, Listed]:
    """The numbered objects of an area; what else people keep there is not ours."""
    listing = ((number_in(area, listed.key), listed) for listed in objects.list(area))
    return {number: listed for number, listed in listing if number is not None}


def fetch_if_there(objects: Objects, key: str) -> bytes | None:
    """The object, or None when there is none."""
    try:
        return objects.read(key)
    except NotFound:
        return None
