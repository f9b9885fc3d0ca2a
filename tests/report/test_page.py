import dataclasses
import html as escapes
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser

import pytest

from apd.report import formats, page
from tests.report import sample
from tests.report.sample import HOSTILE

VOID = {"meta", "br", "img", "hr", "link", "input"}
HEADINGS = ("Accuracy", "Tasks", "Size", "Sharing between tasks", "Consolidations", "Settings")


class Outline(HTMLParser):
    """Reads a page as a browser would, and complains about tags that do not pair."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def inside(self, tag: str) -> list[str]:
        return [text.strip() for parent, text in self.texts if parent == tag and text.strip()]


@pytest.fixture(scope="module")
def outline(html: str) -> Outline:
    return Outline(html)


def test_the_first_screen_answers_the_four_questions(html):
    opening = html[html.index("<main") : html.index("<h2>Accuracy</h2>")]
    for answer in ("16", "92.2 %", "92.4 %", "38.4 %", "0.37", "0.00", "54.20", "111 %", "114 %", "1,600 %"):
        assert f">{answer}<" in opening


def test_sections_come_in_order_of_importance(html):
    places = [html.index(f"<h2>{heading}</h2>") for heading in HEADINGS]
    assert places == sorted(places)


def test_the_page_needs_nothing_but_itself(html, outline):
    assert outline.all("script") == outline.all("link") == []
    addresses = [
        value
        for _, attributes in outline.elements
        for name, value in attributes.items()
        if name.endswith(("href", "src"))
    ]
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in addresses)
    assert re.findall(r"url\((?!#)", html) == re.findall(r"@import|@font-face", html) == []


def test_every_reference_inside_the_page_has_one_target(html, outline):
    identifiers = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert set(re.findall(r"(?:href=\"|url\()#([\w-]+)", html)) <= set(identifiers)


def test_every_colour_role_is_defined_light_and_dark(html):
    for role in set(re.findall(r"var\(--([a-z]+)\)", html)):
        assert html.count(f"--{role}:") == 2


def test_every_figure_says_what_it_shows(outline):
    pictures = outline.all("svg")
    assert len(pictures) == len(outline.all("figure")) == len(outline.all("figcaption")) == 11
    assert all(picture["role"] == "img" and len(picture["aria-label"]) > 30 for picture in pictures)
    assert len({picture["aria-label"] for picture in pictures}) == len(pictures)


def test_every_table_has_scoped_headers(outline):
    headers = outline.all("th")
    assert headers
    assert all(header.get("scope") in ("row", "col") for header in headers)


def test_accuracy_axes_run_from_zero_to_a_hundred(outline):
    labels = outline.inside("text")
    for share in ("0 %", "20 %", "100 %"):
        assert labels.count(share) >= 3


def test_same_data_same_bytes(report, html):
    assert page.html(report) == html


def test_another_process_and_hash_seed_give_the_same_bytes(html):
    program = (
        "from apd.report import page; from tests.report import sample; print(page.html(sample.report(16)), end='')"
    )
    environment = os.environ | {"PYTHONHASHSEED": "17", "PYTHONIOENCODING": "utf-8"}
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, env=environment)
    assert other.stdout.decode() == html


def test_threads_may_ask_at_once():
    reports = [sample.report(tasks) for tasks in (2, 3)]
    alone = [page.html(each) for each in reports]
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(page.html, reports)) == alone


def test_names_are_text_wherever_they_appear(hostile):
    foreign = dataclasses.replace(hostile, stream=HOSTILE[0], network=HOSTILE[1], settings=((HOSTILE[0], HOSTILE[1]),))
    foreign = dataclasses.replace(
        foreign, layers=tuple(dataclasses.replace(layer, name=HOSTILE[0]) for layer in hostile.layers[:1])
    )
    outline = Outline(page.html(foreign))
    assert outline.all("script") == outline.all("img") == []
    assert not any(name.startswith("on") for _, attributes in outline.elements for name in attributes)
    headers = " ".join(outline.inside("th"))
    assert all(" ".join(name.split()) in headers for name in HOSTILE)


def test_names_in_figures_are_escaped(hostile):
    text = page.html(hostile)
    assert f">{escapes.escape(HOSTILE[0][:10], quote=False)}…" in text
    assert "数字 🙂" in " ".join(Outline(text).inside("text"))


@pytest.mark.parametrize("tasks", [0, 1, 2, 4])
def test_short_streams_have_a_page(tasks):
    outline = Outline(page.html(sample.report(tasks)))
    assert ("No task has been learned yet." in outline.inside("p")) == (tasks == 0)


def test_a_bare_report_leaves_out_what_nobody_measured(report):
    unmeasured = {
        "accuracy_when_learned": None,
        "accuracy_now": None,
        "separate": None,
        "fine_tuning": None,
        "seconds": None,
    }
    tasks = tuple(dataclasses.replace(task, **unmeasured) for task in report.tasks)
    nothing = dict.fromkeys(
        ("accuracy", "capacity", "layers", "consolidations", "fine_tuning", "similarity", "settings"), ()
    )
    bare = page.html(dataclasses.replace(report, tasks=tasks, **nothing))
    assert "None" not in bare
    assert "Forgetting, in points" not in bare
    assert len(Outline(bare).all("figure")) == 2
    assert "separate network" not in Outline(bare).inside("text")


def test_a_baseline_is_never_the_headline(report):
    tasks = tuple(dataclasses.replace(task, accuracy_now=None) for task in report.tasks)
    assert "Average accuracy" not in page.html(dataclasses.replace(report, tasks=tasks))


def test_a_hundred_tasks_stay_light_and_readable():
    text = page.html(sample.report(100, orders=2))
    assert len(text) < 1_000_000
    assert "Does the order of arrival matter?" in text
    named = [label for label in Outline(text).inside("text") if label.startswith("digits-")]
    assert 2 * 40 <= len(named) <= 2 * 60


def test_a_refused_consolidation_is_called_that(report):
    refused = dataclasses.replace(report.consolidations[-1], accepted=False)
    text = page.html(dataclasses.replace(report, consolidations=(*report.consolidations[:-1], refused)))
    assert Outline(text).inside("td").count("refused") == 1


def test_a_refit_shows_no_tolerance_and_no_clusters(report):
    refit = dataclasses.replace(report.consolidations[0], refit=True, tolerance=0.0, clusters=0, shared_elements=0)
    without, changed = (
        Outline(page.html(dataclasses.replace(report, consolidations=(one, *report.consolidations[1:]))))
        for one in (report.consolidations[0], refit)
    )
    assert changed.inside("td").count("refit") == 1
    assert changed.inside("td").count(formats.MISSING) == without.inside("td").count(formats.MISSING) + 3
    assert [any("Refit:" in words for words in outline.inside("p")) for outline in (without, changed)] == [False, True]
