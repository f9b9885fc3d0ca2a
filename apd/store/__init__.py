"""Object storage: the only memory of the system. `Stream` is the door; the keys are listed in `apd.store.stream`.

objects, local, remote, connect     named bytes in a folder or a bucket
formats                             every format, byte by byte
blobs, sigmas, records              content-addressed data; sigmas and tasks made of it
manifest, history                   versions and their chain
proposals, commits, forget          how a version is made
arrivals, inbox, submission         what arrives, and its place in the order
attempts, evaluations               what is under way, what was measured
refusals                            what a gate kept out
marks                               what is gone on purpose, or must stay
stream                              all of it together
upkeep                              verify, collect, usage, compare, rollback, fork
transfer, progress                  a whole stream to another place; how far a transfer is
footprint, results                  what a model would take; where benchmarks keep theirs
"""

from apd.store.arrivals import Registration
from apd.store.connect import make_bucket
from apd.store.inbox import Inbox
from apd.store.manifest import SigmaRef, TaskEntry, Version
from apd.store.objects import is_local, normal_url, stream_name
from apd.store.proposals import Candidate, Proposal
from apd.store.refusals import RefusedConsolidation, RefusedTask
from apd.store.stream import Stream

__all__ = [
    "Candidate",
    "Inbox",
    "Proposal",
    "RefusedConsolidation",
    "RefusedTask",
    "Registration",
    "SigmaRef",
    "Stream",
    "TaskEntry",
    "Version",
    "is_local",
    "make_bucket",
    "normal_url",
    "stream_name",
]
