"""Benchmark streams from files in the official formats: the right rows, orders and notes, and errors that help."""

import hashlib
import os
from pathlib import Path

import numpy as np
import publications as small
import pytest
import torch

from apd.data.official import BENCHMARKS, ORDERS, load_benchmark
from apd.data.official.orders import order_of
from apd.data.official.sources import Files, Source
from apd.errors import ConfigError, DataError


def lengths(task):
    return [len(part) for part in (task.data.train, task.data.validation, task.data.test)]


def same(one, other):
    return one.name == other.name and all(
        torch.equal(a.inputs, b.inputs) and torch.equal(a.labels, b.labels)
        for a, b in ((one.data.train, other.data.train), (one.data.test, other.data.test))
    )


class TestOrders:
    @pytest.mark.parametrize("name", BENCHMARKS)
    @pytest.mark.parametrize("order", ORDERS)
    def test_every_order_holds_every_task_once(self, name, order):
        count = 20 if name == "cifar100-superclass" else 10
        assert sorted(order_of(name, order, count)) == list(range(count))
        assert sorted(order_of(name, order, 4)) == [0, 1, 2, 3]

    def test_the_authors_orders_and_our_own(self):
        assert order_of("cifar100-split", "B", 10) == (1, 7, 4, 5, 2, 0, 8, 6, 9, 3)
        assert order_of("cifar100-split", "B", 5) == (1, 4, 2, 0, 3)
        assert order_of("cifar100-superclass", "E", 20)[:4] == (6, 14, 0, 11)
        assert len({order_of("omniglot-rotation", order, 100) for order in ORDERS}) == 5

    def test_an_order_that_does_not_exist(self):
        with pytest.raises(ConfigError, match="order is 'F' but must be one of A, B, C, D, E"):
            order_of("digits", "F", 3)


class TestFiles:
    def test_official_files_leave_no_note(self, tmp_path):
        (tmp_path / "a").write_bytes(b"content")
        files = Files(tmp_path, insist=True)
        md5 = hashlib.md5(b"content").hexdigest()
        assert files.path(Source("a", md5, "somewhere")) == tmp_path / "a"
        assert files.notes == []

    def test_others_are_noted_once_or_refused(self, tmp_path):
        (tmp_path / "a").write_bytes(b"content")
        altered, unknown = Source("a", "0" * 32, "somewhere"), Source("a", None, "somewhere")
        files = Files(tmp_path)
        for _ in range(2):
            files.path(altered)
        files.path(unknown)
        assert len(files.notes) == 2
        assert files.notes[0].startswith(
            "unofficial copy: a has md5 9a0364b9e99bb480dd25e1f0284c8555, the official file 0"
        )
        with pytest.raises(DataError, match=r"a has md5 9a.*; get the official one from somewhere"):
            Files(tmp_path, insist=True).path(altered)

    def test_absent_files_say_where_they_can_be_had(self, tmp_path):
        for name, file in (
            ("omniglot-rotation", "images_background.zip from https://github.com/brendenlake/omniglot"),
            ("cifar100-split", "cifar-100-binary.tar.gz from https://www.cs.toronto.edu"),
            ("permuted-mnist", "train-images-idx3-ubyte.gz from http://yann.lecun.com"),
            ("fashion-mnist-split", "train-images-idx3-ubyte.gz from https://github.com/zalandoresearch"),
        ):
            with pytest.raises(DataError, match=rf"is absent; get {file}"):
                load_benchmark(name, tmp_path)
        with pytest.raises(
            DataError, match=r"holds none of mnist, .*without svhn: svhn/train_32x32.mat is absent; get it"
        ):
            load_benchmark("five-datasets", tmp_path)


def test_settings_that_do_not_exist_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="benchmark is 'imagenet' but must be one of digits"):
        load_benchmark("imagenet", tmp_path)
    with pytest.raises(ConfigError, match="data folder is None but must be a folder with the files of permuted-mnist"):
        load_benchmark("permuted-mnist")
    with pytest.raises(ConfigError, match="legacy_layout is True but must be false: digits has one layout only"):
        load_benchmark("digits", legacy_layout=True)
    with pytest.raises(ConfigError, match="number of tasks is 17 but must be from 1 to 16"):
        load_benchmark("digits", count=17)


