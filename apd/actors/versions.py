"""What has to be the same on every node for results to be the same."""

import functools
import hashlib
import platform
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

import apd
from apd.errors import ClusterError


@dataclass(frozen=True, slots=True)
class Versions:
    """What a process runs."""

    python: str
    """Without the patch level."""
    torch: str
    """Without what it was built for: nodes with a GPU have another build."""
    apd: str
    """Digest of this library's own source."""


@functools.cache
def versions() -> Versions:
    """Of this process."""
    digest = hashlib.sha256()
    folder = Path(apd.__file__).parent
    for file in sorted(folder.rglob("*.py")):
        digest.update(file.relative_to(folder).as_posix().encode() + b"\n" + file.read_bytes())
    python = ".".join(platform.python_version_tuple()[:2])
    return Versions(python, torch.__version__.partition("+")[0], digest.hexdigest()[:12])


def require_versions(expected: Versions, host: str) -> None:
    """Raise ClusterError unless this process runs what the driver on `host` runs; on that host itself it does."""
    here = socket.gethostname()
    if here == host:
        return
    found = asdict(versions())
    for name, wanted in asdict(expected).items():
        if found[name] != wanted:
            raise ClusterError(
                f"node {here} runs {name} {found[name]} but the flow on {host} runs {name} {wanted}; "
                "install the same on both"
            )
