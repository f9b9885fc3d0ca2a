"""Task folders from arrays and from numpy's files; what cannot be used is named."""

import numpy as np
import pytest
import torch
from folders import PICTURE, STREAM, digits, loaded, pixels, rows_of, splits_of

from apd.config import StreamConfig
from apd.data import LocalFolder, load_task, pack_arrays, pack_numpy
from apd.data.packing.arrays import as_array, as_inputs
from apd.errors import DataError, TaskRejected


class TestArrays:
    def test_bytes_and_numbers_come_back(self, tmp_path):
        info = pack_arrays(tmp_path, "shoes", (pixels(), digits()), test=(pixels(3, seed=1), digits(3)))
        data = loaded(tmp_path)
        assert (info.classes, info.input_shape, info.input_dtype) == (("0", "1", "2"), PICTURE, "uint8")
        assert rows_of(data.train, data.validation) == sorted(tuple(row.ravel().tolist()) for row in pixels())
        assert np.array_equal(data.test.inputs.numpy(), pixels(3, seed=1))

    def test_label_values_become_class_names(self, tmp_path):
        info = pack_arrays(tmp_path / "a", "shoes", (pixels(), digits() * 10 + 5), test=(pixels(1), [[15]]))
        assert info.classes == ("5", "15", "25")
        assert load_task(LocalFolder(tmp_path / "a"), STREAM).test.labels.tolist() == [1]
        words = np.array(["boot", "clog", "sock"])
        assert pack_arrays(tmp_path / "b", "shoes", (pixels(), words[digits()])).classes == tuple(words)
        turned = pack_arrays(tmp_path / "c", "shoes", (pixels(), words[digits()]), classes=words[::-1].tolist())
        assert turned.classes == ("sock", "clog", "boot")

    def test_floats_of_any_width_become_float32(self, tmp_path):
        for kind in (np.float16, np.float32, np.float64):
            folder = tmp_path / kind.__name__
            info = pack_arrays(folder, "shoes", (np.ones((9, 2), kind), digits()))
            assert info.input_dtype == "float32"
            assert loaded(folder, StreamConfig((2,), "float32")).train.inputs.unique().tolist() == [1.0]

    def test_tensors_that_need_gradients(self, tmp_path):
        inputs = torch.ones(9, 2, requires_grad=True)
        assert pack_arrays(tmp_path, "shoes", (inputs, torch.from_numpy(digits()))).input_shape == (2,)

    def test_channels_are_turned_or_added_only_as_asked(self, tmp_path):
        last = np.moveaxis(pixels(), 1, -1)
        pack_arrays(tmp_path / "a", "shoes", (last, digits()), input_shape=PICTURE, channels_last=True)
        assert rows_of(*splits_of(loaded(tmp_path / "a"))) == sorted(tuple(row.ravel().tolist()) for row in pixels())
        grey = pack_arrays(tmp_path / "b", "shoes", (pixels()[:, 0], digits()), input_shape=(1, 4, 5))
        assert grey.input_shape == (1, 4, 5)
        with pytest.raises(
            DataError, match=r"train: one input is \(4, 5, 3\), expected \(3, 4, 5\); are its channels last"
        ):
            pack_arrays(tmp_path / "c", "shoes", (last, digits()), input_shape=PICTURE)

    @pytest.mark.parametrize(
        ("train", "options", "message"),
        [
            (
                (pixels().astype(np.int64), digits()),
                {},
                r"train: inputs are int64, expected uint8 \(0..255\) or floats",
            ),
            ((pixels(), digits(8)), {}, r"train: found inputs \(9, 3, 4, 5\) and 8 labels"),
            (
                (pixels(), digits() / 2),
                {},
                r"train: labels are float64 \(9,\), expected \(N,\) whole numbers or strings",
            ),
            ((pixels(), np.eye(3)[digits()] > 0), {}, r"labels are bool \(9, 3\)"),
            ((pixels(), digits()), {"classes": ["a", "b"]}, "row 2: found 2, expected 0..1"),
            (
                (pixels(), ["a", "b", "d"] * 3),
                {"classes": ["a", "b", "c"]},
                "found label 'd', expected one of 3 classes",
            ),
            ((pixels(), digits()), {"test": (pixels(1), ["a"])}, "labels of test are strings"),
            ((np.full((9, 2), 1e300), digits()), {}, "row 0, value 0: found inf, expected a finite number"),
            ((pixels(0), digits(0)), {}, "train has no samples"),
        ],
    )
    def test_arrays_that_cannot_be_used(self, tmp_path, train, options, message):
        with pytest.raises(DataError, match=message):
            pack_arrays(tmp_path, "shoes", train, **options)
        assert not (tmp_path / "task.json").exists()

    def test_names_are_checked_before_anything_is_written(self, tmp_path):
        with pytest.raises(TaskRejected, match=r"name is '../shoes'"):
            pack_arrays(tmp_path / "new", "../shoes", (pixels(), digits()))
        assert not (tmp_path / "new").exists()

    def test_grey_pictures_have_no_channels_to_turn(self, tmp_path):
        for number, grey in enumerate((pixels(shape=(4, 5)), pixels(shape=(4, 5, 1)))):
            folder = tmp_path / str(number)
            pack_arrays(folder, "shoes", (grey, digits()), input_shape=(1, 4, 5), channels_last=True)
            splits = splits_of(loaded(folder, StreamConfig((1, 4, 5))))
            assert rows_of(*splits) == sorted(tuple(row.ravel().tolist()) for row in grey)
        for shape, message in (
            ((), r"are \(9,\), expected 4 axes"),
            ((2, 4, 5, 3), r"are \(9, 2, 4, 5, 3\), expected"),
        ):
            with pytest.raises(DataError, match=message + ".*, the channels last, or 3 without any"):
                pack_arrays(tmp_path / "t", "shoes", (pixels(shape=shape), digits()), channels_last=True)

    def test_labels_as_tables_hold_them(self, tmp_path):
        words = np.array(["boot", "clog", "sock"], object)[digits()]
        assert pack_arrays(tmp_path / "a", "shoes", (pixels(), words)).classes == ("boot", "clog", "sock")
        assert pack_arrays(tmp_path / "b", "shoes", (pixels(), digits().astype(object))).classes == ("0", "1", "2")
        words[4] = float("nan")
        with pytest.raises(DataError, match="labels are object"):
            pack_arrays(tmp_path / "c", "shoes", (pixels(), words))

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            (
                torch.ones(9, 2).bfloat16(),
                r"found a tensor torch.bfloat16 \(9, 2\) that numpy cannot hold .*\.float\(\)",
            ),
            (torch.ones(9, 2).to_sparse(), r"found a tensor torch.float32 .*a dense tensor \(\.to_dense"),
            ([[0.0], [1.0, 2.0]], "found a list that numpy cannot hold"),
        ],
    )
    def test_what_numpy_cannot_hold(self, tmp_path, values, message):
        with pytest.raises(DataError, match=f"test, inputs: {message}"):
            pack_arrays(tmp_path, "shoes", (pixels(), digits()), test=(values, digits()))

    def test_lists_of_tensors_that_need_gradients(self, tmp_path):
        rows = [torch.full((2,), float(row), requires_grad=True) for row in range(9)]
        labels = list(torch.from_numpy(digits()))
        assert pack_arrays(tmp_path, "shoes", (rows, labels)).input_shape == (2,)

    def test_torch_can_share_what_becomes_of_any_array(self):
        backwards, frozen = pixels()[..., ::-1], pixels()
        frozen.flags.writeable = False
        for values in (backwards, frozen):
            shared = torch.from_numpy(as_inputs(values, PICTURE, "inputs"))  # a warning would be an error
            assert np.array_equal(shared.numpy(), values)

    def test_whole_numbers_in_lists_have_no_size_of_their_own(self):
        assert as_array(pixels().tolist(), dtype="uint8").dtype == np.uint8
        assert as_array([[0, 256], [3, -1]], dtype="float32").tolist() == [[0.0, 256.0], [3.0, -1.0]]
        for values in ([[0, 256]], [[0, -1]], np.zeros((1, 2), np.int64)):
            with pytest.raises(DataError, match="inputs: inputs are int64, expected uint8"):
                as_inputs(as_array(values, dtype="uint8"), (2,), "inputs")

    @pytest.mark.parametrize("classes", [2, {"a", "b", "c"}, {"a": 0, "b": 1, "c": 2}])
    def test_class_names_are_a_sequence(self, tmp_path, classes):
        with pytest.raises(DataError, match=r"classes is .*, expected a sequence of names in label order"):
            pack_arrays(tmp_path, "shoes", (pixels(), digits()), classes=classes)


