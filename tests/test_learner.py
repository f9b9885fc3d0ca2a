import gc
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from apd.config import NetworkConfig
from apd.errors import AlreadyExists, ConfigError, DataError, Diverged, StateError, UnknownTask
from apd.learner import Learner
from apd.serving import export
from apd.store.upkeep import verify

SHAPE = (1, 4, 4)
FIVE_LINES = """
import sys, torch
from torch import nn

def Network(classes): return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, classes))
x, y = torch.rand(60, 1, 4, 4), torch.arange(60) % 3
letters = torch.utils.data.TensorDataset(x, y)

from apd import Learner
learner = Learner(Network, input_shape=(1, 4, 4), epochs=2)
learner.learn("digits", (x, y))
learner.learn("letters", letters)
labels = learner.predict("digits", x)
learner.save(sys.argv[1])

assert len(labels) == 60 and set(labels) <= {"0", "1", "2"}
assert not {"ray", "prefect"} & set(sys.modules)
"""


class Small(nn.Module):
    """Two dense layers; the first is shared."""

    def __init__(self, classes: int, width: int = 12) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(16, width), nn.Linear(width, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(torch.relu(self.body(inputs.flatten(1))))


def samples(seed: int, classes: int = 3, count: int = 90) -> tuple[Tensor, Tensor]:
    """Noisy pictures of `classes` random patterns."""
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.randn(classes, *SHAPE, generator=generator)
    labels = torch.arange(count) % classes
    return patterns[labels] + 0.3 * torch.randn(count, *SHAPE, generator=generator), labels


def new(**settings: object) -> Learner:
    return Learner(
        Small, SHAPE, **{"epochs": 4, "batch_size": 10, "learning_rate": 0.01, "capacity_per_task": 0.3} | settings
    )


def two_tasks(**settings: object) -> Learner:
    learner = new(**settings)
    learner.learn("shoes", samples(1))
    learner.learn("bags", TensorDataset(*samples(2, classes=4)))
    return learner


def probabilities(learner: Learner) -> dict[str, Tensor]:
    return {task: learner.predict_proba(task, samples(5)[0]) for task in learner.tasks}


def assert_same_bits(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[task], expected[task]) for task in expected)


