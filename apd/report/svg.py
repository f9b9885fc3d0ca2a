"""matplotlib figures as SVG that lives inside an HTML page: the same figure gives the same bytes.

Text stays text: it can be selected, searched and read aloud, and the page's style sheet chooses its font. Colours that
stand for a role become CSS variables, so that the page can be light, dark or printed. Nothing of pyplot is used, which
keeps state between figures.
"""

import html
import io
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

INK, MUTED, GRID, PAPER = "#1a1b1c", "#5f6164", "#d9dadb", "#fefefd"
BLUE, VERMILION, GREEN, ORANGE = "#0072b2", "#d55e00", "#009e73", "#e69f00"
"""Okabe and Ito's colours, told apart with every common colour blindness."""

ROLES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    PAPER: "paper",
    BLUE: "blue",
    VERMILION: "vermilion",
    GREEN: "green",
    ORANGE: "orange",
}
"""Colours and the CSS variables that the page defines for them."""

STYLE: "dict[RcKeyType, Any]" = {
    "svg.fonttype": "none",
    "font.size": 11,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "figure.constrained_layout.use": True,
    "figure.dpi": 72,
}


ONE_AT_A_TIME = threading.Lock()
"""matplotlib's settings belong to the whole process, and threads may ask for reports at once."""

WIDTH = 460
"""Units of every figure's width: all are equally wide, so that their text is equally large beside each other."""


@dataclass(frozen=True, slots=True)
class Plot:
    """One figure, ready to be placed in a page."""

    title: str
    caption: str
    """How to read it."""
    svg: str
    """One element; its label says in words what can be seen."""


def blank(height: float) -> Figure:
    """An empty figure of that many units height."""
    return Figure(figsize=(WIDTH / 72, height / 72))


@contextmanager
def drawing() -> Iterator[None]:
    """The style of every figure, for as long as one is made and saved."""
    with ONE_AT_A_TIME, mpl.rc_context(STYLE), warnings.catch_warnings():
        # matplotlib only measures the text; the reader's own fonts draw it, and they know more scripts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def inline(figure: Figure, key: str, label: str) -> str:
    """The figure as one `<svg>` element, `label` being what a screen reader says; `key` is unique in the page."""
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": key}):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(out, format="svg", transparent=True, metadata=nothing)
    drawn = out.getvalue()
    body = drawn[drawn.index(">", drawn.index("<svg")) + 1 :]
    width, height = (round(72 * inches) for inches in figure.get_size_inches())
    opening = f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 {width} {height}" role="img"'
    return f'{opening} aria-label="{html.escape(label)}">{_themed(body)}'.strip()


def _themed(body: str) -> str:
    """Drop what belongs to a file of its own, and let the page decide on fonts and colours."""
    body = re.sub(r"<style type=.*?</style>", "", body, count=1, flags=re.DOTALL)
    body = re.sub(r"<g id=\"[^\"]*\"", "<g", body)
    body = re.sub(r" font-family: [^;\"]*;", "", body)
    return re.sub(r"style=\"[^\"]*\"", lambda style: _roles(style.group()), body)


def _roles(style: str) -> str:
    return re.sub(r"#[0-9a-f]{6}", lambda colour: _role(colour.group()), style)


def _role(colour: str) -> str:
    return f"var(--{ROLES[colour]})" if colour in ROLES else colour
