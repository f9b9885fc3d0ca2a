"""Remake infra/requirements.lock and infra/requirements-dev.lock from pyproject.toml (`make lock`).

    infra/requirements.lock       what the `apd` command needs, for every Python and platform (by markers)
    infra/requirements-dev.lock   what the tests need on top; begins by including the first

Versions already locked stay as they are; `make lock UPGRADE=1` moves every package to the newest version that
pyproject.toml admits. Each pin carries the digests of its files, which infra/setup has uv verify. Two exceptions:

* torch has other files for CPU and CUDA under the same version, so its pin carries no digest.
* The packages that only torch's CUDA build needs are left out: torch itself pins each to one version.

No index, host or path is written, so the lock says what to install and the machine's own configuration says from where.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

INFRA = Path(__file__).parent
PROJECT = INFRA.parent / "pyproject.toml"
RUNTIME = INFRA / "requirements.lock"
DEVELOPMENT = INFRA / "requirements-dev.lock"
HEADER = "# Made by `make lock` from pyproject.toml: do not edit.\n"
CUDA_ONLY = ("cuda-", "nvidia-", "triton==")

Pins = dict[str, str]
"""A package's name -> its lines in the lock: `name==version ; marker`, then one line for each digest."""


def parse(lock: str) -> Pins:
    """Split a lock into pins; a pin is a line that starts in the first column and the indented ones after it."""
    pins: Pins = {}
    name = ""
    for line in lock.splitlines(keepends=True):
        if line.startswith(("#", "-r ")):
            continue
        if not line[0].isspace():
            name = line.partition("==")[0]
            pins[name] = ""
        pins[name] += line
    return pins


def without_cuda(pins: Pins) -> Pins:
    """Drop what only torch's CUDA build needs, and the digests that would tie torch to one of its builds."""
    kept = {name: lines for name, lines in pins.items() if not lines.startswith(CUDA_ONLY)}
    kept["torch"] = kept["torch"].splitlines()[0].removesuffix(" \\") + "\n"
    return kept


def resolve(extras: list[str], held: Pins, upgrade: bool) -> Pins:
    """Have uv choose versions for every supported Python and platform, keeping those in `held` where it can."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "requirements.txt"
        output.write_text("".join(held.values()))
        command = [sys.executable, "-m", "uv", "pip", "compile", str(PROJECT), "--output-file", str(output), "--quiet"]
        command += ["--universal", "--python-version", "3.11", "--fork-strategy", "fewest", "--generate-hashes"]
        command += ["--no-annotate", "--no-header", *extras, *(["--upgrade"] if upgrade else [])]
        subprocess.run(command, check=True)
        return without_cuda(parse(output.read_text()))


def locked() -> Pins:
    """Return the pins of both locks as they are on file; empty where there is none."""
    return {
        name: pin for lock in (RUNTIME, DEVELOPMENT) if lock.exists() for name, pin in parse(lock.read_text()).items()
    }


def main() -> None:
    """Resolve with the tests' packages first, so that the runtime's versions are ones the tests agree with."""
    everything = resolve(["--extra", "dev"], held=locked(), upgrade="--upgrade" in sys.argv)
    runtime = resolve([], held=everything, upgrade=False)
    extra = {name: pin for name, pin in everything.items() if name not in runtime}
    RUNTIME.write_text(HEADER + "".join(runtime.values()))
    DEVELOPMENT.write_text(HEADER + f"-r {RUNTIME.name}\n" + "".join(extra.values()))
    print(f"{RUNTIME.name}: {len(runtime)} packages; {DEVELOPMENT.name}: {len(extra)} more")


if __name__ == "__main__":
    main()
