"""Task folders from Datasets and from whatever a command line names."""

from pathlib import Path

import numpy as np
import pytest
import torch
from folders import PICTURE, STREAM, digits, encoded, hub_file, loaded, pixels, save
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from apd.config import StreamConfig
from apd.data import LocalFolder, load_task, pack, pack_arrays, pack_dataset, read_inputs
from apd.errors import DataError, TaskRejected


class Counted(Dataset):
    """Pillow pictures with their classes, read one at a time."""

    classes = ["even", "odd"]

    def __init__(self, rows=8):
        self.rows, self.reads = rows, 0

    def __len__(self):
        return self.rows

    def __getitem__(self, row):
        self.reads += 1
        return Image.new("L", (10, 8), row), row % 2


class Endless(IterableDataset):
    def __init__(self, *samples):
        self.samples = samples

    def __iter__(self):
        return iter(self.samples)


class TestDatasets:
    def test_each_sample_is_read_once(self, tmp_path):
        data = Counted()
        info = pack_dataset(data, tmp_path, "shoes", test=Counted(4), input_shape=PICTURE)
        assert data.reads == 8
        assert (info.classes, info.input_shape) == (("even", "odd"), PICTURE)
        assert loaded(tmp_path).test.inputs[3].unique().tolist() == [3]

    def test_tensors_and_iterables(self, tmp_path):
        pairs = TensorDataset(torch.rand(9, 2), torch.from_numpy(digits()))
        assert pack_dataset(pairs, tmp_path / "a", "shoes").input_dtype == "float32"
        assert pack_dataset(Endless(*pairs), tmp_path / "b", "shoes", classes=list("abc")).classes == ("a", "b", "c")
        assert pack_dataset(Counted(), tmp_path / "c", "shoes").input_shape == (1, 8, 10)

    def test_samples_that_cannot_be_used(self, tmp_path):
        ok = (torch.zeros(2), 0)
        for samples, message in (
            ([ok, (torch.zeros(3), 1)], r"train, sample 1: found float32 \(3,\), expected float32 \(2,\)"),
            ([ok, (torch.zeros(2), 0.5)], "train, sample 1: label is 0.5, expected a whole number"),
            ([ok, (torch.zeros(2).long(), 1)], "train, sample 1: inputs are int64"),
            ([ok, (torch.zeros(2), 2)], "found 2 labels from 0 to 2; expected 0..1 without gaps"),
            ([], "train has no samples"),
        ):
            with pytest.raises(DataError, match=message):
                pack_dataset(Endless(*samples), tmp_path, "shoes")