def test_the_embedded_stream_needs_no_folder():
    benchmark = load_benchmark("digits", order="C", count=4)
    assert (len(benchmark), benchmark.input_shape, benchmark.notes) == (4, (1, 8, 8), ())
    natural = [task.name for task in load_benchmark("digits", count=4)]
    assert [task.name for task in benchmark] == [natural[number] for number in benchmark.order]


class TestMnist:
    def test_permuted(self, tmp_path):
        small.save_mnist(tmp_path / "mnist", 60)
        plain, turned = load_benchmark("permuted-mnist", tmp_path, count=2)
        assert lengths(plain) == [50, 10, 30]
        assert np.array_equal(plain.data.test.inputs[:, 0].numpy(), small.pixels(30, (28, 28)))
        assert plain.data.test.labels.tolist() == [number % 10 for number in range(30)]
        assert not torch.equal(plain.data.train.inputs, turned.data.train.inputs)
        sets = [task.data.train.inputs.flatten(1).sort().values for task in (plain, turned)]
        assert torch.equal(*sets)

    def test_fashion_split(self, tmp_path):
        small.save_mnist(tmp_path / "fashion-mnist", 60)
        benchmark = load_benchmark("fashion-mnist-split", tmp_path)
        tasks = list(benchmark)
        assert [task.classes for task in tasks][1:3] == [("Pullover", "Dress"), ("Coat", "Sandal")]
        assert [task.name for task in tasks] == [f"fashion-mnist-{n}-{n + 1}" for n in range(0, 10, 2)]
        assert lengths(tasks[0]) == [10, 2, 6]
        assert tasks[2].data.test.labels.tolist() == [0, 1] * 3
        assert len(benchmark.notes) == 4

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda content: b"no gzip", "is not a readable gzip file"),
            (lambda content: content[:-9], "is not a readable gzip file"),
            (lambda content: small.gzip.compress(b"\0\0\x09\x01" + bytes(8)), "begins with 00000901; expected 000008"),
            (
                lambda content: small.gzip.compress(b"\0\0\x08\x01\0\0\0\x05" + bytes(4)),
                r"holds 4 values; expected \[5\]",
            ),
        ],
    )
    def test_damaged_files(self, tmp_path, damage, message):
        small.save_mnist(tmp_path / "mnist")
        path = tmp_path / "mnist" / "train-labels-idx1-ubyte.gz"
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(DataError, match=message):
            load_benchmark("permuted-mnist", tmp_path)


class TestOmniglot:
    def test_rotations_share_their_class_and_drawers_never_change_sides(self, tmp_path):
        small.save_omniglot(tmp_path)
        benchmark = load_benchmark("omniglot-rotation", tmp_path)
        one, two = benchmark
        assert (len(benchmark), benchmark.input_shape) == (2, (1, 28, 28))
        assert lengths(one) == [12 * 13 * 4, 12 * 2 * 4, 12 * 5 * 4]
        assert one.classes[0] == "Alphabet_background/character01"
        assert two.classes[2:4] == ("Alphabet_background/character15", "Alphabet_evaluation/character01")
        for part, drawers in ((one.data.train, 13), (one.data.validation, 2), (one.data.test, 5)):
            assert part.labels.tolist() == [label for label in range(12) for _ in range(drawers * 4)]
        ink = [
            set(part.inputs.flatten(1).sum(1).tolist()) for part in (one.data.train, one.data.validation, one.data.test)
        ]
        assert max(ink[0]) < min(ink[1]) <= max(ink[1]) < min(ink[2])
        first = one.data.test.inputs[:4]
        assert all(torch.equal(first[0].rot90(quarter, (1, 2)), first[quarter]) for quarter in range(4))
        assert first[0, 0, 0, 0] == 255

    def test_too_few_or_incomplete_characters(self, tmp_path):
        small.save_omniglot(tmp_path / "few", (5, 5))
        with pytest.raises(DataError, match="holds 10 characters; expected 12 at least"):
            load_benchmark("omniglot-rotation", tmp_path / "few")
        small.save_omniglot(tmp_path / "odd")
        with small.zipfile.ZipFile(tmp_path / "odd" / "omniglot" / "images_evaluation.zip", "a") as archive:
            archive.writestr("images_evaluation/Alphabet_evaluation/character01/0001_21.png", b"")
        with pytest.raises(DataError, match="character01 holds 21 drawings; expected 20, one per drawer"):
            load_benchmark("omniglot-rotation", tmp_path / "odd")


