"""Manifests of other releases: what this one wrote from the beginning is read, what it does not know is refused."""

from typing import Any

import pytest

from apd.errors import CorruptObject, UnknownSchema
from apd.store import SigmaRef, TaskEntry, Version
from apd.store.formats import encode_document
from apd.store.manifest import decode_version, encode_version

ENTRY: dict[str, Any] = {
    "arrival": 1,
    "baseline": None,
    "based_on": 0,
    "bytes": 2000,
    "classes": ["cat", "dog"],
    "learned_in": 1,
    "name": "pets",
    "record": "ab" * 32,
    "seconds": 1.5,
    "tau_nnz": 7,
    "test_accuracy": 0.5,
    "theta_key": "cd" * 32,
    "validation_accuracy": None,
}
BODY: dict[str, Any] = {
    "clustering": None,
    "commit_id": "0" * 32,
    "created": "2026-11-01T00:00:00+00:00",
    "details": {"task": "pets"},
    "kind": "learn",
    "message": "learned pets",
    "number": 1,
    "parent": 0,
    "recent": [ENTRY],
    "sealed": None,
    "settled": [3],
    "sigma": {"base": "ef" * 32, "delta": None},
    "statistics": "12" * 32,
    "watermark": 1,
}
"""A manifest of the first release, schema 1. It is read for ever; members that later ones add are optional."""


def read(body: dict[str, Any], schema: int = 1) -> Version:
    return decode_version(encode_document("version", body, schema), 1, "here")


def test_a_manifest_of_the_first_release_is_read() -> None:
    version = read(BODY)
    assert version.entry("pets") == TaskEntry.from_json(ENTRY)
    assert (version.sigma, version.settled, version.details) == (SigmaRef("ef" * 32), (3,), {"task": "pets"})
    assert version.consolidated is None
    assert encode_version(version) == encode_document("version", BODY | {"consolidated": None})


@pytest.mark.parametrize(
    "body",
    [
        BODY | {"colour": "blue"},
        BODY | {"recent": [ENTRY | {"colour": "blue"}]},
        BODY | {"sigma": {"base": "ef" * 32, "delta": None, "colour": "blue"}},
        BODY | {"sealed": {"digest": "ef" * 32, "count": 9, "colour": "blue"}},
    ],
)
def test_a_manifest_with_members_that_this_release_does_not_know_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(UnknownSchema, match=r"here has other members than this release knows .*colour"):
        read(body)


def test_a_newer_schema_is_refused_before_its_members_are_looked_at() -> None:
    with pytest.raises(UnknownSchema, match="here has schema 2, this release reads 1"):
        read({"everything": "is different"}, schema=2)


def test_another_versions_manifest_is_refused() -> None:
    with pytest.raises(CorruptObject, match="here holds version 2"):
        read(BODY | {"number": 2})
