"""TOML and JSON as others write them: one clear error each, soon."""

import time
from pathlib import Path

import pytest

from lambo_env.offloading.scenario import load_scenario
from lambo_env.registration import load_scenario as load_any
from lambo_env.utils import jsons, toml, validate

BAD = {
    "nested lists": "x = " + "[" * 50_000 + "]" * 50_000,
    "nested tables": "x = " + "{a=" * 50_000 + "1" + "}" * 50_000,
    "a dotted key": ".".join("a" * 20_000) + " = 1",
    "a dotted table": "[" + ".".join("a" * 20_000) + "]",
    "a quoted dotted key": ".".join(['"a"'] * 20_000) + " = 1",
    "a spaced dotted key": " . ".join(["'a'"] * 20_000) + " = 1",
    "a dotted key within": "x = {" + ".".join("a" * 20_000) + " = 1}",
    "a long word": "a" * 1_000_000,
    "a huge date": "x = 9999-99-99",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_is_no_plain_toml_is_refused_soon(kind: str, tmp_path: Path):
    path = tmp_path / "bad.toml"
    path.write_text(BAD[kind])
    start = time.monotonic()
    for load in (lambda p: toml.load(p, "file"), load_scenario, load_any):
        with pytest.raises(ValueError, match=r"bad\.toml"):
            load(path)
    assert time.monotonic() - start < 5


def test_a_byte_order_mark_is_no_fault(tmp_path: Path):
    path = tmp_path / "marked.toml"
    path.write_text("num_ues = 7\n", encoding="utf-8-sig")
    assert load_scenario(path).num_ues == load_any(path).num_ues == 7


def test_many_dots_in_texts_and_comments_are_no_key(tmp_path: Path):
    path = tmp_path / "dots.toml"
    path.write_text("# " + "." * 500 + "\nx = '" + "." * 500 + "'\n")
    assert toml.load(path, "file") == {"x": "." * 500}


@pytest.mark.parametrize("text", ["[" * 100_000 + "]" * 100_000, "{", b"\xff"])
def test_a_text_that_is_no_plain_json_is_a_value_error(text: str | bytes):
    with pytest.raises(ValueError):
        jsons.loads(text)


def test_a_shape_names_the_part_that_is_missing_or_of_another_type():
    shape = {"runs": [{"jobs": int}], "name": str}
    jsons.check("it", {"runs": [{"jobs": 2, "more": 1}], "name": ""}, shape)
    for value, match in (
        ([], "it is"),
        ({"runs": []}, "'name'"),
        ({"runs": {}, "name": ""}, r"it\.runs is"),
        ({"runs": [{"jobs": True}], "name": ""}, r"it\.runs\[0\]\.jobs is True; allowed: int"),
    ):
        with pytest.raises(ValueError, match=match):
            jsons.check("it", value, shape)


@pytest.mark.parametrize("field", ["side_m", "data_bits", "late_penalty", "num_ues", "rician_k_db"])
@pytest.mark.parametrize("value", [10**400, -(10**400), 10**9 + 1, float("inf"), float("nan")])
def test_numbers_beyond_every_float_and_machine_are_refused(field: str, value: float):
    if field == "rician_k_db" and value == float("inf"):
        return  # no fading
    if field in ("data_bits", "late_penalty") and value == 10**9 + 1:
        return
    with pytest.raises(ValueError, match=rf"Scenario\.{field}"):
        load_scenario("tiny").replace(**{field: value})


def test_an_integer_beyond_every_float_is_no_overflow():
    with pytest.raises(ValueError, match="x is 1000"):
        validate.positive("x", 10**400)