class TestCifar100:
    def test_archive_and_parquet_give_the_same_tasks(self, tmp_path):
        small.save_cifar100_archive(tmp_path / "archive")
        small.save_cifar100_parquet(tmp_path / "parquet")
        for name in ("cifar100-split", "cifar100-superclass"):
            one, other = (load_benchmark(name, tmp_path / kind, order="B", count=3) for kind in ("archive", "parquet"))
            assert all(same(a, b) and a.classes == b.classes for a, b in zip(one, other, strict=True))

    def test_split_takes_consecutive_classes(self, tmp_path):
        small.save_cifar100_archive(tmp_path)
        benchmark = load_benchmark("cifar100-split", tmp_path)
        second = list(benchmark)[1]
        assert (len(benchmark), second.name) == (10, "cifar100-10-19")
        assert second.classes == tuple(small.CIFAR100_FINE[10:20])
        assert lengths(second) == [30, 10, 20]
        assert np.array_equal(second.data.test.inputs[:10].numpy(), small.pixels(200, (3, 32, 32))[10:20])
        assert second.data.test.labels.tolist() == list(range(10)) * 2

    def test_superclass_takes_its_five_by_ascending_label(self, tmp_path):
        small.save_cifar100_archive(tmp_path)
        benchmark = load_benchmark("cifar100-superclass", tmp_path)
        third = list(benchmark)[2]
        assert (len(benchmark), third.name) == (20, "cifar100-coarse-02")
        assert third.classes == ("fine02", "fine22", "fine42", "fine62", "fine82")
        assert lengths(third) == [15, 5, 10]

    def test_the_legacy_layout_takes_planar_values_for_interleaved_ones(self, tmp_path):
        small.save_cifar100_archive(tmp_path)
        right = next(iter(load_benchmark("cifar100-split", tmp_path))).data.test.inputs
        benchmark = load_benchmark("cifar100-split", tmp_path, legacy_layout=True)
        wrong = next(iter(benchmark)).data.test.inputs
        flat = right[3].flatten().tolist()
        assert wrong[3, :, 0, 0].tolist() == flat[:3]
        assert wrong[3, :, 0, 1].tolist() == flat[3:6]
        assert any("legacy layout" in note for note in benchmark.notes)

    def test_what_is_not_the_official_set_is_noted(self, tmp_path):
        small.save_cifar100_parquet(tmp_path)
        notes = load_benchmark("cifar100-split", tmp_path).notes
        assert "cifar100: 400 train pictures, officially 50,000" in notes
        md5 = hashlib.md5((tmp_path / "cifar100" / "test.parquet").read_bytes()).hexdigest()
        assert (
            f"unofficial copy: cifar100/test.parquet has md5 {md5}, and no official checksum to compare with" in notes
        )
        with pytest.raises(DataError, match="no official checksum to compare with; get the official one"):
            load_benchmark("cifar100-split", tmp_path, insist=True)

    def test_damaged_archives(self, tmp_path):
        path = tmp_path / "cifar100" / "cifar-100-binary.tar.gz"
        small.save_tar(path, {"cifar-100-binary/train.bin": bytes(3000)})
        with pytest.raises(DataError, match=r"train.bin is 3000 bytes long; expected records of 3074"):
            load_benchmark("cifar100-split", tmp_path)
        small.save_tar(path, {"cifar-100-binary/train.bin": bytes(3074)})
        with pytest.raises(DataError, match=r"has no readable cifar-100-binary/test.bin"):
            load_benchmark("cifar100-split", tmp_path)
        path.write_bytes(b"not an archive")
        with pytest.raises(DataError, match=r"has no readable cifar-100-binary/train.bin"):
            load_benchmark("cifar100-split", tmp_path)


