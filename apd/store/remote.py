"""Objects in a bucket, through fsspec: S3 and what speaks like it (s3fs), and fsspec's memory for tests.

Credentials, endpoint, region and path style come from the standard AWS environment or from `storage_options`, which
go to s3fs as they are. How servers answer a lost put-if-absent differs, so `create` goes by the HTTP status, then
reads what is there: the same bytes mean that this very write had arrived and only its answer was lost.
"""

import contextlib
import io
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, cast

import aiohttp
import fsspec
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

from apd.errors import AlreadyExists, ConfigError, NotFound, StoreError, Unreachable
from apd.store.objects import Listed, Objects, check_data, check_key, protocol_of
from apd.store.progress import Moved, unheard

FAULTS = (OSError, BotoCoreError, ClientError, aiohttp.ClientError, ValueError)
"""What s3fs raises when a request fails for good, its own retries included; ValueError for an endpoint that is none."""

CONFLICTS = (409, 412)
"""412: the name is taken. 409: another conditional write of it is under way."""

PATIENCE = 10
"""Times a create is sent while the server answers 409 and there is nothing under the name."""

LARGEST_CREATE = 32 * 2**20
"""Bytes. s3fs sends what is larger than its chunks of 50 MiB in parts, and then drops the condition silently."""

S3_DEFAULTS: dict[str, Any] = {
    "use_listings_cache": False,
    "config_kwargs": {"connect_timeout": 10, "read_timeout": 30, "retries": {"mode": "standard", "max_attempts": 3}},
}
"""Unless storage_options say otherwise."""

READ_AHEAD = 4 * 2**20
"""Bytes that an open object fetches ahead. With s3fs's own 50 MiB reading a task of 300 MB took 520 MiB, and no less
time than with these, which take 35 MiB."""

CREDENTIALS = (
    "check the AWS credentials in the environment or in storage_options: a session token may have expired, they may "
    "allow reading and not writing, and they must allow s3:ListBucket too, without which an object that is not there "
    "is called forbidden"
)

ENDPOINT = "check that the server runs and that AWS_ENDPOINT_URL, http://... or https://..., is its address"

S3FS_RETRIES = 2
"""Of s3fs, around those of botocore, and for reads around its own: with its 5, a server that drops connections is asked
200 times, for two minutes, before anybody is told."""

_memory_lock = threading.Lock()
"""fsspec's memory looks and then writes; between threads that needs a lock."""


@lru_cache
def _file_system(protocol: str, options: str, environment: tuple[str, ...], process: int) -> Any:
    """One connection per place, shared by all streams and threads of a process: a new one costs half a second."""
    settings = (S3_DEFAULTS if protocol == "s3" else {}) | json.loads(options)
    try:
        files = fsspec.filesystem(protocol, skip_instance_cache=True, **settings)
    except (ImportError, ValueError, TypeError) as error:
        raise ConfigError(f"{protocol}:// cannot be used with these storage_options: {error}") from error
    if protocol == "s3":
        files.retries = S3FS_RETRIES
    return files


def _aws_environment() -> tuple[str, ...]:
    return tuple(sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith("AWS_")))


