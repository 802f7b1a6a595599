import re

import numpy as np
import pytest

from command_line.notes import note
from datasets import build_dataset
from datasets.description import describe, read_description, write_description
from datasets.palettes import class_palette


@pytest.fixture
def own(make_voc, tmp_path):
    """A user's own data, whose labels are all 1, in a folder that is not called like Pascal's."""
    note.cache_clear()
    return make_voc(tmp_path / "field")


def describe_as(root, text):
    (root / "dataset.yaml").write_text(text)


def test_own_data_without_classes_is_refused(own):
    with pytest.raises(ValueError, match=r"field: own data.*--classes soil,.*dataset\.yaml"):
        build_dataset("VOC", own, "train")


def test_pascals_own_images_need_no_classes(make_voc, tmp_path, capsys):
    root = make_voc(tmp_path / "field", train=["2007_000032", "2011_000045"], val=["2008_000001"])
    assert len(build_dataset("VOC", root, "train").classes) == 21
    assert capsys.readouterr().err == ""


def test_a_folder_called_like_pascals_with_other_images_is_noted(make_voc, capsys):
    note.cache_clear()
    root = make_voc()
    for _ in range(2):
        assert len(build_dataset("VOC", root, "train").classes) == 21
    told = capsys.readouterr().err
    assert told.count("note: ") == 1 and "21 classes" in told and "--classes soil,crop" in told


def test_what_is_written_is_read(own):
    write_description(own, describe(["no", "Gänse-Fuß", "1", "a: b"]))
    described = read_description(own)
    assert described == describe(["no", "Gänse-Fuß", "1", "a: b"])
    dataset = build_dataset("VOC", own, "train")
    assert dataset.classes == described.classes
    assert dataset.palette == class_palette(described.classes)


def test_colours_and_ignored_value_are_the_users(own, write_png):
    text = "classes: [soil, crop]\ncolors: [[1, 2, 3], [4, 5, 6]]\nignore: 11\n"
    describe_as(own, text)
    values = np.full((24, 32), 1, np.uint8)
    values[0], values[1] = 11, 255
    write_png(own / "SegmentationClass" / "a.png", values)
    dataset = build_dataset("VOC", own, "train")
    assert dataset.palette == ((1, 2, 3), (4, 5, 6))
    assert dataset[0]["label"][:3, 0].tolist() == [255, 255, 1]
    values[0] = 12
    write_png(own / "SegmentationClass" / "a.png", values)
    with pytest.raises(ValueError, match=r"a\.png: label values outside the class list: 12"):
        dataset.read(0)


def test_the_flag_overrules_the_file_with_a_note(own, capsys):
    describe_as(own, "classes: [soil, crop]\ncolors: [[1, 2, 3], [4, 5, 6]]\n")
    dataset = build_dataset("VOC", own, "train", classes="soil,crop,weed")
    assert dataset.classes == ("soil", "crop", "weed")
    assert "note: --classes soil,crop,weed overrules " in capsys.readouterr().err
    dataset = build_dataset("VOC", own, "train", classes="soil,crop")
    assert dataset.palette == ((1, 2, 3), (4, 5, 6))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("classes: soil", "expected `classes:` with a list of names"),
        ("- soil", "expected `classes:` with a list of names"),
        ("classes: [soil, no]", "class False is not text; put it in quotation marks"),
        ("classes: [soil]", "dataset.yaml: classes: 1 name(s); give 2 to 254"),
        ("classes: [soil, soil]", "dataset.yaml: classes: named twice: soil"),
        ("classes: [soil, crop]\ncolours: []", "unknown key 'colours'; known: classes, colors"),
        ("classes: [soil, crop]\ncolors: [[0, 0, 0]]", "1 colors for 2 classes"),
        ("classes: [soil, crop]\ncolors: [[0, 0, 0], [0, 0, 256]]", "from 0 to 255"),
        ("classes: [soil, crop]\nignore: 1", "ignore: 1 is not a label value of 2"),
        ("classes: [soil, crop]\nignore: none", "ignore: 'none' is not a label value"),
        ("classes: [soil, crop", "not a readable YAML file"),
    ],
)
def test_a_description_that_cannot_be_used_is_one_line(own, text, told):
    describe_as(own, text)
    with pytest.raises(ValueError, match=re.escape(told)) as caught:
        build_dataset("VOC", own, "train")
    assert "dataset.yaml" in str(caught.value) and "\n" not in str(caught.value)
