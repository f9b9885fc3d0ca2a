"""Predictions of a stored task, and the task as a file that needs nothing of ours."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from apd.config import Dtype, NetworkConfig
from apd.decomposition import bare_state
from apd.errors import ApdError, DataError, NotFound, UnknownTask, Unreachable
from apd.learner import Learner
from apd.networks import from_config
from apd.serving import Predictor, checkout, export
from apd.state import Shape
from apd.training import predict_logits
from tests.overview.small_streams import SHARING
from tests.overview.small_streams import learner as few

PICTURES = (1, 8, 8)
SETTINGS = {"epochs": 2, "batch_size": 10, "capacity_per_task": 0.1}


def samples(seed: int, shape: Shape = PICTURES, dtype: Dtype = "uint8") -> tuple[Tensor, Tensor]:
    """Forty inputs of two or three classes."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randint(0, 256, (40, *shape), generator=generator)
    labels = torch.arange(40) % (2 + seed % 2)
    return (inputs.to(torch.uint8) if dtype == "uint8" else inputs / 255), labels


def learned(network: NetworkConfig, shape: Shape = PICTURES, dtype: Dtype = "uint8") -> Learner:
    """Two tasks of two and three classes."""
    learner = Learner(network, shape, dtype, **SETTINGS)
    for number, name in enumerate(("shoes", "bags")):
        learner.learn(name, samples(number, shape, dtype))
    return learner


@pytest.fixture(scope="module")
def learner() -> Learner:
    return learned(NetworkConfig("mlp", {"hidden": [16]}))


