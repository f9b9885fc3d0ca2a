"""Print pip's configured package sources as `export UV_...` lines for the shell.

uv installs an environment several times faster than pip but reads none of pip's configuration, so a machine whose pip
knows a mirror, an extra index or a folder of wheels would be installed from elsewhere. The lines printed here make uv
look where pip looks and choose between the sources as pip does. What the environment already sets for uv is left alone.

Used by infra/setup with the Python that owns pip; needs the standard library only.
"""

import ast
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping

COMMAS, SPACES = ",", " "

# pip's setting -> (uv's environment variable, what separates several values there)
UV_NAMES = {
    "index-url": ("UV_DEFAULT_INDEX", SPACES),
    "extra-index-url": ("UV_INDEX", SPACES),
    "find-links": ("UV_FIND_LINKS", COMMAS),
    "no-index": ("UV_NO_INDEX", SPACES),
    "trusted-host": ("UV_INSECURE_HOST", SPACES),
    "timeout": ("UV_HTTP_TIMEOUT", SPACES),
    "cert": ("SSL_CERT_FILE", SPACES),
}

# Later ones win, as they do in pip: one command's section over all commands', the environment over both.
SECTIONS = ("global", "install", ":env:")


def settings(listing: str) -> dict[str, str]:
    """Read the output of `pip config list`: lines of section.key='value'.

    Returns the value in force of every setting in `UV_NAMES`, white space between several values made single spaces.
    """
    found = {section: {} for section in SECTIONS}
    for line in listing.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in found and key in UV_NAMES:
            found[section][key] = " ".join(ast.literal_eval(value).split())
    return {key: value for section in SECTIONS for key, value in found[section].items()}


def exports(pip: Mapping[str, str], environment: Mapping[str, str]) -> list[str]:
    """Translate pip's settings into lines for the shell, without those that `environment` has already."""
    variables = {}
    for key, value in pip.items():
        name, separator = UV_NAMES[key]
        variables[name] = separator.join(value.split(" "))
    if "UV_INDEX" in variables:
        # pip takes the best version of all its indexes; uv would stop at the first one that knows the name.
        variables["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return [f"export {name}={shlex.quote(value)}" for name, value in variables.items() if name not in environment]


def main() -> None:
    """Ask this interpreter's pip for its configuration and print the translation."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    print("\n".join(exports(settings(listing), os.environ)))


if __name__ == "__main__":
    main()
