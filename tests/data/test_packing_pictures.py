"""Task folders from pictures, in folders and in Parquet; what cannot be used is named with its file and row."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from folders import PICTURE, STREAM, digits, encoded, hub_file, loaded, pixels, save, splits_of
from PIL import Image

from apd.config import StreamConfig
from apd.data import pack_image_folder, pack_parquet, read_inputs
from apd.errors import DataError


class TestPictures:
    def test_classes_are_the_folders(self, tmp_path):
        for number, name in enumerate(("clog", "boot", "sock")):
            for row in range(3):
                save(tmp_path / "in" / name / f"{row}.png", colour=(number * 20, row, 7))
        (tmp_path / "in" / "boot" / ".hidden").write_text("left by a file manager")
        info = pack_image_folder(tmp_path / "in", tmp_path / "t", "shoes", input_shape=PICTURE)
        data = loaded(tmp_path / "t")
        assert info.classes == ("boot", "clog", "sock")
        for split in splits_of(data):
            reds = [0, 20, 40]
            assert split.inputs[:, 0, 0, 0].tolist() == [{0: 20, 1: 0, 2: 40}[label] for label in split.labels.tolist()]
            assert set(split.inputs[:, 0].unique().tolist()) <= set(reds)

    def test_splits_are_folders_where_there_is_a_train(self, tmp_path):
        for split, rows in (("train", 3), ("val", 1), ("test", 2)):
            for name in ("a", "b"):
                for row in range(rows):
                    save(tmp_path / "in" / split / name / f"{row}.jpg")
        pack_image_folder(tmp_path / "in", tmp_path / "t", "shoes", input_shape=PICTURE)
        assert [len(part) for part in splits_of(loaded(tmp_path / "t"))] == [6, 2, 4]
        save(tmp_path / "in" / "test" / "c" / "0.png")
        with pytest.raises(DataError, match=r"test/c is a class that train does not have; expected some of a, b"):
            pack_image_folder(tmp_path / "in", tmp_path / "u", "shoes", input_shape=PICTURE)
        save(tmp_path / "in" / "boots" / "0.png")
        with pytest.raises(DataError, match="should be splits, but 'boots' is not one of"):
            pack_image_folder(tmp_path / "in", tmp_path / "u", "shoes", input_shape=PICTURE)

    @pytest.mark.parametrize(
        ("mode", "colour", "expected"),
        [
            ("L", 9, [9, 9, 9]),
            ("1", 1, [255, 255, 255]),
            ("RGBA", (10, 20, 30, 255), [10, 20, 30]),
            ("RGBA", (10, 20, 30, 0), [255, 255, 255]),
            ("LA", (10, 0), [255, 255, 255]),
        ],
    )
    def test_modes_become_the_streams_channels(self, tmp_path, mode, colour, expected):
        save(tmp_path / "p.png", mode, (50, 40), colour)
        inputs = read_inputs(tmp_path / "p.png", STREAM)
        assert inputs.shape == (1, *PICTURE)
        assert inputs[0, :, 0, 0].tolist() == expected

    def test_pictures_are_turned_upright(self, tmp_path):
        picture = Image.fromarray(np.array([[0, 0], [255, 255], [255, 255]], np.uint8))
        exif = Image.Exif()
        exif[0x0112] = 3  # upside down
        picture.save(tmp_path / "p.png", exif=exif)
        inputs = read_inputs(tmp_path / "p.png", StreamConfig((1, 3, 2)))
        assert inputs[0, 0].tolist() == [[255, 255], [255, 255], [0, 0]]

    def test_pictures_that_cannot_be_used(self, tmp_path):
        save(tmp_path / "in" / "a" / "0.png")
        save(tmp_path / "in" / "b" / "0.png")
        (tmp_path / "in" / "b" / "1.png").write_text("no picture")
        with pytest.raises(DataError, match=r"b/1.png is not a readable picture: cannot identify"):
            pack_image_folder(tmp_path / "in", tmp_path / "t", "shoes", input_shape=PICTURE)
        (tmp_path / "in" / "b" / "1.png").rename(tmp_path / "in" / "b" / "1.txt")
        with pytest.raises(DataError, match=r"b/1.txt is not a picture; expected .bmp"):
            pack_image_folder(tmp_path / "in", tmp_path / "t", "shoes", input_shape=PICTURE)
        (tmp_path / "in" / "c").mkdir()
        (tmp_path / "in" / "b" / "1.txt").unlink()
        with pytest.raises(DataError, match="c is empty"):
            pack_image_folder(tmp_path / "in", tmp_path / "t", "shoes", input_shape=PICTURE)
        with pytest.raises(DataError, match="nowhere is not a folder"):
            pack_image_folder(tmp_path / "nowhere", tmp_path / "t", "shoes", input_shape=PICTURE)
        assert not (tmp_path / "t" / "task.json").exists()

    @pytest.mark.parametrize("stray", ["labels.csv", "train/stray.png"])
    def test_files_outside_the_class_folders_are_named(self, tmp_path, stray):
        for split in ("train", "test"):
            for name in ("a", "b"):
                save(tmp_path / "in" / split / name / "0.png")
        (tmp_path / "in" / stray).write_text("")
        with pytest.raises(DataError, match=f"in/{stray} is in no class folder; expected .* to hold only folders"):
            pack_image_folder(tmp_path / "in", tmp_path / "t", "shoes", input_shape=PICTURE)

    def test_splits_of_other_names_are_taken_for_classes(self, tmp_path):
        for split in ("Train", "Test"):
            save(tmp_path / "in" / split / "a" / "0.png")
        message = r"Test/a is a folder, but the folders in .*in are taken for classes, .* are called train, validation"
        with pytest.raises(DataError, match=message):
            pack_image_folder(tmp_path / "in", tmp_path / "t", "shoes", input_shape=PICTURE)

    def test_deep_and_cut_pictures_are_refused(self, tmp_path):
        Image.fromarray(np.full((4, 5), 40_000, np.uint16)).save(tmp_path / "deep.png")
        with pytest.raises(DataError, match=r"deep.png has more than 8 bits a channel"):
            read_inputs(tmp_path / "deep.png", STREAM)
        Image.fromarray(pixels(1, (64, 64))[0]).save(tmp_path / "cut.png")
        (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:1000])
        with pytest.raises(DataError, match=r"cut.png is not a readable picture"):
            read_inputs(tmp_path / "cut.png", STREAM)
        with pytest.raises(DataError, match=r"a picture cannot be an input \(7,\)"):
            read_inputs(tmp_path / "deep.png", StreamConfig((7,)))


def class_label(*names):
    return {"names": list(names), "_type": "ClassLabel"}


class TestParquet:
    def test_the_hubs_convention(self, tmp_path):
        features = {"img": {"_type": "Image"}, "label": class_label("a", "b", "c")}
        train = hub_file(tmp_path / "train.parquet", features, img=encoded(), label=digits(), id=digits())
        test = hub_file(tmp_path / "test.parquet", features, img=encoded(3), label=digits(3), id=digits(3))
        info = pack_parquet([train, train], tmp_path / "t", "shoes", test=[test], input_shape=PICTURE)
        assert info.classes == ("a", "b", "c")
        data = loaded(tmp_path / "t")
        assert np.array_equal(data.test.inputs.numpy(), pixels(3))
        assert len(data.train) + len(data.validation) == 18

    def test_labels_of_other_files_go_by_their_names(self, tmp_path):
        def file(name, rows, *names):
            labels = [names.index("abc"[digit]) for digit in digits(rows)]
            return hub_file(tmp_path / name, {"label": class_label(*names)}, img=encoded(rows), label=labels)

        train, shard = file("0.parquet", 9, "a", "b", "c"), file("1.parquet", 3, "c", "b", "a")
        files = {"test": [shard], "input_shape": PICTURE}
        pack_parquet([train, shard], tmp_path / "t", "shoes", **files)
        data = loaded(tmp_path / "t")
        by_picture = {picture.tobytes(): digit for picture, digit in zip(pixels(), digits(), strict=True)}
        for split in splits_of(data):
            pictures = [picture.tobytes() for picture in split.inputs.numpy()]
            assert split.labels.tolist() == [by_picture[picture] for picture in pictures]
        pack_parquet([train], tmp_path / "u", "shoes", classes=["x", "y", "z"], **files)
        assert loaded(tmp_path / "u").test.labels.tolist() == [2, 1, 0]
        file("1.parquet", 3, "a", "b", "c", "d")
        with pytest.raises(DataError, match=r"1.parquet has the classes a, b, c, d, train has a, b, c; .* lacks 'd'"):
            pack_parquet([train], tmp_path / "v", "shoes", **files)

    @pytest.mark.parametrize(
        "description",
        ["no JSON", "[]", '{"info": null}']
        + [f'{{"info": {{"features": {{"label": {feature}}}}}}}' for feature in ("null", '{"names": null}')],
    )
    def test_odd_descriptions_are_passed_over(self, tmp_path, description):
        content = pa.table({"img": encoded(), "label": digits()})
        pq.write_table(content.replace_schema_metadata({"huggingface": description}), tmp_path / "f.parquet")
        info = pack_parquet([tmp_path / "f.parquet"], tmp_path / "t", "shoes", input_shape=PICTURE)
        assert info.classes == ("0", "1", "2")

    def test_truth_values_are_labels(self, tmp_path):
        file = hub_file(tmp_path / "f.parquet", img=encoded(), label=digits() > 0)
        assert pack_parquet([file], tmp_path / "t", "shoes", input_shape=PICTURE).classes == ("0", "1")

    @pytest.mark.parametrize("kind", ["string", "large_string", "string_view", "dictionary"])
    def test_strings_are_labels_of_their_own_names(self, tmp_path, kind):
        def file(name, rows, *classes):
            words = pa.array([classes[digit] for digit in digits(rows)])
            words = words.dictionary_encode() if kind == "dictionary" else words.cast(kind)
            return hub_file(tmp_path / name, img=encoded(rows), label=words, source=pa.array(["web"] * rows))

        train, shard = file("0.parquet", 9, "cat", "ant", "bee"), file("1.parquet", 3, "bee", "dog", "cat")
        files = {"test": [file("2.parquet", 2, "dog", "ant")], "input_shape": PICTURE}
        info = pack_parquet([train, shard], tmp_path / "t", "animals", **files)
        assert info.classes == ("ant", "bee", "cat", "dog")
        assert loaded(tmp_path / "t").test.labels.tolist() == [3, 0]
        classes = ["dog", "cat", "bee", "ant"]
        assert pack_parquet([train, shard], tmp_path / "u", "animals", classes=classes, **files).classes[0] == "dog"
        assert loaded(tmp_path / "u").test.labels.tolist() == [0, 3]
        with pytest.raises(DataError, match=r"2.parquet has the classes ant, dog, train has .* lacks 'dog'"):
            pack_parquet([train], tmp_path / "v", "animals", **files)
        numbers = hub_file(tmp_path / "3.parquet", img=encoded(), label=digits())
        with pytest.raises(DataError, match=r"different kinds: .*0.parquet has names, .*3.parquet has numbers"):
            pack_parquet([train, numbers], tmp_path / "w", "animals", **files)

    def test_several_labels_must_be_told_apart(self, tmp_path):
        features = {"fine_label": class_label("a", "b", "c"), "coarse_label": class_label("x", "y", "z")}
        file = hub_file(tmp_path / "f.parquet", features, img=encoded(), fine_label=digits(), coarse_label=digits())
        with pytest.raises(
            DataError, match="has 2 columns that could be the label; name one of: fine_label, coarse_label"
        ):
            pack_parquet([file], tmp_path / "t", "shoes", input_shape=PICTURE)
        info = pack_parquet([file], tmp_path / "t", "shoes", input_shape=PICTURE, label="coarse_label")
        assert info.classes == ("x", "y", "z")
        with pytest.raises(DataError, match="has no label column 'img'; name one of: fine_label, coarse_label"):
            pack_parquet([file], tmp_path / "u", "shoes", input_shape=PICTURE, label="img")

    def test_files_that_cannot_be_used(self, tmp_path):
        def refused(message, **columns):
            file = hub_file(tmp_path / "f.parquet", **columns)
            with pytest.raises(DataError, match=message):
                pack_parquet([file], tmp_path / "t", "shoes", input_shape=PICTURE)

        refused("f.parquet has 0 columns that could be the picture; name one of: none is", label=digits())
        refused("column 'img', row 8: found no picture bytes", img=[*encoded(8), None], label=digits())
        paths = [{"bytes": None, "path": "a.png"}] * 9
        refused(
            "row 0: found no picture bytes",
            img=pa.array(paths, pa.struct({"bytes": pa.binary(), "path": pa.string()})),
            label=digits(),
        )
        words, times = pa.array(["a", "b", None] * 3), pa.array([0.5] * 9)
        refused("row 2: found no label", img=encoded(), label=words)
        refused("2 columns that could be the label; name one of: a, b", img=encoded(), a=words, b=words)
        refused(r"0 columns that could be the label.* columns are .*time \(double\)", img=encoded(), time=times)
        refused("row 2: found no label", img=encoded(), label=pa.array([0, 1, None] * 3))
        refused(
            "row 1 is not a readable picture: cannot identify its format$",
            img=[encoded(1)[0]["bytes"], b"junk"] + [b""] * 7,
            label=digits(),
        )
        refused("row 0: found -1", img=encoded(), label=digits() - 1)
        (tmp_path / "text.parquet").write_text("a,b")
        with pytest.raises(DataError, match=r"text.parquet is not a readable Parquet file"):
            pack_parquet([tmp_path / "text.parquet"], tmp_path / "t", "shoes", input_shape=PICTURE)


def test_a_class_whose_name_is_no_text_is_refused_before_anything_is_packed(tmp_path):
    for name in ("boot", "sandal"):
        save(tmp_path / "pictures" / name / "1.png")
    (tmp_path / "pictures" / "boot").rename(tmp_path / "pictures" / "b\udcffot")
    with pytest.raises(DataError, match=r"classes is \['b\\udcffot'\] but must be names, as text"):
        pack_image_folder(tmp_path / "pictures", tmp_path / "t", "shoes", input_shape=PICTURE)
    assert not (tmp_path / "t").exists()
