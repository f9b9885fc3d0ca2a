"""One spelling per place, and no URL that leads elsewhere."""

import os
import re
from pathlib import Path

import pytest

from apd.errors import ConfigError
from apd.store import normal_url
from apd.store.connect import connect


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("file:///tmp/shoes/", "/tmp/shoes"),
        ("file://localhost/tmp/shoes", "/tmp/shoes"),
        ("FILE:///tmp/shoes", "/tmp/shoes"),
        ("file:///tmp/my%20shoes", "/tmp/my shoes"),
        ("/tmp/my%20shoes", "/tmp/my%20shoes"),
        ("file:///~/shoes", "/~/shoes"),
        (Path("/tmp/shoes"), "/tmp/shoes"),
        (Path("shoes"), f"{os.getcwd()}/shoes"),
        ("S3://Bucket/shoes/", "s3://Bucket/shoes"),
    ],
)
def test_places(url: str | Path, place: str) -> None:
    assert normal_url(url) == connect(place).url == place
    assert normal_url(place) == place


@pytest.mark.parametrize("url", ["file:shoes", "File:/tmp/shoes", "file://server/shoes", "file://", "file://localhost"])
def test_a_file_url_that_names_no_folder_of_this_machine_is_refused(url: str) -> None:
    with pytest.raises(
        ConfigError, match=f"'{re.escape(url)}' is no place for a stream; a file URL must read file:///"
    ):
        normal_url(url)


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="3 is no place for a stream; give text or a path, not a int"):
        normal_url(3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="is no place for a stream"):
        normal_url("file:///tmp/%00")
