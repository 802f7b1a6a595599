"""YAML and JSON of strangers."""

import pytest

from command_line.documents import read_json, read_mapping, read_yaml

LAUGHS = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"


@pytest.mark.parametrize(
    "text, why",
    [
        (LAUGHS, "aliases"),
        ("a: &a [*a]", "aliases"),
        ("[" * 3000, ""),
        ("a: 2020-99-99", "month"),
        ("a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("a: 1\nb: 2\na: 3", "'a' is given twice"),
        ("- {x: {b: 1, b: 1}}", "'b' is given twice"),
        ("a: b: c", "mapping values are not allowed"),
    ],
)
def test_what_is_no_plain_yaml_is_one_line(text, why, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"--config .*recipe.yaml is not YAML: .*{why}") as told:
        read_yaml(path, "--config")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("text", ["", "3", "- a", "1: a"])
def test_a_mapping_has_names(text, tmp_path):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ValueError, match="a.yaml must hold lines of 'name: value'"):
        read_mapping(tmp_path / "a.yaml")


def test_plain_values_are_read(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("\ufeffa: 1\nb: [x, 2.5, null]\nc: {d: true}\n", encoding="utf-8")
    assert read_mapping(path) == {"a": 1, "b": ["x", 2.5, None], "c": {"d": True}}


@pytest.mark.parametrize("data", [b"{", b"\xff\xfe", b"[" * 100000])
def test_what_is_no_json_is_one_line(data, tmp_path):
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.json is not"):
        read_json(tmp_path / "a.json")
