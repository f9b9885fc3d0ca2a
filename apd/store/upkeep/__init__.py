"""What people do with a stream as a whole: look at its history, check it, clean it, copy it, go back.

reach       which blobs a version needs
verify      is every byte what was written, and is nothing missing
collect     remove what no kept version needs
usage       bytes per kind, task and version
compare     what changed between two versions
rollback    make an old version the newest
fork        a stream of its own that begins as a copy
"""

from apd.store.upkeep.collect import Plan, collect, plan_collection
from apd.store.upkeep.compare import TaskChange, compare
from apd.store.upkeep.fork import fork
from apd.store.upkeep.rollback import rollback
from apd.store.upkeep.usage import Usage, usage
from apd.store.upkeep.verify import Verification, verify

__all__ = [
    "Plan",
    "TaskChange",
    "Usage",
    "Verification",
    "collect",
    "compare",
    "fork",
    "plan_collection",
    "rollback",
    "usage",
    "verify",
]