@pytest.mark.parametrize(
    ("network", "shape", "dtype"),
    [
        (NetworkConfig("mlp", {"hidden": [16, 8]}), (5,), "float32"),
        (NetworkConfig("lenet", {"widths": [4, 5, 12, 10]}), (3, 9, 10), "uint8"),
        (NetworkConfig("resnet18", {"width": 4}), PICTURES, "uint8"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_exported_file_in_the_bare_network_gives_the_same_logits(network, shape, dtype, tmp_path: Path):
    learner = learned(network, shape, dtype)
    for number, task in enumerate(learner.tasks):
        count = export(learner.stream, task, tmp_path / "task.safetensors")
        module = from_config(learner.stream.config).build(2 + number)
        state = load_file(tmp_path / "task.safetensors")
        module.load_state_dict(state, strict=True)
        inputs = samples(7, shape, dtype)[0]
        stored = learner.stream.load_task(learner.stream.head(), task)
        with torch.no_grad():
            found = module.eval()(inputs / 255 if dtype == "uint8" else inputs)
        assert torch.equal(found, predict_logits(from_config(learner.stream.config), stored, inputs))
        assert count == sum(tensor.numel() for tensor in state.values())


def test_the_exported_file_says_what_it_is(learner: Learner, tmp_path: Path):
    export(learner.stream, "bags", tmp_path / "bags.safetensors", version=2)
    with safe_open(tmp_path / "bags.safetensors", "pt") as file:
        assert file.metadata() == {"task": "bags", "version": "2", "classes": '["0", "1", "2"]'}


@pytest.fixture
def mask() -> Iterator[int]:
    """The process's umask, set for a test."""
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


def test_the_exported_file_is_where_a_link_leads_with_the_permissions_of_any_file(learner, tmp_path: Path, mask: int):
    (tmp_path / "folder").mkdir()
    link, file = tmp_path / "link.safetensors", tmp_path / "folder" / "bags.safetensors"
    link.symlink_to(file)
    for _ in range(2):
        export(learner.stream, "bags", link)
        assert link.is_symlink()
        assert file.stat().st_mode & 0o777 == 0o666 & ~mask
        assert load_file(file)
    assert list((tmp_path / "folder").iterdir()) == [file]


def test_the_exported_file_replaces_files_alone(learner: Learner, tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for place in (tmp_path / "pipe", tmp_path / "loop"):  # no real device: a failure would replace it
        with pytest.raises(Unreachable, match=f"{place} cannot be written: it is there and no regular file"):
            export(learner.stream, "bags", place)


def test_answers_are_those_of_the_learner(learner: Learner, tmp_path: Path):
    inputs = samples(5)[0][:4]
    np.save(tmp_path / "four.npy", inputs.numpy())
    answers = list(Predictor(learner.stream, "bags").file(tmp_path / "four.npy"))
    expected = learner.predict_proba("bags", inputs)
    assert [list(answer["probabilities"].values()) for answer in answers] == expected.tolist()
    assert [answer["label"] for answer in answers] == learner.predict("bags", inputs)
    assert [answer["probability"] for answer in answers] == expected.max(1).values.tolist()
    assert [answer["input"] for answer in answers] == [f"{tmp_path / 'four.npy'}[{row}]" for row in range(4)]


def test_a_picture_an_input_and_a_batch_of_one_are_the_same(learner: Learner, tmp_path: Path):
    one = samples(5)[0][0].numpy()
    Image.fromarray(one[0]).save(tmp_path / "one.png")
    np.save(tmp_path / "one.npy", one)
    np.savez(tmp_path / "batch.npz", inputs=one[None])
    predictor = Predictor(learner.stream, "shoes")
    answers = [list(predictor.file(tmp_path / name)) for name in ("one.png", "one.npy", "batch.npz")]
    assert [len(found) for found in answers] == [1, 1, 1]
    assert len({found[0]["probability"] for found in answers}) == 1
    assert answers[0][0]["input"] == str(tmp_path / "one.png")


def test_an_old_version_keeps_its_answers(learner: Learner, tmp_path: Path):
    np.save(tmp_path / "x.npy", samples(5)[0].numpy())
    old, new = (list(Predictor(learner.stream, "shoes", number).file(tmp_path / "x.npy")) for number in (1, 2))
    assert old == new
    with pytest.raises(UnknownTask, match="version 1 has no task 'bags'; it has shoes"):
        Predictor(learner.stream, "bags", version=1)
    with pytest.raises(NotFound, match=r"no version 9.*apd log"):
        Predictor(learner.stream, "bags", version=9)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("none.npy", np.zeros((0, *PICTURES), np.uint8), "no inputs; expected one"),
        ("wide.npy", np.zeros((2, 1, 8, 9), np.uint8), r"one input is \(1, 8, 9\), expected \(1, 8, 8\)"),
        ("real.npy", np.zeros((2, *PICTURES), np.float32), "float32 inputs, but the stream takes uint8"),
        ("text.npy", np.array(["a"]), "expected uint8"),
    ],
)
def test_inputs_that_are_not_the_streams_are_refused(learner: Learner, tmp_path: Path, name, values, message):
    np.save(tmp_path / name, values)
    with pytest.raises(DataError, match=rf"{name}.*{message}"):
        list(Predictor(learner.stream, "shoes").file(tmp_path / name))


def test_a_value_that_is_no_number_is_refused(tmp_path: Path):
    learner = learned(NetworkConfig("mlp", {"hidden": [4]}), (5,), "float32")
    np.save(tmp_path / "nan.npy", np.full((2, 5), np.nan, np.float32))
    with pytest.raises(DataError, match=r"nan.npy holds values that are not finite"):
        list(Predictor(learner.stream, "shoes").file(tmp_path / "nan.npy"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.png", "does not exist"),
        ("folder", "is a folder"),
        ("text.png", "not a readable picture"),
        ("text.npy", "not a readable file of arrays"),
        ("two.npz", r"has the arrays \['a', 'b'\]; expected one"),
    ],
)
def test_files_that_hold_no_input_are_refused(learner: Learner, tmp_path: Path, name, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "text.npy").write_text("no array")
    np.savez(tmp_path / "two.npz", a=np.zeros(1), b=np.zeros(1))
    with pytest.raises(DataError, match=message):
        list(Predictor(learner.stream, "shoes").file(tmp_path / name))


def test_a_version_from_before_a_consolidation_is_answered_and_exported_as_it_was(tmp_path: Path):
    made = few(3, **SHARING)
    before, after = made.stream.version(3), made.stream.head()
    assert after.kind == "consolidate"
    changed = [entry.name for entry in after.entries if entry.theta_key != before.entry(entry.name).theta_key]
    assert changed
    assert checkout(made.stream, tmp_path / "before", version=3) == checkout(made.stream, tmp_path / "after") == 3
    for name in changed:
        export(made.stream, name, tmp_path / "old.safetensors", version=3)
        exported = load_file(tmp_path / "old.safetensors")
        old = from_config(made.stream.config).state_dict(bare_state(made.stream.load_task(before, name)))
        predictor = bare_state(Predictor(made.stream, name, version=3).state)
        checked_out, newest = (load_file(tmp_path / place / f"{name}.safetensors") for place in ("before", "after"))
        assert all(exported[key].equal(old[key]) and checked_out[key].equal(old[key]) for key in old)
        assert all(
            value.equal(bare_state(made.stream.load_task(before, name))[key]) for key, value in predictor.items()
        )
        assert any(not newest[key].equal(old[key]) for key in old)


def test_a_place_that_cannot_be_written_is_named(learner: Learner, tmp_path: Path):
    with pytest.raises(Unreachable, match=r"nowhere/shoes.safetensors cannot be written: there is no folder .*nowhere"):
        export(learner.stream, "shoes", tmp_path / "nowhere" / "shoes.safetensors")
    with pytest.raises(Unreachable, match="cannot be written: it is a folder; name a file in it"):
        export(learner.stream, "shoes", tmp_path)
    with pytest.raises(Unreachable, match=r"cannot be written.*File name too long"):
        export(learner.stream, "shoes", tmp_path / ("x" * 300))


def test_an_old_version_is_checked_out_without_what_was_forgotten_since(tmp_path: Path):
    learner = learned(NetworkConfig("mlp", {"hidden": [4]}))
    learner.forget("shoes")
    assert checkout(learner.stream, tmp_path / "out", version=2) == 1
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert (list(index["tasks"]), index["forgotten_since"]) == (["bags"], ["shoes"])
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"bags.safetensors", "index.json"}


def test_a_checkout_that_fails_leaves_no_folder(tmp_path: Path):
    learner = learned(NetworkConfig("mlp", {"hidden": [4]}))
    learner.stream.blobs.delete(learner.stream.head().entry("bags").record)
    with pytest.raises(NotFound):
        checkout(learner.stream, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_checkout_tells_the_accuracy_of_these_very_parameters(tmp_path: Path):
    made = few(3, **SHARING, max_accuracy_drop=1.0)
    head = made.stream.head()
    assert head.kind == "consolidate"
    first, second, _ = head.entries
    made.stream.evaluations.put(first.theta_key, {"validation_accuracy": 0.5, "test_accuracy": 0.25})
    made.stream.evaluations.remove(second.theta_key)
    checkout(made.stream, tmp_path / "out")
    tasks = json.loads((tmp_path / "out" / "index.json").read_text())["tasks"]
    assert [tasks[entry.name]["test_accuracy"] for entry in (first, second)] == [0.25, None]
    assert first.test_accuracy != 0.25


def test_a_forgotten_task_answers_no_more(tmp_path: Path):
    learner = learned(NetworkConfig("mlp", {"hidden": [4]}))
    learner.forget("shoes")
    with pytest.raises(UnknownTask):
        Predictor(learner.stream, "shoes")
    with pytest.raises(ApdError, match="shoes"):
        export(learner.stream, "shoes", tmp_path / "shoes.safetensors", version=1)
    assert not (tmp_path / "shoes.safetensors").exists()
