import dataclasses
import html
import io
import re

import pytest

from apd.report import formats, tables
from tests.report import sample
from tests.report.sample import HOSTILE


@pytest.mark.parametrize("tasks", [0, 1, 16, 100])
@pytest.mark.parametrize("width", [80, 100])
def test_lines_fit_and_carry_no_colour_codes(tasks, width):
    lines = tables.text(sample.report(tasks), width).splitlines()
    assert all(len(line) <= width and line == line.rstrip() for line in lines)
    assert not any("\x1b" in line for line in lines)


@pytest.mark.parametrize("width", [80, 100])
def test_every_number_of_every_task_is_there(report, width):
    lines = tables.text(report, width).splitlines()
    for task in report.tasks:
        row = next(line for line in lines if line.endswith(task.name[-6:]) or task.name[-7:] in line)
        shares = (task.accuracy_when_learned, task.accuracy_now, task.separate, task.fine_tuning)
        expected = [str(len(task.classes)), *map(formats.hundredths, shares), f"{100 * task.tau_density:.2f}"]
        assert row.split()[1:] == [*expected, f"{task.bytes / 1000:.1f}", f"{task.seconds:.1f}"]


def test_the_summary_closes_the_text(report):
    closing = tables.text(report).split("alone.\n")[-1]
    assert "separate networks 92.4 %, fine-tuning 38.4 %" in closing
    assert "0.00 points from learning, 0.37 from consolidation (fine-tuning: 54.20)" in closing
    assert "111 % of one network (separate networks: 1,600 %)" in closing
    assert "13.7 MB stored, 114 % of one network's 12.0 MB" in closing


def test_baselines_that_did_not_run_are_dashes_and_not_averaged(report):
    tasks = tuple(dataclasses.replace(task, separate=None, fine_tuning=None) for task in report.tasks)
    bare = tables.text(dataclasses.replace(report, tasks=tasks, fine_tuning=()))
    assert "separate networks 9" not in bare
    assert "fine-tuning:" not in bare
    assert formats.MISSING in bare


def test_an_average_over_some_tasks_says_so(report):
    tasks = (dataclasses.replace(report.tasks[0], separate=None), *report.tasks[1:])
    assert "(15 of 16 tasks)" in tables.text(dataclasses.replace(report, tasks=tasks))


def test_names_are_printed_as_they_are(hostile):
    text = tables.text(hostile, 200)
    assert all(formats.shortened(name, 80) in text for name in HOSTILE)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_colours_and_a_pipe_does_not(report, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal, pipe = Terminal(), io.StringIO()
    tables.print_table(report, terminal)
    tables.print_table(report, pipe)
    assert "\x1b[1m" in terminal.getvalue()
    assert pipe.getvalue() == tables.text(report, tables.PIPED_WIDTH)


def test_markdown_has_one_row_per_task_with_as_many_cells_as_headings(hostile):
    rows = [line for line in tables.markdown(hostile).splitlines() if line.startswith("|")]
    cells = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
    assert len(rows) == len(hostile.tasks) + 3
    assert cells == {len(tables.COLUMNS) + 1}


def test_markdown_escapes_names(hostile):
    rendered = tables.markdown(hostile)
    assert "<script" not in rendered
    assert "<img" not in rendered
    for name in HOSTILE:
        shown = html.unescape(re.sub(r"\\([\\`*_{}\[\]|#~$])", r"\1", tables.escape(name)))
        assert shown == name


def test_a_stream_without_tasks_has_no_table():
    empty = sample.report(0)
    assert "|" not in tables.markdown(empty)
    assert "tasks  0 (lenet, 2,986,500 shared parameters)" in tables.text(empty)


def test_a_stream_whose_tasks_were_all_forgotten_has_no_size(report):
    gone = sample.forgotten(report)
    assert "capacity" not in tables.text(gone) + tables.markdown(gone)


def test_markdown_leaves_out_what_nobody_measured(report):
    tasks = tuple(dataclasses.replace(task, separate=None, fine_tuning=None) for task in report.tasks)
    alone = tables.markdown(dataclasses.replace(report, tasks=tasks, fine_tuning=()))
    assert "| task | classes | when learned, % | now, % | tau, % | stored, kB | time, s |" in alone
    assert "separate, %" in tables.markdown(report)
