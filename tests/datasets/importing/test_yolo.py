import numpy as np
import pytest
import yaml
from PIL import Image

SIZE = (24, 32)
NAMES = list("abcdefghij")
SQUARE = "0.125 0.125 0.375 0.125 0.375 0.375 0.125 0.375"


@pytest.fixture
def yolo(export, photographs):
    """`yolo(a=text)`: images/, labels/ and data.yaml."""

    def write(split="", names=("crop", "weed"), **texts):
        photographs(export / "images" / split)
        for name, text in texts.items():
            path = export / "labels" / split / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (export / "data.yaml").write_text(yaml.safe_dump({"names": names and list(names)}))

    return write


def test_polygons(yolo, bring, labels_of):
    yolo(a=f"0 {SQUARE}\n1 0 0 1 0 1 1 0 1\n", b=f"1 {SQUARE}\n", c="")
    data = bring()
    assert data["train"].classes == ("background", "crop", "weed")
    labels = labels_of(data)
    expected = np.full(SIZE, 2)
    expected[3:9, 4:12] = 1  # the smaller one is on top
    assert np.array_equal(labels["a"], expected)
    assert labels["b"].sum() == 96 and not labels["c"].any() and len(labels) == 10


def test_images_without_objects_may_come_first(yolo, bring, labels_of):
    yolo(**dict.fromkeys("abcdefgh", ""), i="0 0.25 0.25 0.75 0.25 0.75 0.75")
    labels = labels_of(bring())
    assert not labels["a"].any() and labels["i"].any()


def test_roboflow_folders_and_named_ids(export, photographs, bring):
    for split, names in (("train", NAMES[:6]), ("valid", NAMES[6:8]), ("test", NAMES[8:])):
        photographs(export / split / "images", names)
        (export / split / "labels").mkdir()
        for name in names:
            (export / split / "labels" / f"{name}.txt").write_text(f"1 {SQUARE}\n")
    (export / "data.yaml").write_text(yaml.safe_dump({"names": {0: "crop", 1: "weed"}}))
    data = bring()
    assert {name: split.names for name, split in data.items()} == {
        "train": NAMES[:6], "val": NAMES[6:8], "test": NAMES[8:],
    }  # fmt: skip


def test_names_keep_their_ids(yolo, export, bring, labels_of, refuses):
    yolo(a=f"0 {SQUARE}\n")
    (export / "data.yaml").write_text(yaml.safe_dump({"names": {1: "crop", 2: "weed"}}))
    assert "class 0, but 2 are named (1 crop, 2 weed)" in refuses()
    (export / "labels" / "a.txt").write_text(f"2 {SQUARE}\n")
    data = bring()
    assert data["train"].classes == ("background", "crop", "weed")
    assert labels_of(data)["a"].max() == 2


def test_two_images_of_one_label_are_refused(yolo, export, photographs, refuses):
    yolo(a=f"0 {SQUARE}\n")
    photographs(export / "images", ["a"], suffix=".png")
    assert "has the name, and so the label, of" in refuses()


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_a_turned_photograph(export, bring, labels_of, suffix):
    """Polygons are drawn on photographs as viewers turn them."""
    (export / "images").mkdir(parents=True)
    (export / "labels").mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6
    for name in NAMES:
        path = export / "images" / f"{name}{suffix}"
        Image.new("RGB", SIZE, (90, 70, 50)).save(path, exif=turned)  # 24 wide, 32 high if turned
        (export / "labels" / f"{name}.txt").write_text(f"0 {SQUARE}\n")
    (export / "data.yaml").write_text("names: [crop]")
    label = labels_of(bring())["a"]
    assert label.shape == SIZE and label.sum() == 6 * 8


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("names: {0: crop, weed: 1}", "the ids of classes must be numbers"),
        ("a: &a [crop]\nnames: [*a, *a]", "aliases (*) are not read"),
        ("names: " + "[" * 3000, "is not YAML"),
    ],
)
def test_a_damaged_data_yaml_is_one_line(text, told, yolo, export, refuses):
    yolo(a=f"0 {SQUARE}\n")
    (export / "data.yaml").write_text(text)
    line = refuses()
    assert told in line and "data.yaml" in line


def test_classes_txt_and_the_flag(yolo, export, refuses, bring):
    yolo(a=f"0 {SQUARE}\n")
    (export / "data.yaml").unlink()
    assert "YOLO labels without class names" in refuses()
    (export / "classes.txt").write_text("crop\nweed\n")
    assert bring()["train"].classes == ("background", "crop", "weed")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0 0.5 0.5 0.1 0.1", "line 1: a box, not a polygon"),
        (f"2 {SQUARE}", "line 1: class 2, but 2 are named (0 crop, 1 weed)"),
        (f"0 {SQUARE}\n0 0.1 0.1 0.2 0.2 0.3", "line 2: 5 coordinates"),
        (f"0 {SQUARE}\n0 a b", "line 2: not a class id with coordinates"),
        ("0 10 10 20 10 20 20", "line 1: coordinates in px"),
    ],
)
def test_damaged_lines_are_one_line(yolo, refuses, text, told):
    yolo(a=text)
    line = refuses()
    assert told in line and "a.txt" in line


def test_a_label_without_its_image(yolo, export, refuses):
    yolo(a=f"0 {SQUARE}", b=f"0 {SQUARE}")
    (export / "images" / "b.jpg").unlink()
    assert "b.txt: label without an image b.jpg" in refuses()
