"""Splits and batches: stratified, the same for ever, and every sample exactly once."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from apd.config import SEEDS, SplitConfig
from apd.data.splits import Split, TaskData, permutation, pool, split, split_rows
from apd.data.spool import spool
from apd.errors import DataError

labels_of_some_classes = st.lists(st.integers(0, 4), min_size=1, max_size=80).map(torch.tensor)


def numbered(count, classes=3):
    return Split(torch.arange(count, dtype=torch.float32)[:, None], torch.arange(count) % classes)


@settings(deadline=None)
@given(
    labels_of_some_classes,
    st.booleans(),
    st.booleans(),
    st.integers(0, 3) | st.just(SEEDS - 1),
    st.floats(0.01, 0.45),
    st.floats(0.01, 0.45),
)
def test_every_sample_is_in_one_split_and_every_class_in_train(labels, validation, test, seed, chosen, tested):
    config = SplitConfig(chosen, tested, seed)
    parts = split_rows(labels, config, validation=validation, test=test)
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(len(labels)))
    assert all(bool((part.diff() > 0).all()) for part in parts)
    assert (len(parts[1]) > 0) <= validation
    assert (len(parts[2]) > 0) <= test
    for label in labels.unique():
        counts = [int((labels[part] == label).sum()) for part in parts]
        assert counts[0] >= 1
        if sum(counts) > 2:
            assert (counts[1] > 0, counts[2] > 0) == (validation, test)
            assert abs(counts[2] - test * sum(counts) * tested) <= 1


def test_a_class_is_split_alike_whatever_the_other_classes_are():
    alone = split_rows(torch.zeros(20, dtype=torch.int64), SplitConfig(), validation=True, test=True)
    mixed = split_rows(torch.arange(40) % 2, SplitConfig(), validation=True, test=True)
    for one, both in zip(alone, mixed, strict=True):
        assert torch.equal(one, both[both % 2 == 0] // 2)


def test_the_split_is_the_same_in_every_release():
    train, validation, test = split_rows(torch.arange(20) % 2, SplitConfig(seed=1), validation=True, test=True)
    assert (validation.tolist(), test.tolist()) == ([2, 3, 7, 8], [0, 9, 10, 11])
    assert len(train) == 12


def test_splits_too_small_to_hold_anything_out_are_refused():
    with pytest.raises(DataError, match="2 samples are too few to hold some out for validation"):
        split(numbered(2), SplitConfig())


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(-2, 5), st.integers(0, 5))
def test_batches_are_all_samples_once_in_an_order_of_seed_and_epoch(count, size, seed, epoch):
    samples = numbered(count)
    batches = list(samples.batches(size, seed, epoch))
    inputs = torch.cat([batch for batch, _ in batches])
    assert torch.equal(inputs.flatten().sort().values, samples.inputs.flatten())
    assert all(torch.equal(labels, (values.flatten() % 3).long()) for values, labels in batches)
    assert all(len(labels) == size for _, labels in batches[:-1])
    assert count == 1 or size == 1 or all(1 < len(labels) <= size + 1 for _, labels in batches)
    assert torch.equal(inputs, torch.cat([batch for batch, _ in samples.batches(size, seed, epoch)]))


def test_epochs_and_seeds_shuffle_differently():
    orders = {tuple(permutation(20, seed, epoch).tolist()) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


def test_chunks_keep_the_order():
    chunks = list(numbered(10).chunks(4))
    assert [len(labels) for _, labels in chunks] == [4, 4, 2]
    assert torch.cat([inputs for inputs, _ in chunks]).flatten().tolist() == list(range(10))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.data())
def test_pooled_tasks_are_their_samples_one_after_another_with_classes_of_their_own(sizes, data):
    inputs, classes, first = torch.arange(sum(sizes), dtype=torch.float32)[:, None], [2, 5, 3, 2][: len(sizes)], 0
    parts, labels = [], []
    for number, (size, count) in enumerate(zip(sizes, classes, strict=True)):
        part = Split(inputs[first : first + size], torch.arange(size) % count)
        labels.append(part.labels + sum(classes[:number]))
        on_disk = spool([(part.inputs.numpy(), part.labels.numpy())], size, (1,), "float32")
        parts.append(on_disk if data.draw(st.booleans()) else part)
        first += size
    pooled = pool([TaskData(part, part, part) for part in parts], classes)
    for split_of_all in (pooled.train, pooled.validation.to("cpu"), pooled.test.take(torch.arange(first))):
        assert len(split_of_all) == first
        assert split_of_all.row_bytes == 4
        assert torch.equal(split_of_all.labels, torch.cat(labels))
        rows = torch.tensor(data.draw(st.lists(st.integers(0, first - 1), max_size=12)), dtype=torch.int64)
        assert torch.equal(split_of_all.pick(rows), inputs[rows])


def test_wrong_samples_are_refused():
    with pytest.raises(DataError, match="expected one int64 label per input"):
        Split(torch.zeros(3, 2), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(DataError, match=r"inputs are torch.float64 but must be"):
        Split(torch.zeros(2, 2, dtype=torch.float64), torch.zeros(2, dtype=torch.int64))