class TestNumpyFiles:
    def test_class_names_in_a_file_are_text_or_bytes_of_it(self, tmp_path):
        def packed(classes):
            np.savez(tmp_path / "all.npz", x=pixels(), y=digits(), classes=classes)
            return pack_numpy(tmp_path / "all.npz", tmp_path / "t", "shoes")

        for wrong in (np.array([["a"], ["b"], ["c"]]), np.array(3), np.arange(3), np.array([b"\xff", b"b", b"c"])):
            with pytest.raises(DataError, match=r"all.npz: classes is .*, expected a sequence of strings"):
                packed(wrong)
        assert packed(np.array(["Käse".encode(), b"cat", b"dog"])).classes == ("Käse", "cat", "dog")

    @pytest.mark.parametrize("pattern", [("x_{}", "y_{}"), ("{}_images", "{}_labels"), ("{}_x", "{}_y")])
    def test_usual_names_of_arrays(self, tmp_path, pattern):
        arrays = {}
        for split, rows in (("train", 9), ("val", 4), ("test", 5)):
            arrays |= {pattern[0].format(split): pixels(rows), pattern[1].format(split): digits(rows)}
        np.savez(tmp_path / "all.npz", **arrays, classes=np.array(["a", "b", "c"]))
        info = pack_numpy(tmp_path / "all.npz", tmp_path / "t", "shoes")
        assert info.classes == ("a", "b", "c")
        assert [len(part) for part in splits_of(loaded(tmp_path / "t"))] == [9, 4, 5]

    def test_a_folder_of_npy(self, tmp_path):
        source = tmp_path / "arrays"
        source.mkdir()
        np.save(source / "inputs.npy", pixels())
        np.save(source / "labels.npy", digits()[:, None])
        assert pack_numpy(source, tmp_path / "t", "shoes").files == {"train": "train.parquet"}

    def test_files_that_cannot_be_used(self, tmp_path):
        target = tmp_path / "t"
        np.savez(tmp_path / "odd.npz", x=pixels(), y=digits(), weights=digits())
        with pytest.raises(DataError, match="array 'weights' is unknown or has no partner; expected pairs like"):
            pack_numpy(tmp_path / "odd.npz", target, "shoes")
        np.savez(tmp_path / "none.npz", x_test=pixels(), y_test=digits())
        with pytest.raises(DataError, match="there is no train"):
            pack_numpy(tmp_path / "none.npz", target, "shoes")
        np.savez(tmp_path / "pickle.npz", x=np.array([{}], object), y=digits())
        (tmp_path / "text.npz").write_text("not an archive")
        np.savez(tmp_path / "whole.npz", x=pixels(), y=digits())
        (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:200])
        for name in ("pickle", "text", "cut", "absent"):
            with pytest.raises(DataError, match=f"{name}.npz is not a readable file of arrays"):
                pack_numpy(tmp_path / f"{name}.npz", target, "shoes")
