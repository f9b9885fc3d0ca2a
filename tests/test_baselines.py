import dataclasses
import json

import pytest
import torch
import toys
from safetensors.torch import load_file, save_file
from torch.nn import functional

from apd.baselines import ElasticWeights, FineTuning, SeparateNetwork, fisher
from apd.config import LearningConfig
from apd.errors import StateError, UnknownTask
from apd.loop import bare_accuracy
from apd.state import Snapshot

CONFIG = LearningConfig(epochs=6, batch_size=20, learning_rate=0.01)


def fine_tuned(*seeds: int) -> FineTuning:
    method = FineTuning(toys.network(), CONFIG)
    for seed in seeds:
        for _ in method.learn(f"t{seed}", toys.CLASSES, toys.data(seed)):
            pass
    return method


def test_a_separate_network_learns_its_task():
    training = SeparateNetwork(toys.network(), "t", toys.CLASSES, toys.data(1), CONFIG)
    seen = [progress.validation_accuracy for progress in training.epochs()]
    trained = training.result()
    assert bare_accuracy(toys.network(), trained.tensors, toys.data(1).test) > 0.9
    assert trained.validation_accuracy == max(seen[-5:])
    assert bare_accuracy(toys.network(), trained.tensors, toys.data(1).validation) == trained.validation_accuracy


def test_a_separate_network_starts_where_it_is_told():
    begun = {"0.weight": torch.full((16, toys.SIZE), 0.5)}
    training = SeparateNetwork(toys.network(), "t", toys.CLASSES, toys.data(1), CONFIG, start=begun)
    assert torch.equal(training.snapshot().tensors["body/0.weight"], begun["0.weight"])
    for _ in training.epochs():
        pass
    assert torch.equal(begun["0.weight"], torch.full((16, toys.SIZE), 0.5))


def test_a_separate_network_resumes_with_the_same_bits():
    network = toys.normalised_network()
    runs = [SeparateNetwork(network, "t", toys.CLASSES, toys.data(1), CONFIG) for _ in range(2)]
    epochs = runs[0].epochs()
    next(epochs)
    runs[1].restore(runs[0].snapshot())
    for _ in epochs:
        pass
    for _ in runs[1].epochs():
        pass
    for name, tensor in runs[0].result().tensors.items():
        assert torch.equal(tensor, runs[1].result().tensors[name]), name


def test_fine_tuning_forgets():
    method = fine_tuned(1)
    before = method.accuracy("t1", toys.data(1).test)
    after = fine_tuned(1, 2, 3)
    assert after.tasks == ("t1", "t2", "t3")
    assert before > 0.9
    assert after.accuracy("t3", toys.data(3).test) > 0.9
    assert after.accuracy("t1", toys.data(1).test) < before - 0.1


def test_fine_tuning_resumes_between_tasks_with_the_same_bits(tmp_path):
    whole, saved = fine_tuned(1, 2), fine_tuned(1).snapshot()
    save_file(dict(saved.tensors), tmp_path / "f.safetensors")
    resumed = FineTuning(toys.network(), CONFIG)
    resumed.restore(Snapshot(load_file(tmp_path / "f.safetensors"), json.loads(json.dumps(saved.values))))
    for _ in resumed.learn("t2", toys.CLASSES, toys.data(2)):
        pass
    for name, tensor in whole.snapshot().tensors.items():
        assert torch.equal(tensor, resumed.snapshot().tensors[name]), name


def test_fine_tuning_refuses_what_it_does_not_know():
    with pytest.raises(UnknownTask, match="has not learned task 'x'; it has none"):
        FineTuning(toys.network(), CONFIG).accuracy("x", toys.data(1).test)
    with pytest.raises(StateError, match="snapshot is of 'Fit', expected 'FineTuning'"):
        FineTuning(toys.network(), CONFIG).restore(Snapshot({}, {"method": "Fit"}))


def elastic(stiffness: float, *seeds: int) -> ElasticWeights:
    method = ElasticWeights(toys.network(), CONFIG, stiffness=stiffness, samples=30)
    for seed in seeds:
        for _ in method.learn(f"t{seed}", toys.CLASSES, toys.data(seed)):
            pass
    return method


def test_elastic_weights_forget_less_and_without_stiffness_are_fine_tuning():
    loose, stiff = elastic(0.0, 1, 2, 3), elastic(1000.0, 1, 2, 3)
    for name, tensor in fine_tuned(1, 2, 3).snapshot().tensors.items():
        assert torch.equal(tensor, loose.snapshot().tensors[name]), name
    assert stiff.accuracy("t1", toys.data(1).test) > loose.accuracy("t1", toys.data(1).test) + 0.1


def test_elastic_weights_resume_between_tasks_with_the_same_bits():
    whole, resumed = elastic(100.0, 1, 2), ElasticWeights(toys.network(), CONFIG, stiffness=100.0, samples=30)
    resumed.restore(elastic(100.0, 1).snapshot())
    for _ in resumed.learn("t2", toys.CLASSES, toys.data(2)):
        pass
    for name, tensor in whole.snapshot().tensors.items():
        assert torch.equal(tensor, resumed.snapshot().tensors[name]), name


def test_fisher_is_the_mean_squared_gradient_over_the_labels_that_the_network_predicts():
    network, split = toys.network(), toys.data(1, samples=4).train
    tensors = network.initial(toys.CLASSES, 0)
    often = split.take(torch.arange(len(split)).repeat(1000))
    found = fisher(network, tensors, {"0.weight"}, often, samples=len(often))
    assert set(found) == {"0.weight"}
    leaf = tensors["0.weight"].requires_grad_()
    expected = torch.zeros_like(leaf)
    for inputs in split.inputs:
        for label in range(toys.CLASSES):
            logits = network.forward(tensors, inputs[None], training=False)
            (gradient,) = torch.autograd.grad(functional.cross_entropy(logits, torch.tensor([label])), leaf)
            expected += logits.softmax(1)[0, label].detach() * gradient**2 / len(split)
    assert (found["0.weight"] - expected).abs().sum() < 0.05 * expected.sum()


def test_separate_networks_compute_in_the_precision_they_are_told():
    exact, rough = (separately(dataclasses.replace(CONFIG, epochs=1, precision=name)) for name in toys.PRECISIONS)
    assert all(value.dtype == torch.float32 for value in rough.values())
    assert not torch.equal(exact["0.weight"], rough["0.weight"])
    torch.testing.assert_close(exact["0.weight"], rough["0.weight"], atol=CONFIG.learning_rate, rtol=0)


def separately(config: LearningConfig) -> dict[str, torch.Tensor]:
    training = SeparateNetwork(toys.network(), "t", toys.CLASSES, toys.data(1), config)
    for _ in training.epochs():
        pass
    return dict(training.result().tensors)
