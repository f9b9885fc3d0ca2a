import io

import pyarrow.parquet as pq
import pytest

from apd.benchmark import publish
from apd.config import to_json
from apd.errors import ConfigError, CorruptObject, NotFound
from apd.store.results import Results, cell_key, encode_rows
from tests.benchmark import known

DATA = {"tasks": {"shoes": 2}, "notes": ["a copy with md5 1"]}


@pytest.fixture(params=["folder", "bucket"])
def place(request, tmp_path) -> Results:
    if request.param == "folder":
        return Results(str(tmp_path / "results"))
    server = request.getfixturevalue("moto_server")
    return Results(f"{server.bucket()}/results", storage_options=server.storage_options)


def test_a_cell_is_finished_once(place):
    assert place.cell("stl-A-0") is None
    first, second = known.forgetful()[:2]
    place.finish("stl-A-0", first.to_json())
    place.finish("stl-A-0", second.to_json())
    assert type(first).from_json(place.cell("stl-A-0")) == first


def test_results_of_other_settings_do_not_mix(place):
    settings = to_json(known.tiny())
    place.claim(settings, DATA)
    place.claim(settings, DATA)
    changed = settings | {"learning": settings["learning"] | {"epochs": 7}}
    with pytest.raises(ConfigError, match=r"has results with learning\.epochs = 1, now it is 7"):
        place.claim(changed, DATA)


def test_settings_written_otherwise_or_that_came_later_with_a_default_are_the_same(tmp_path):
    settings = to_json(known.tiny())
    older = settings | {"network": {"name": "mlp", "arguments": {"hidden": [8], "dropout": 0}}}
    older["learning"] = {name: value for name, value in settings["learning"].items() if name != "cuda_graphs"}
    newer = settings | {"network": {"name": "mlp", "arguments": {"hidden": [8], "dropout": 0.0}}}
    place = Results(str(tmp_path))
    place.claim(older, DATA)
    place.claim(newer, DATA, defaults=to_json(known.tiny()))
    graphs = newer | {"learning": newer["learning"] | {"cuda_graphs": True}}
    with pytest.raises(ConfigError, match=r"learning\.cuda_graphs = False, now it is True"):
        place.claim(graphs, DATA, defaults=to_json(known.tiny()))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"tasks": {"shoes": 2, "bags": 3}, "notes": []}, r"found bags \(3 classes\), expected a copy with md5 1\. "),
        ({"tasks": {"shoes": 3}, "notes": DATA["notes"]}, r"found shoes \(3 .*, expected shoes \(2 classes\)\. "),
        ({"tasks": {}, "notes": DATA["notes"]}, r"found nothing more, expected shoes \(2 classes\)\. "),
        ({"tasks": dict.fromkeys("abcd", 2), "notes": []}, r"found a \(2 .*; b .*; c .* and 1 more, expected a copy"),
        ({"tasks": {"shoes": 2}, "notes": ["a copy with md5 2"]}, "choose another place with --out"),
    ],
)
def test_results_on_other_data_do_not_mix(place, data, message):
    settings = to_json(known.tiny())
    place.claim(settings, DATA)
    with pytest.raises(ConfigError, match=rf"has results on other data: .*{message}"):
        place.claim(settings, data)
    place.claim(settings, DATA | {"tasks": dict(DATA["tasks"])})


def test_a_place_that_was_claimed_before_data_was_recorded_takes_the_first(tmp_path):
    place, settings = Results(str(tmp_path)), to_json(known.tiny())
    place.claim(settings, DATA)
    (tmp_path / "data.json").unlink()
    place.claim(settings, {"tasks": {"bags": 3}, "notes": []})
    with pytest.raises(ConfigError, match=r"found .*shoes"):
        place.claim(settings, DATA)


def test_a_file_that_is_not_there(place):
    with pytest.raises(NotFound):
        place.read("table.md")


def test_a_damaged_cell_is_found(tmp_path):
    place = Results(str(tmp_path))
    place.finish("stl-A-0", known.forgetful()[0].to_json())
    file = tmp_path / cell_key("stl-A-0")
    file.write_bytes(file.read_bytes().replace(b"0.9", b"0.8", 1))
    with pytest.raises(CorruptObject, match=r"stl-A-0\.json"):
        place.cell("stl-A-0")


def test_everything_is_published(place):
    urls = publish(place, known.tiny(), known.forgetful(), "apd benchmark digits")
    names = [url.rsplit("/", 1)[1] for url in urls]
    assert names[:2] == ["table.md", "results.parquet"]
    figures = ("accuracy-against-capacity", "accuracy-over-orders")
    assert set(names[2:]) == {f"{name}.{kind}" for name in figures for kind in ("svg", "png")}
    assert place.read("table.md").startswith(b"# digits\n")
    table = pq.read_table(io.BytesIO(place.read("results.parquet")))
    assert table["accuracies"].to_pylist()[0] == [0.9, 0.7, 0.5]


def test_rows_keep_their_types():
    table = pq.read_table(io.BytesIO(encode_rows([{"a": 1, "b": [0.5, 0.25], "c": None}, {"a": 2, "b": [], "c": "x"}])))
    assert table.to_pylist() == [{"a": 1, "b": [0.5, 0.25], "c": None}, {"a": 2, "b": [], "c": "x"}]
