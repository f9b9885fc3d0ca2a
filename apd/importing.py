"""What a setting names as `module:callable`, found; whoever made a mistake there learns which."""

import importlib
import sys
from collections.abc import Callable
from typing import Any

from apd.errors import ConfigError


def import_callable(setting: str, name: str) -> Callable[..., Any]:
    """The callable that a setting names as `module:callable`; ConfigError says what is missing and what was tried."""
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        places = ", ".join(place or "." for place in sys.path)
        raise ConfigError(
            f"{setting} {name!r}: no module {error.name!r}, looked in {places}; "
            "install it, or add the folder that holds it to PYTHONPATH"
        ) from None
    except (ImportError, SyntaxError, TypeError, ValueError) as error:
        raise ConfigError(f"{setting} {name!r}: importing module {module_name!r} failed: {error}") from error
    found: object = getattr(module, attribute, None)
    if not callable(found):
        problem = f"has no {attribute!r}" if found is None else f"has {attribute!r}, a {type(found).__name__}"
        raise ConfigError(f"{setting} {name!r}: module {module_name!r} {problem}; expected a callable")
    return found