class Animals(Dataset):
    """Three of each of these classes; the picture of an animal holds the length of its name."""

    def __init__(self, *classes):
        self.classes = list(classes)

    def __len__(self):
        return 3 * len(self.classes)

    def __getitem__(self, row):
        return torch.tensor([float(len(self.classes[row // 3]))]), row // 3


class TestClassesOfDatasets:
    def test_labels_of_other_splits_go_by_their_names(self, tmp_path):
        info = pack_dataset(Animals("ox", "bee", "goat"), tmp_path / "t", "animals", test=Animals("goat", "ox"))
        test = load_task(LocalFolder(tmp_path / "t"), StreamConfig((1,), "float32")).test
        named = [info.classes[label] for label in test.labels.tolist()]
        assert list(zip(named, test.inputs.flatten().tolist(), strict=True)) == [("goat", 4.0)] * 3 + [("ox", 2.0)] * 3

    def test_names_that_are_given_win(self, tmp_path):
        pack_dataset(Animals("ox", "bee"), tmp_path, "animals", test=Animals("bee", "ox"), classes=["x", "y"])
        assert load_task(LocalFolder(tmp_path), StreamConfig((1,), "float32")).test.labels.tolist() == [
            0,
            0,
            0,
            1,
            1,
            1,
        ]

    def test_a_class_that_train_does_not_have(self, tmp_path):
        message = "test has the classes ox, cow, train has ox, bee; expected none but those of train, which lacks 'cow'"
        with pytest.raises(DataError, match=message):
            pack_dataset(Animals("ox", "bee"), tmp_path, "animals", test=Animals("ox", "cow"))

    @pytest.mark.parametrize("classes", [{"ox": 0, "bee": 1}, 2, "ox", [1, 2]])
    def test_classes_that_are_no_names(self, tmp_path, classes):
        data = Animals("ox", "bee")
        data.classes = classes
        with pytest.raises(DataError, match=r"train: classes is .*, expected a sequence of strings"):
            pack_dataset(data, tmp_path, "animals")


def test_what_a_dataset_raises_is_told_with_the_sample(tmp_path):
    class Broken(Endless):
        def __iter__(self):
            yield torch.zeros(2), 0
            raise OSError("bad sector")

    class Sizeless(Dataset):
        def __getitem__(self, row):
            return torch.zeros(2), row

    with pytest.raises(DataError, match="train, sample 1: reading it raised OSError: bad sector") as caught:
        pack_dataset(Broken(), tmp_path, "shoes")
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(DataError, match="train: found a Sizeless without __len__"):
        pack_dataset(Sizeless(), tmp_path, "shoes")


def test_paths_are_taken_literally(tmp_path, monkeypatch):
    """Arrow would look for a home folder of that user, and for a file system of that name."""
    monkeypatch.chdir(tmp_path)
    for folder in ("~nobody-here", "odd:name"):
        pack_arrays(Path(folder), "shoes", (pixels(), digits()))
        loaded(tmp_path / folder)


def test_each_kind_of_source_is_recognised(tmp_path, monkeypatch):
    np.savez(tmp_path / "all.npz", x=pixels(), y=digits())
    arrays = tmp_path / "arrays"
    arrays.mkdir()
    np.save(arrays / "x.npy", pixels())
    np.save(arrays / "y.npy", digits())
    hub = tmp_path / "hub"
    hub.mkdir()
    for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
        hub_file(hub / f"{name}.parquet", img=encoded(), label=digits())
    for name in ("a", "b"):
        for row in range(3):
            save(tmp_path / "pictures" / name / f"{row}.png")
    (tmp_path / "mine_data.py").write_text(
        "import torch\nfrom torch.utils.data import TensorDataset\n"
        "def one(): return TensorDataset(torch.zeros(6, 3, 4, 5, dtype=torch.uint8), torch.arange(6) % 2)\n"
        "def two(): return {'train': one(), 'test': one()}\n"
        "def neither(): return {'train': one(), 'dev': 7}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    sources = ["all.npz", "arrays", "hub", "hub/train-00000-of-00002.parquet", "pictures"]
    for number, source in enumerate([*(str(tmp_path / name) for name in sources), "mine_data:one", "mine_data:two"]):
        info = pack(source, tmp_path / f"t{number}", "shoes", STREAM)
        assert ("test" in info.files) == source.endswith(("hub", "two"))
        loaded(tmp_path / f"t{number}")
    with pytest.raises(DataError, match=r"'dev': 'int'.*; expected a torch Dataset"):
        pack("mine_data:neither", tmp_path / "u", "shoes", STREAM)


def test_what_fits_no_packer_or_not_the_stream(tmp_path):
    with pytest.raises(DataError, match="nowhere does not exist; expected a folder of pictures"):
        pack(str(tmp_path / "nowhere"), tmp_path / "t", "shoes", STREAM)
    for name in ("nothere.parquet", "nothere.npz"):
        with pytest.raises(DataError, match=f"{name} does not exist; expected a folder of pictures"):
            pack(str(tmp_path / name), tmp_path / "t", "shoes", STREAM)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DataError, match=r"notes.txt exists but is of another kind"):
        pack(str(tmp_path / "notes.txt"), tmp_path / "t", "shoes", STREAM)
    np.savez(tmp_path / "all.npz", x=pixels() / 255, y=digits())
    with pytest.raises(TaskRejected, match=r"inputs are float32 .*but the stream takes uint8"):
        pack(str(tmp_path / "all.npz"), tmp_path / "t", "shoes", STREAM)
    assert not (tmp_path / "t" / "task.json").exists()
    (tmp_path / "hub").mkdir()
    hub_file(tmp_path / "hub" / "dev.parquet", img=encoded(), label=digits())
    with pytest.raises(DataError, match=r"dev.parquet begins with no split's name"):
        pack(str(tmp_path / "hub"), tmp_path / "t", "shoes", STREAM)


def test_a_source_where_the_task_would_be_made_is_left_alone(tmp_path, monkeypatch):
    """`cd photos; apd pack shoes shoes`, with the shoes as they come from the hub."""
    shoes = tmp_path / "shoes"
    shoes.mkdir()
    for split in ("train", "test"):
        hub_file(shoes / f"{split}.parquet", img=encoded(), label=digits())
    before = {path.name: path.read_bytes() for path in shoes.iterdir()}
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"shoes is shoes, where the task would be made; choose another folder"):
        pack("shoes", Path("shoes"), "shoes", STREAM)
    with pytest.raises(DataError, match=r"shoes/train.parquet lies in shoes, where the task would be made"):
        pack("shoes/train.parquet", Path("shoes"), "shoes", STREAM)
    with pytest.raises(
        DataError, match=r"shoes holds shoes/task, where the task would be made; choose a folder outside"
    ):
        pack("shoes", Path("shoes/task"), "shoes", STREAM)
    assert {path.name: path.read_bytes() for path in shoes.iterdir()} == before
    assert pack("shoes", tmp_path / "out" / "shoes", "shoes", STREAM).files.keys() == {"train", "test"}


def test_a_task_of_another_stream_does_not_stand_in_the_way_of_the_next(tmp_path):
    np.savez(tmp_path / "wrong.npz", x=pixels() / 255, y=digits())
    np.savez(tmp_path / "right.npz", x=pixels(), y=digits())
    with pytest.raises(TaskRejected, match="the stream takes uint8"):
        pack(str(tmp_path / "wrong.npz"), tmp_path / "t", "shoes", STREAM)
    pack(str(tmp_path / "right.npz"), tmp_path / "t", "shoes", STREAM)
    loaded(tmp_path / "t")


def test_inputs_to_predict_for(tmp_path):
    np.save(tmp_path / "many.npy", pixels())
    np.save(tmp_path / "one.npy", pixels()[0])
    np.savez(tmp_path / "two.npz", a=pixels(), b=pixels())
    assert np.array_equal(read_inputs(tmp_path / "many.npy", STREAM).numpy(), pixels())
    assert read_inputs(tmp_path / "one.npy", STREAM).shape == (1, *PICTURE)
    with pytest.raises(DataError, match=r"has the arrays \['a', 'b'\]; expected one, of inputs"):
        read_inputs(tmp_path / "two.npz", STREAM)
    with pytest.raises(DataError, match="holds uint8 inputs, but the stream takes float32"):
        read_inputs(tmp_path / "many.npy", StreamConfig(PICTURE, "float32"))
