"""Arriving tasks: the inbox that people write into, and what becomes of each folder in it.

    inbox/<folder>/...            submitted; complete once task.json is there; what else it holds is not kept
    inbox/<folder>/order.<ns>     when it was submitted (`apd.store.submission`)
    tasks/<task>/...              the accepted data
    rejected/<folder>/...         refused data, with reason.json

Accepting goes: claim the name, copy the data, append the arrival (`apd.store.arrivals`), empty the inbox folder. Killed
anywhere, doing it again completes it.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from apd.data import Folder, TaskInfo, measure, read_info
from apd.errors import NotFound, StoreError, TaskRejected
from apd.store.arrivals import Arrivals, fingerprint, taken
from apd.store.blobs import in_parallel
from apd.store.formats import JSON, compact
from apd.store.manifest import now
from apd.store.objects import is_key, shown
from apd.store.progress import Progress, unheard
from apd.store.submission import METADATA, ORDER, ObjectFolder, content, submit, suffixed

SETTLED = "settled.json"
REASON = "reason.json"


class Inbox(Arrivals):
    """The inbox of one stream, and the tasks that were accepted from it."""

    def complete(self) -> list[str]:
        """Folders whose task.json is there, the one completed first first."""
        done = {folder: files for folder, files in self._listed().items() if METADATA in files and SETTLED not in files}
        return sorted(done, key=lambda folder: (done[folder][METADATA], _order(done[folder]), folder))

    def is_complete(self, folder: str) -> bool:
        """Whether the folder still waits to be looked at, and no run has dealt with it meanwhile."""
        settled = self._objects.exists(f"inbox/{folder}/{SETTLED}")
        return not settled and self._objects.exists(f"inbox/{folder}/{METADATA}")

    def incomplete(self) -> list[str]:
        """Folders still being written."""
        return sorted(name for name, files in self._listed().items() if not {METADATA, SETTLED} & files.keys())

    def misnamed(self) -> list[str]:
        """Keys in the inbox that no object of a stream can have; nothing of them is looked at."""
        return sorted(shown(listed.key) for listed in self._objects.list("inbox/") if not is_key(listed.key))

    def links(self) -> list[str]:
        """Keys of symbolic links in an inbox that is a folder: not followed, for what is accepted is removed."""
        return [shown(key) for key in self._objects.links("inbox/")]

    def folder(self, folder: str) -> ObjectFolder:
        """A submitted folder, to read."""
        return ObjectFolder(self._objects, f"inbox/{folder}")

    def submit(self, path: Path, progress: Progress = unheard) -> str:
        """Upload a local task folder, its task.json last; returns the name it has in the inbox.

        Interrupted and done again, it goes on in the same place; another folder's name gets a suffix.
        """
        return submit(self._objects, path, progress)

    def knows(self, name: str) -> bool:
        """Whether a task of that name was accepted, or a folder of that name waits in the inbox."""
        return self.has_claim(name) or self._objects.exists(f"inbox/{name}/{METADATA}")

    def accept(self, folder: str, info: TaskInfo) -> int:
        """Register a validated folder; returns its arrival number, the same one however often it is called.

        Only the files that its task.json names are kept. Raises TaskRejected when the name stands for other data
        already, NotFound when another run deals with the folder at this moment.
        """
        found = content(self._objects, f"inbox/{folder}")
        claim = self._claim(info, _measured(self.folder(folder), info))
        self.require_ahead(info.name)
        data = sorted(set(info.files.values()))
        in_parallel(lambda name: self._objects.copy(f"inbox/{folder}/{name}", f"tasks/{info.name}/{name}"), data)
        self._objects.copy(f"inbox/{folder}/{METADATA}", f"tasks/{info.name}/{METADATA}")
        number = self._append(claim)
        self._empty(folder, found)
        return number

    def check_name(self, folder: Folder, info: TaskInfo) -> None:
        """Raise TaskRejected when the name stands for other data than those in this folder, or cannot come again."""
        claim = self._read_claim(info.name)
        if claim is not None and claim["fingerprint"] != fingerprint(info, _measured(folder, info)):
            raise taken(info.name, claim)
        self.require_ahead(info.name)

    def reject(self, folder: str, reason: str) -> str:
        """Move a folder to the rejected area, with the reason in a file; returns where it is."""
        found = content(self._objects, f"inbox/{folder}")
        place = suffixed(folder) if content(self._objects, f"rejected/{folder}") else folder
        in_parallel(lambda name: self._objects.copy(f"inbox/{folder}/{name}", f"rejected/{place}/{name}"), found)
        described = {"folder": folder, "reason": reason, "rejected": now()}
        self._objects.put(f"rejected/{place}/{REASON}", json.dumps(described, indent=2).encode())
        self._empty(folder, found)
        return self._objects.where(f"rejected/{place}")

    def rejected(self) -> dict[str, str]:
        """Reasons by folder."""
        return {folder: self._reason(f"rejected/{folder}/{REASON}") for folder in self.rejected_folders()}

    def rejected_folders(self) -> list[str]:
        """Their names alone, which takes no reading."""
        paths = [item.key.split("/") for item in self._objects.list("rejected/")]
        return [path[1] for path in paths if path[2:] == [REASON]]

    def _reason(self, key: str) -> str:
        """For people, who may have written it."""
        try:
            return str(json.loads(self._objects.read(key))["reason"])
        except (ValueError, TypeError, KeyError):
            return f"{self._objects.where(key)} gives no reason that can be read"

    def places_of(self, folder: str) -> list[str]:
        """Where something lies under this name that is no task: in the inbox, among the rejected."""
        return [place for place in (f"inbox/{folder}", f"rejected/{folder}") if content(self._objects, place)]

    def withdraw(self, folder: str) -> list[str]:
        """Remove what lies under this name in the inbox and among the rejected; returns where that was.

        Raises NotFound when nothing does, StoreError for a folder whose acceptance has begun: it is a task by now.
        """
        if not is_key(f"inbox/{folder}") or "/" in folder or not (places := self.places_of(folder)):
            raise NotFound(
                f"no folder {shown(folder)!r} is in the inbox of {self._objects.url}, and none of that name was "
                "rejected; `apd tasks` lists those there are"
            )
        self._require_not_begun(folder)
        for place in places:
            names = content(self._objects, place)
            if place.startswith("inbox/"):
                self._empty(folder, names)
                continue
            in_parallel(self._objects.delete, [f"{place}/{name}" for name in names if name != REASON])
            self._objects.delete(f"{place}/{REASON}")  # last: it lists the folder as long as something is there
        return [self._objects.where(place) for place in places]

    def _require_not_begun(self, folder: str) -> None:
        """Raise StoreError when the folder's task has its name already, but no number yet."""
        try:
            name = read_info(self.folder(folder)).name
        except (NotFound, TaskRejected):
            return
        if self.is_begun(name):
            raise StoreError(
                f"the task {name!r} is being accepted, by a run that is under way or by the next one; `apd forget "
                f"{name}` takes it out, then what is left in the inbox can be withdrawn"
            )

    def task_folder(self, name: str) -> ObjectFolder:
        """The accepted data of a task, to read."""
        registration = self.registration(name)
        if not registration.files:
            raise NotFound(f"the data of task {name!r} is not in {self._objects.url}: it was learned from memory")
        return ObjectFolder(self._objects, f"tasks/{name}", list(registration.files))

    def sweep(self) -> None:
        """Empty the folders whose removal was interrupted."""
        for folder, names in self._listed().items():
            if SETTLED in names:
                self._empty(folder, [name for name in names if name != SETTLED])

    def _empty(self, folder: str, names: Iterable[str]) -> None:
        """Remove a folder that has been dealt with; the marker keeps what is left of it from being looked at again."""
        self._objects.put(f"inbox/{folder}/{SETTLED}", compact({"settled": now()}))
        in_parallel(lambda name: self._objects.delete(f"inbox/{folder}/{name}"), names)
        self._objects.delete(f"inbox/{folder}/{SETTLED}")

    def _listed(self) -> dict[str, dict[str, float]]:
        """{folder: {file: modified}} of the inbox, files in its sub-folders included."""
        found: dict[str, dict[str, float]] = {}
        for listed in self._objects.list("inbox/"):
            _, folder, *rest = listed.key.split("/")
            if rest and is_key(listed.key):
                found.setdefault(folder, {})["/".join(rest)] = listed.modified
        return found


def _order(names: Iterable[str]) -> str:
    """When the folder was submitted, by the clock of who did; other uploaders say nothing."""
    return max((name for name in names if name.startswith(ORDER)), default="")


def _measured(folder: Folder, info: TaskInfo) -> dict[str, JSON]:
    """{name: {"size", "sha256"}} of what belongs to a task in its folder."""
    names = sorted({METADATA, *info.files.values()})
    return dict(zip(names, in_parallel(lambda name: measure(folder, name), names), strict=True))
