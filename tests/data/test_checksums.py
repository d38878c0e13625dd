import hashlib
import json

import pytest

from senet_viz.data.checksums import damaged, write_described


@pytest.fixture
def described(tmp_path):
    """The description of a folder with two files, one of which it is not asked for."""
    (tmp_path / "numbers.csv").write_text("1,2\n")
    (tmp_path / "speed.csv").write_text("3\n")
    write_described(tmp_path / "about.json", {"model": "ö", "count": 3}, ["numbers.csv", "missing.csv"])
    return tmp_path / "about.json"


def told(described) -> dict:
    return json.loads(described.read_text(encoding="utf-8"))


def test_checksums(described):
    content = told(described)
    assert content["checksums"]["numbers.csv"] == hashlib.sha256(b"1,2\n").hexdigest()
    assert sorted(content["checksums"]) == ["about.json", "numbers.csv"]
    assert {key: content[key] for key in ("model", "count")} == {"model": "ö", "count": 3}
    assert damaged(described, content) is None


def test_same_bytes(described):
    before = described.read_bytes()
    write_described(described, {"count": 3, "model": "ö"}, ["numbers.csv"])
    assert described.read_bytes() == before


def test_a_flipped_bit(described):
    for _ in range(2):  # a file that was found whole is looked at again once it has changed
        assert damaged(described, told(described)) is None
    content = bytearray(described.with_name("numbers.csv").read_bytes())
    content[0] ^= 1
    described.with_name("numbers.csv").write_bytes(content)
    assert damaged(described, told(described)) == "numbers.csv"


def test_a_missing_file(described):
    described.with_name("numbers.csv").unlink()
    assert damaged(described, told(described)) == "numbers.csv"


def test_another_description(described):
    assert damaged(described, told(described) | {"count": 4}) == "about.json"
    assert damaged(described, told(described) | {"checksums": 4}) == "about.json"


def test_what_is_not_told_is_not_damaged(described):
    described.with_name("speed.csv").write_text("4\n")
    assert damaged(described, told(described)) is None
    assert damaged(described, {"count": 4}) is None  # of before there were checksums
