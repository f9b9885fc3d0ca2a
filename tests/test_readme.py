"""The front page is true: its lines run, the files it names are there, its commands exist."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from apd.data.digits import digits_tasks
from apd.learner import Learner

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


class MyNetwork(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = nn.Linear(64, 32)
        self.head = nn.Linear(32, classes)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.body(inputs.flatten(1))))


def test_the_library_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = (task.data.train for task in digits_tasks(2))
    dataset = TensorDataset(second.inputs.float() / 255, second.labels)
    x, y = first.inputs.float() / 255, first.labels
    (lines,) = blocks("python")
    names = {"Learner": Learner, "MyNetwork": MyNetwork, "x": x, "y": y, "dataset": dataset}
    exec(lines, names)
    again = Learner.load("my-learner", MyNetwork)
    assert again.tasks == ("small", "large")
    assert again.predict("small", x) == names["labels"]


def test_the_library_needs_five_lines() -> None:
    (lines,) = blocks("python")
    assert len([line for line in lines.splitlines() if line and not line.startswith(("from", "import"))]) == 5


def test_every_file_it_lists_is_there() -> None:
    tree = next(block for block in blocks("text") if block.startswith("apd/"))
    folder = Path()
    for line in tree.splitlines():
        names = re.match(r"( *)((?:[\w./]+ )*[\w./]+)", line)
        assert names, f"no name in {line!r}"
        if not names[1]:
            folder = ROOT / names[2].split()[0] if names[2].endswith("/") else ROOT
            assert (ROOT / names[2]).exists(), line
            continue
        for name in names[2].split():
            assert (folder / name).exists() or (folder / f"{name}.py").exists(), f"{name} in: {line}"


def test_every_module_of_the_library_is_listed() -> None:
    tree = next(block for block in blocks("text") if block.startswith("apd/"))
    listed = set(re.findall(r"[\w]+", tree))
    for path in (ROOT / "apd").iterdir():
        if path.suffix == ".py" or (path / "__init__.py").exists():
            assert path.stem in listed or path.stem.startswith("__"), f"{path.name} is not in README's file tree"


def test_every_command_it_shows_exists() -> None:
    from flows.cli import app

    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    shown = set(re.findall(r"^apd (?:--stream \S+ )?([a-z-]+)", "\n".join(blocks("sh")), flags=re.MULTILINE))
    assert shown
    assert shown <= known