def test_five_lines_in_a_fresh_interpreter_without_ray_and_prefect(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FIVE_LINES, str(tmp_path / "stream")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Learner.load(str(tmp_path / "stream"), Small).tasks == ("digits", "letters")


def test_learns_tasks_of_different_classes_and_forgets_none() -> None:
    learner = new()
    first = learner.learn("shoes", samples(1))
    before = learner.predict_proba("shoes", samples(1)[0])
    second = learner.learn("bags", samples(2, classes=4))
    assert torch.equal(learner.predict_proba("shoes", samples(1)[0]), before)
    assert first.capacity == 0.0
    assert second.capacity <= 0.3
    assert min(first.test_accuracy, second.test_accuracy) > 0.8
    assert learner.accuracy() == {"shoes": first.test_accuracy, "bags": second.test_accuracy}
    assert before.shape == (90, 3)
    torch.testing.assert_close(before.sum(1), torch.ones(90))


def test_labels_come_back_as_they_were_named() -> None:
    inputs, labels = samples(3)
    learner = new()
    learner.learn("numbers", (inputs, labels * 10))
    learner.learn("strings", (inputs.numpy(), np.array(["cat", "dog", "eel"])[labels.numpy()]))
    learner.learn("named", TensorDataset(inputs, labels), classes=("red", "green", "blue"))
    assert [learner.classes(task) for task in learner.tasks] == [
        ("0", "10", "20"),
        ("cat", "dog", "eel"),
        ("red", "green", "blue"),
    ]
    found = np.array(learner.predict("named", inputs))
    assert (found == np.array(["red", "green", "blue"])[labels.numpy()]).mean() > 0.8


def test_given_validation_and_test_data_are_used() -> None:
    inputs, labels = samples(1)
    result = new().learn("shoes", (inputs, labels), validation=(inputs, labels), test=(inputs, (labels + 1) % 3))
    assert result.validation_accuracy > 0.8
    assert result.test_accuracy < 0.2


def test_progress_is_handed_on() -> None:
    seen = []
    new(epochs=3).learn("shoes", samples(1), on_epoch=lambda progress: seen.append(progress.epoch))
    assert seen == [1, 2, 3]


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_a_saved_learner_predicts_the_same_bits_and_goes_on(
    place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url, options = str(tmp_path / "stream"), None
    if place == "bucket":
        server = request.getfixturevalue("moto_server")
        url, options = f"{server.bucket()}/stream", server.storage_options
    learner = two_tasks()
    expected, accuracies = probabilities(learner), learner.accuracy()
    learner.save(url, storage_options=options)
    loaded = Learner.load(url, Small, storage_options=options)
    assert_same_bits(probabilities(loaded), expected)
    assert loaded.accuracy() == accuracies
    loaded.learn("hats", samples(3))
    assert learner.tasks == ("shoes", "bags", "hats")
    assert_same_bits({task: probabilities(learner)[task] for task in expected}, expected)


def test_saving_where_something_is_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    learner = two_tasks()
    with pytest.raises(AlreadyExists, match=r"holds notes\.txt already; choose an empty place"):
        learner.save(str(tmp_path))
    learner.save(str(tmp_path / "stream"))
    with pytest.raises(AlreadyExists, match="choose an empty place"):
        two_tasks().save(str(tmp_path / "stream"))
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_an_interrupted_save_can_be_repeated(tmp_path: Path) -> None:
    learner = two_tasks()
    expected = probabilities(learner)
    copied = tmp_path / "stream" / "versions" / "00000001.json"
    copied.parent.mkdir(parents=True)
    copied.write_bytes(b"half")
    learner.save(str(tmp_path / "stream"))
    assert_same_bits(probabilities(Learner.load(str(tmp_path / "stream"), Small)), expected)


def test_the_temporary_folder_goes_with_the_learner() -> None:
    learner = new()
    home = Path(learner.stream.url)
    assert home.is_dir()
    del learner
    gc.collect()
    assert not home.exists()


def test_a_stream_knows_how_to_build_an_importable_network(tmp_path: Path) -> None:
    learner = two_tasks()
    learner.save(str(tmp_path / "own"))
    assert_same_bits(probabilities(Learner.load(str(tmp_path / "own"))), probabilities(learner))


def test_a_built_in_network_needs_no_module(tmp_path: Path) -> None:
    learner = Learner(NetworkConfig("mlp", {"hidden": [8]}), SHAPE, "uint8", epochs=1)
    learner.learn("shoes", (inputs := (samples(1)[0] * 40 + 128).clamp(0, 255).to(torch.uint8), samples(1)[1]))
    assert learner.predict("shoes", inputs.tolist()) == learner.predict("shoes", inputs)
    learner.save(tmp_path / "stream")
    assert Learner.load(tmp_path / "stream").accuracy() == learner.accuracy()


def test_forgetting_one_task_keeps_every_bit_of_the_others() -> None:
    learner = two_tasks()
    expected = {"bags": probabilities(learner)["bags"]}
    learner.forget("shoes")
    assert learner.tasks == ("bags",)
    assert_same_bits(probabilities(learner), expected)
    with pytest.raises(UnknownTask):
        learner.predict("shoes", samples(1)[0])
    learner.learn("shoes", samples(4))
    assert learner.tasks == ("bags", "shoes")


def test_export_is_the_bare_network() -> None:
    learner = two_tasks()
    network = Small(4)
    network.load_state_dict(learner.export("bags"))
    logits = network.eval()(samples(5)[0])
    torch.testing.assert_close(torch.softmax(logits, 1), learner.predict_proba("bags", samples(5)[0]))


class Tied(nn.Module):
    """Two layers that are one weight."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body, self.again, self.head = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, classes)
        self.again.weight = self.body.weight

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(torch.relu(self.again(torch.relu(self.body(inputs.flatten(1))))))


def test_a_network_with_tied_weights_goes_the_whole_way_and_back(tmp_path: Path) -> None:
    """Learned, saved, loaded, exported as a dictionary and as a file: the bare network gives the same answers."""
    learner = Learner(Tied, SHAPE, epochs=2, batch_size=10)
    learner.learn("shoes", samples(1))
    learner.learn("bags", samples(2))
    expected = probabilities(learner)
    learner.save(str(tmp_path / "stream"))
    loaded = Learner.load(str(tmp_path / "stream"))
    assert_same_bits(probabilities(loaded), expected)
    for task in loaded.tasks:
        export(loaded.stream, task, tmp_path / "task.safetensors")
        for state in (loaded.export(task), load_file(tmp_path / "task.safetensors")):
            network = Tied(3).eval()
            network.load_state_dict(state, strict=True)
            torch.testing.assert_close(torch.softmax(network(samples(5)[0]), 1), expected[task])


def test_consolidates_every_s_tasks_within_the_tolerance() -> None:
    learner = new(consolidate_every=2, tolerance=0.02, least_saving=1, capacity_per_task=None, max_accuracy_drop=1.0)
    learner.learn("shoes", samples(1))
    before = learner.export("shoes")["body.weight"]
    learner.learn("bags", samples(2))
    assert [version.kind for version in learner.stream.log()] == ["consolidate", "learn", "learn", "create"]
    assert float((learner.export("shoes")["body.weight"] - before).abs().max()) <= 0.01 + 1e-6
    assert learner.consolidate() is not None


def test_a_consolidation_that_costs_accuracy_is_refused() -> None:
    """Four tasks on a body of three units, all made the same by a tolerance that is no tolerance."""
    settings = {"tolerance": 100.0, "least_saving": 1, "clusters_per_round": 1, "capacity_per_task": None}
    learner = Learner(lambda classes: Small(classes, 3), SHAPE, epochs=8, batch_size=10, learning_rate=0.02, **settings)
    for seed in range(4):
        learner.learn(f"task-{seed}", samples(seed))
    expected, head = probabilities(learner), learner.stream.head()
    assert learner.consolidate() is None
    assert learner.stream.head() == head
    assert_same_bits(probabilities(learner), expected)


def test_sigma_is_learned_again_once_and_taus_are_clustered_from_then_on() -> None:
    learner = new(consolidate_every=3, refit=True, max_accuracy_drop=1.0)
    for number in range(3):
        learner.learn(f"task-{number}", samples(number))
    [first, *learned] = learner.stream.log()
    assert (first.kind, first.details["refit"]) == ("consolidate", True)
    assert "learned again from a sigma of all of them" in first.message
    keys = {entry.name: entry.theta_key for entry in learned[0].entries}
    assert all(entry.theta_key != keys[entry.name] for entry in first.entries)
    assert learner.stream.evaluations.get(first.entries[0].theta_key)
    for number in range(3, 6):
        learner.learn(f"task-{number}", samples(number))
    assert not learner.stream.head().details["refit"]
    assert learner.stream.clustering(learner.stream.head()).rounds == 2
    assert verify(learner.stream).problems == ()


def test_sigma_is_learned_again_in_as_many_epochs_as_the_settings_say() -> None:
    keys = dict[int | None, str]()
    for epochs in (None, 1):
        learner = new(epochs=3, consolidate_every=2, refit=True, refit_epochs=epochs, max_accuracy_drop=1.0)
        for number in range(2):
            learner.learn(f"task-{number}", samples(number))
        newest = learner.stream.head()
        assert newest.details["refit"]
        keys[epochs] = newest.entries[0].theta_key
    assert keys[None] != keys[1]


def test_a_refit_that_costs_accuracy_is_refused_and_taus_are_clustered_instead() -> None:
    slow = {"capacity_per_task": 0.01, "mask_rate": 1.0, "private_rate": 0.01}  # a task learned again learns little
    learner = new(epochs=3, consolidate_every=3, refit=True, max_accuracy_drop=0.0, **slow)
    for number in range(3):
        learner.learn(f"task-{number}", samples(number, classes=10, count=240))
    [refused, *_] = learner.stream.refusals.consolidations()
    assert refused.refit
    assert "would lose" in refused.reasons[0]
    head = learner.stream.head()
    assert (head.kind, head.details["refit"]) == ("consolidate", False)


def test_of_a_training_that_diverges_nothing_is_kept() -> None:
    class Rooted(Small):
        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs.sqrt())

    learner, (inputs, labels) = Learner(Rooted, SHAPE, epochs=4), samples(1)
    learner.learn("a", (inputs.abs(), labels))
    with pytest.raises(Diverged, match="task 'b' diverged in epoch 1"):
        learner.learn("b", (inputs, labels))
    assert learner.tasks == ("a",)
    learner.learn("b", (inputs.abs(), labels))
    assert all(bool(part.isfinite().all()) for task in learner.tasks for part in learner.export(task).values())


def test_nothing_to_consolidate() -> None:
    with pytest.raises(StateError, match="nothing was learned yet"):
        new().consolidate()


def test_refuses_what_it_cannot_use() -> None:
    learner = two_tasks()
    inputs, labels = samples(1)
    with pytest.raises(DataError, match=r"task 'shoes' was learned in version 1; choose another name"):
        learner.learn("shoes", (inputs, labels))
    with pytest.raises(DataError, match=r"task 'hats' is dict; expected \(inputs, labels\)"):
        learner.learn("hats", {"x": inputs})
    with pytest.raises(DataError, match="is tuple, TensorDataset; expected"):
        learner.learn("hats", (inputs, labels), test=TensorDataset(inputs, labels))
    with pytest.raises(DataError, match=r"one input is \(2, 2\)"):
        learner.learn("hats", (inputs[:, 0, :2, :2], labels))
    with pytest.raises(DataError, match="uint8"):
        learner.learn("hats", (inputs.to(torch.uint8), labels))
    with pytest.raises(DataError, match="inputs are uint8 but the stream takes float32"):
        learner.predict("shoes", inputs.to(torch.uint8))
    assert learner.tasks == ("shoes", "bags")
    assert learner.stream.inbox.waiting() == []


def test_settings_are_checked_by_name_type_and_range() -> None:
    with pytest.raises(ConfigError, match=r"unknown setting 'epoch'; a learner has batch_size, .*epochs"):
        new(epoch=3)
    with pytest.raises(ConfigError, match=r"learning\.epochs is 'three' but must be a whole number"):
        new(epochs="three")
    with pytest.raises(ConfigError, match=r"consolidation\.tolerance"):
        new(tolerance=-1)
    config = new(seed=7, validation=0.3).stream.config
    assert (config.learning.seed, config.split.seed, config.split.validation) == (7, 7, 0.3)
