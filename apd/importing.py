"""What a setting names as `module:callable`, found; whoever made a mistake there learns which."""

import importlib
import sys
from collections.abc import Callable
from functools import reduce
from typing import Any, cast

from apd.errors import ConfigError


def import_callable(setting: str, name: str) -> Callable[..., Any]:
    """The callable that a setting names as `module:callable`, or `module:Outer.callable` for one inside a class.

    ConfigError says what is missing and what was tried, or what the module raised.
    """
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        places = ", ".join(place or "." for place in sys.path)
        raise ConfigError(
            f"{setting} {name!r}: no module {error.name!r}, looked in {places}; "
            "install it, or add the folder that holds it to PYTHONPATH"
        ) from None
    except Exception as error:  # a module runs whatever code it likes
        problem = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{setting} {name!r}: importing module {module_name!r} failed: {problem}") from error
    found = reduce(lambda outer, part: getattr(outer, part, None), attribute.split("."), cast(object, module))
    if not callable(found):
        problem = f"has no {attribute!r}" if found is None else f"has {attribute!r}, a {type(found).__name__}"
        raise ConfigError(f"{setting} {name!r}: module {module_name!r} {problem}; expected a callable")
    return found
