"""Objects as files in a folder."""

import contextlib
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from apd.errors import AlreadyExists, NotFound, Unreachable
from apd.store.objects import Listed, Objects, check_data, check_key
from apd.store.progress import Moved, unheard

PIECE = 2**22
"""Bytes that are copied at a time."""

STAGING = ".staging"
"""Folder for half-written files, inside the store so that it is on the same file system."""


class LocalObjects(Objects):
    """A key is a path below the folder.

    A file becomes visible under its name only when it is whole and on disk: it is written and synced in `.staging`,
    then linked (create) or renamed (put).
    """

    def __init__(self, folder: str) -> None:
        self.url = folder
        self.root = Path(folder)

    def read(self, key: str) -> bytes:
        """From the file."""
        with self._reading(key):
            return self._path(key).read_bytes()

    def create(self, key: str, data: bytes) -> None:
        """Write aside, then link to the name, which fails where the name is taken."""
        check_data(key, data)
        path = self._path(key)
        with self._writing(key), self._staged(path, data) as staged:
            try:
                os.link(staged, path)
            except FileExistsError:
                if path.read_bytes() != data:
                    raise AlreadyExists(f"{path} already exists and holds something else") from None
            sync_folder(path.parent)

    def put(self, key: str, data: bytes) -> None:
        """Write aside, then rename over the name."""
        check_data(key, data)
        path = self._path(key)
        with self._writing(key), self._staged(path, data) as staged:
            staged.replace(path)
            sync_folder(path.parent)

    def stat(self, key: str) -> Listed:
        """Of the file."""
        with self._reading(key):
            status = self._path(key).stat()
        return Listed(key, status.st_size, status.st_mtime)

    def list(self, prefix: str) -> Iterator[Listed]:
        """Walk the folder, names in order."""
        start = self._path(prefix.rstrip("/")) if prefix else self.root
        for folder, folders, files in os.walk(start):
            folders[:] = sorted(name for name in folders if name != STAGING)
            for name in sorted(files):
                path = Path(folder, name)
                with contextlib.suppress(FileNotFoundError):  # deleted since the folder was read
                    status = path.stat()
                    yield Listed(path.relative_to(self.root).as_posix(), status.st_size, status.st_mtime)

    def links(self, prefix: str) -> Sequence[str]:
        """Symbolic links to folders, directly under the prefix: `list` does not follow them."""
        folder = self._path(prefix.rstrip("/"))
        found = folder.iterdir() if folder.is_dir() else ()
        return sorted(f"{prefix}{path.name}" for path in found if path.is_symlink() and path.is_dir())

    def delete(self, key: str) -> None:
        """Unlink the file."""
        path = self._path(key)
        with self._writing(key):
            path.unlink(missing_ok=True)

    def copy(self, source: str, target: str) -> None:
        """The bytes, not another link: whoever wrote the source may still have it open."""
        if not self._path(source).is_file():
            raise NotFound(f"there is no {self._path(source)}")
        self.upload(self._path(source), target)

    def upload(self, file: Path, key: str, moved: Moved = unheard) -> None:
        """Copy aside, then rename."""
        path = self._path(key)
        with self._writing(key), self._staging(path) as staged:
            with file.open("rb") as source, staged.open("xb") as target:
                while piece := source.read(PIECE):
                    target.write(piece)
                    moved(len(piece))
            sync_file(staged)
            staged.replace(path)
            sync_folder(path.parent)

    def open(self, key: str) -> BinaryIO:
        """The file itself."""
        with self._reading(key):
            return self._path(key).open("rb")

    def sweep(self, before: float) -> int:
        """Remove old files from the staging folder; writers take theirs away at any moment."""
        folder, removed = self.root / STAGING, 0
        for path in folder.iterdir() if folder.is_dir() else ():
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    path.unlink()
                    removed += 1
        return removed

    def where(self, key: str) -> str:
        """Its path."""
        return str(self.root / key)

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    @contextlib.contextmanager
    def _staged(self, path: Path, data: bytes) -> Iterator[Path]:
        with self._staging(path) as staged:
            with staged.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield staged

    @contextlib.contextmanager
    def _staging(self, path: Path) -> Iterator[Path]:
        """A fresh name on the same file system, removed afterwards; `path` gets its folder."""
        staged = self.root / STAGING / secrets.token_hex(16)
        for folder in (staged.parent, path.parent):
            self._make(folder)
        try:
            yield staged
        finally:
            staged.unlink(missing_ok=True)

    def _make(self, folder: Path) -> None:
        """A folder that cannot be made is out of reach, whatever is missing or in the way."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unreachable(f"{folder} cannot be made: {error.strerror}") from error

    @contextlib.contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        """What is not there is not found; anything else that fails makes the store unreachable."""
        path = self.root / key
        try:
            yield
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"there is no {path}") from None
        except OSError as error:
            raise Unreachable(f"{path} cannot be read: {error.strerror or error}") from error

    @contextlib.contextmanager
    def _writing(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Unreachable(f"{self.root / key} cannot be written: {error.strerror or error}") from error


def sync_file(path: Path) -> None:
    """Make the file's content survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


sync_folder = sync_file
"""Make the names in a folder survive a power cut."""
