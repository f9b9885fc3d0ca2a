"""Numbers and names as text, the same in every table, page and plot. What was not measured is a dash."""

from datetime import UTC, datetime

MISSING = "–"  # noqa: RUF001 an en dash, as in printed tables
MINUS = "−"  # noqa: RUF001 as wide as a plus sign


def percent(share: float | None, digits: int = 1) -> str:
    """0.931 -> `93.1 %`."""
    return MISSING if share is None else f"{100 * share:,.{digits}f} %"


def hundredths(share: float | None, digits: int = 1) -> str:
    """As `percent`, without the sign, for columns headed by it: 0.931 -> `93.1`."""
    return MISSING if share is None else f"{100 * share:.{digits}f}"


def decimal(value: float | None) -> str:
    """One decimal, for columns headed by a unit: 12.345 -> `12.3`."""
    return MISSING if value is None else f"{value:.1f}"


def small_percent(share: float | None) -> str:
    """A share that is often far below one per cent, two significant digits: 0.00034 -> `0.034 %`; zero is `0 %`."""
    if share is None or share == 0 or share >= 0.1:
        return percent(share, 0 if share == 0 else 1)
    return f"{100 * share:.2g} %"


def change(difference: float | None) -> str:
    """A change of accuracy in percentage points, with its sign: 0.012 -> `+1.2`; one that rounds to zero has none."""
    if difference is None:
        return MISSING
    rounded = round(100 * difference, 1)
    return f"{'+' if rounded > 0 else MINUS if rounded < 0 else ''}{abs(rounded):.1f}"


def points(lost: float | None) -> str:
    """Accuracy lost, in percentage points: 0.0034 -> `0.34`; negative where it was gained."""
    if lost is None:
        return MISSING
    rounded = round(100 * lost, 2)
    return f"{MINUS if rounded < 0 else ''}{abs(rounded):.2f}"


def size(count: float) -> str:
    """Bytes: 12_345 -> `12.3 kB`; a kB is 1000 bytes."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count:.0f} B"


def duration(seconds: float | None) -> str:
    """75 -> `1 min 15 s`; below ten seconds one decimal."""
    if seconds is None:
        return MISSING
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def count(number: int) -> str:
    """Thousands apart: 2986500 -> `2,986,500`."""
    return f"{number:,}"


def moment(created: str) -> str:
    """An ISO 8601 time for people: `2026-11-21T07:24:00Z` -> `2026-11-21 07:24 UTC`."""
    return f"{datetime.fromisoformat(created).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def magnitude(value: float | None) -> str:
    """A small length, two significant digits: 0.00912 -> `0.0091`."""
    return MISSING if value is None else "0" if value == 0 else f"{value:.2g}"


def shortened(name: str, width: int) -> str:
    """At most `width` characters; what is left out of the middle is an ellipsis, for both ends tell names apart."""
    if len(name) <= width:
        return name
    head = (width - 1) // 2
    return f"{name[:head]}…{name[len(name) - (width - 1 - head) :]}"