class TestFiveDatasets:
    def test_all_five_in_colour(self, tmp_path):
        small.save_mnist(tmp_path / "mnist")
        small.save_mnist(tmp_path / "fashion-mnist")
        small.save_notmnist(tmp_path)
        small.save_cifar10(tmp_path)
        small.save_svhn(tmp_path)
        benchmark = load_benchmark("five-datasets", tmp_path)
        tasks = {task.name: task for task in benchmark}
        assert list(tasks) == ["mnist", "fashion-mnist", "notmnist", "cifar10", "svhn"]
        assert all(task.data.test.inputs.shape[1:] == (3, 32, 32) for task in tasks.values())
        grey = tasks["mnist"].data.test.inputs
        assert torch.equal(grey[:, 0], grey[:, 2])
        assert not grey[:, :, :2].any()
        assert np.array_equal(grey[:, 1, 2:30, 2:30].numpy(), small.pixels(20, (28, 28)))
        assert np.array_equal(tasks["svhn"].data.test.inputs.numpy(), small.pixels(40, (3, 32, 32)))
        assert tasks["svhn"].data.test.labels[:10].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
        assert lengths(tasks["cifar10"]) == [90, 10, 20]
        assert tasks["cifar10"].classes[3] == "kind3"
        assert lengths(tasks["notmnist"]) == [160, 20, 20]
        assert "notmnist/notMNIST_small.tar.gz: left out 1 unreadable pictures" in benchmark.notes

    def test_what_is_not_there_is_left_out_and_noted(self, tmp_path):
        small.save_svhn(tmp_path)
        benchmark = load_benchmark("five-datasets", tmp_path)
        assert [task.name for task in benchmark] == ["svhn"]
        assert any(
            note.startswith("without cifar10: cifar10/cifar-10-binary.tar.gz is absent; get it")
            for note in benchmark.notes
        )

    def test_damaged_files(self, tmp_path):
        small.save_svhn(tmp_path)
        (tmp_path / "svhn" / "test_32x32.mat").write_bytes(b"no MATLAB")
        with pytest.raises(DataError, match=r"test_32x32.mat is not a readable file of format 2"):
            next(iter(load_benchmark("five-datasets", tmp_path)))
        (tmp_path / "notmnist").mkdir()
        (tmp_path / "notmnist" / "notMNIST_small.tar.gz").write_bytes(b"no archive")
        with pytest.raises(DataError, match="is not a readable archive"):
            next(iter(load_benchmark("five-datasets", tmp_path)))


REAL = Path(os.environ.get("APD_DATA", ""))


@pytest.mark.skipif("APD_DATA" not in os.environ, reason="APD_DATA names no folder with the official files")
@pytest.mark.parametrize(
    ("name", "tasks", "classes", "training"),
    [
        ("omniglot-rotation", 100, 12, 624),
        ("permuted-mnist", 10, 10, 54_001),
        ("fashion-mnist-split", 5, 2, 10_800),
        ("cifar100-split", 10, 10, 4_000),
        ("cifar100-superclass", 20, 5, 2_000),
    ],
)
def test_the_real_files(name, tasks, classes, training):
    benchmark = load_benchmark(name, REAL, order="B")
    first = next(iter(benchmark))
    assert (len(benchmark), len(first.classes)) == (tasks, classes)
    assert len(first.data.train) == training or any("officially" in note for note in benchmark.notes)
    assert torch.bincount(first.data.test.labels, minlength=classes).min() > 0