class RemoteObjects(Objects):
    """A key is an object's name below the URL's prefix."""

    def __init__(self, url: str, storage_options: Mapping[str, Any]) -> None:
        self.url = url
        self._protocol = protocol_of(url)
        self._options = json.dumps(dict(storage_options), sort_keys=True)
        self._root = self._files._strip_protocol(url)

    @property
    def _files(self) -> Any:
        """The file system: one per process, since s3fs does not survive a fork."""
        return _file_system(self._protocol, self._options, _aws_environment(), os.getpid())

    def make_bucket(self) -> None:
        """Nothing happens when it is there."""
        with self._writing(""):
            self._files.makedirs(self._root.split("/")[0], exist_ok=True)

    def read(self, key: str) -> bytes:
        """One GET."""
        # with more than one connection s3fs asks for the size first: two requests, which may see two objects
        single = {"max_concurrency": 1} if self._protocol == "s3" else {}
        with self._reading(key):
            return bytes(self._files.cat_file(self._path(key), **single))

    def create(self, key: str, data: bytes) -> None:
        """One conditional PUT; when refused, a GET tells a lost race from a lost answer."""
        check_data(key, data)
        if len(data) > LARGEST_CREATE:
            raise StoreError(
                f"{self.where(key)} has {len(data):,} bytes, more than the {LARGEST_CREATE:,} that are created at "
                "once: larger objects go in parts, and their condition is not kept"
            )
        for attempt in range(PATIENCE):
            if self._created(key, data):
                return
            try:
                found = self.read(key)
            except NotFound:  # the other writer of a 409 has not finished, or failed
                time.sleep(0.05 * attempt)
                continue
            if found == data:
                return
            raise AlreadyExists(f"{self.where(key)} already exists and holds something else")
        raise Unreachable(f"{self.where(key)} was refused {PATIENCE} times as conflicting, yet there is no such object")

    def _created(self, key: str, data: bytes) -> bool:
        with self._writing(key):
            try:
                with _memory_lock if self._protocol == "memory" else contextlib.nullcontext():
                    self._files.pipe_file(self._path(key), data, mode="create")
            except FileExistsError:
                return False
            except FAULTS as error:
                if status_of(error) in CONFLICTS:
                    return False
                raise
        return True

    def put(self, key: str, data: bytes) -> None:
        """One PUT, in parts when it is large."""
        check_data(key, data)
        with self._writing(key):
            self._files.pipe_file(self._path(key), data)

    def stat(self, key: str) -> Listed:
        """One HEAD; s3fs's own ways to ask also list."""
        path = self._path(key)
        with self._reading(key):
            if self._protocol != "s3":
                info = self._files.info(path)
                return Listed(key, info["size"], _modified(info))
            bucket, name, _ = self._files.split_path(path)
            head = self._files.call_s3("head_object", Bucket=bucket, Key=name)
            return Listed(key, head["ContentLength"], _modified(head))

    def list(self, prefix: str) -> Iterator[Listed]:
        """A listing, by pages of a thousand.

        Where s3fs finds nothing it looks again, for an object of the folder's name, and may then call a folder that
        came to be meanwhile an object. And consoles keep folders as empty objects whose names end with a slash.
        """
        start = f"{self._root}/{check_key(prefix.rstrip('/'))}" if prefix else self._root
        with self._reading(prefix):
            found = self._files.find(start, detail=True)
        for path, info in sorted(found.items()):
            if path.startswith(f"{start}/") and not path.endswith("/"):
                yield Listed(path[len(self._root) + 1 :], info["size"], _modified(info))

    def delete(self, key: str) -> None:
        """One DELETE."""
        with self._writing(key), contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._path(key))

    def copy(self, source: str, target: str) -> None:
        """On the server."""
        with self._reading(source):
            self._files.cp_file(self._path(source), self._path(target))

    def upload(self, file: Path, key: str, moved: Moved = unheard) -> None:
        """One PUT, in parts when it is large; parts become visible together."""
        with self._writing(key):
            self._files.put_file(str(file), self._path(key), callback=_Pieces(moved))

    def open(self, key: str) -> BinaryIO:
        """Reads by ranges, ahead of the caller; raises NotFound and Unreachable later, too."""
        if self._protocol == "memory":  # where all readers of an object would share one position
            return io.BytesIO(self.read(key))
        with self._reading(key):
            file = self._files.open(self._path(key), "rb", block_size=READ_AHEAD)
        return cast(BinaryIO, _Reader(file, lambda: self._reading(key)))

    def sweep(self, before: float) -> int:
        """Abort old uploads in parts, which are kept and paid for until somebody does."""
        if self._protocol != "s3":
            return 0
        bucket, prefix, _ = self._files.split_path(self._root + "/")
        with self._writing(""):
            found = self._files.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix).get("Uploads", [])
            old = [upload for upload in found if upload["Initiated"].timestamp() < before]
            for upload in old:
                self._files.call_s3(
                    "abort_multipart_upload", Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                )
        return len(old)

    def _path(self, key: str) -> str:
        return f"{self._root}/{check_key(key)}"

    @contextlib.contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        """What is not there is not found; anything else that fails makes the store unreachable."""
        try:
            yield
        except FileNotFoundError as error:
            raise NotFound(f"there is no {self.where(key)} ({_reason(error)})") from None
        except FAULTS as error:
            raise Unreachable(f"{self.where(key)} cannot be read: {_reason(error)}") from error

    @contextlib.contextmanager
    def _writing(self, key: str) -> Iterator[None]:
        """What is not found here is the bucket."""
        try:
            yield
        except FAULTS as error:
            raise Unreachable(f"{self.where(key)} cannot be written: {_reason(error)}") from error


class _Reader(io.RawIOBase):
    """A file of fsspec's whose requests, which come with its reads, fail as ours do."""

    def __init__(self, file: Any, reading: Callable[[], AbstractContextManager[None]]) -> None:
        self._file = file
        self._reading = reading

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return int(self._file.tell())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def read(self, size: int = -1) -> bytes:
        with self._reading():
            return bytes(self._file.read(size))

    def close(self) -> None:
        self._file.close()
        super().close()


class _Pieces(fsspec.Callback):  # type: ignore[misc]
    """Hands on what fsspec says while it uploads."""

    def __init__(self, moved: Moved) -> None:
        super().__init__()
        self._moved = moved

    def relative_update(self, inc: int = 1) -> None:
        self._moved(inc)


def status_of(error: BaseException) -> int | None:
    """HTTP status behind an error of s3fs, where a server answered at all."""
    status = _answer(error).get("ResponseMetadata", {}).get("HTTPStatusCode")
    return int(status) if status else None


def _answer(error: BaseException) -> Mapping[str, Any]:
    """What the server said, as botocore read it; empty where it said nothing."""
    return getattr(error, "response", None) or getattr(error.__cause__, "response", None) or {}


def _reason(error: BaseException) -> str:
    status, code = status_of(error), _answer(error).get("Error", {}).get("Code", "")
    text = str(error)
    if text in ("", "None"):  # Ceph gives some errors no message
        text = f"the server answered {status} {code}" if status else type(error).__name__
    if code == "RequestTimeTooSkewed":
        return f"{text}; this machine's clock and the server's differ too much: set them right"
    if code == "NoSuchBucket":
        return f"{text}; make the bucket first, or correct the URL"
    if isinstance(error, ValueError) or "endpoint" in text:
        return f"{text}; {ENDPOINT}"
    if status in (401, 403) or isinstance(error, PermissionError) or "credentials" in text.lower():
        return f"{text}; {CREDENTIALS}"
    return text


def _modified(info: Mapping[str, Any]) -> float:
    moment = info.get("LastModified") or info.get("created")
    return moment.timestamp() if isinstance(moment, datetime) else float(moment or 0.0)
