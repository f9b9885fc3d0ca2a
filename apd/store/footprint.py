"""How many bytes a model takes in a store, without a store."""

from collections.abc import Sequence

from apd.decomposition import add_masks
from apd.errors import NotFound
from apd.state import TaskState, Tensors
from apd.store.blobs import Blobs
from apd.store.formats import digest_of
from apd.store.manifest import SigmaRef
from apd.store.records import Owner, Records

COMMIT = "0" * 32
"""As long as a commit's id."""


class _Kept(Blobs):
    """Blobs in memory."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}

    def write(self, data: bytes) -> str:
        digest = digest_of(data)
        self.contents[digest] = data
        return digest

    def read(self, digest: str) -> bytes:
        if digest not in self.contents:
            raise NotFound(f"there is no blob {digest}")
        return self.contents[digest]

    def where(self, digest: str) -> str:
        return f"blob {digest} in memory"


def footprint(tasks: Sequence[TaskState], sigma: Tensors, origin: Tensors) -> int:
    """Bytes of all blobs that a stream with these tasks keeps, so that they predict and the next task can be learned.

    tasks: one or more, in order of arrival, each relative to the sigma it is stored with. sigma: the newest. origin:
    the first task's sigma when it was learned, of which a stream keeps the others' differences.
    """
    blobs = _Kept()
    records = Records(blobs)
    pull: Tensors = {}
    near = records.sigmas.write(origin, {"commit": COMMIT})
    references = {id(origin): near}
    for arrival, task in enumerate(tasks, 1):
        near = _sigma(records, task.sigma, references, near)
        records.write_task(task, near, Owner(task.name, arrival, COMMIT), None, {}, {})
        pull = add_masks(pull, task.mask_logits)
    _sigma(records, sigma, references, near)
    records.write_statistics(pull, COMMIT)
    return sum(map(len, blobs.contents.values()))


def _sigma(records: Records, sigma: Tensors, known: dict[int, SigmaRef], near: SigmaRef) -> SigmaRef:
    """Where this sigma is, written when it is met for the first time."""
    if id(sigma) not in known:
        known[id(sigma)] = records.sigmas.write(sigma, {"commit": COMMIT}, near=near)
    return known[id(sigma)]
