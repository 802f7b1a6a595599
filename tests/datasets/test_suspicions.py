import cv2
import numpy as np
import pytest
from PIL import Image

from datasets import build_dataset
from datasets.layout import write_label, write_lists
from datasets.prepare import main
from datasets.suspicions import NothingLabelledError, first_look, names_in_doubt, split_drives
from datasets.synthetic import Synthetic, draw_sample


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (("soil", "crop", "Void"), "class 'Void' is trained as a class"),
        (("background", "crop", "_background_"), "background is a class 2 times"),
        (("soil", "Crop", "crop "), "classes 'Crop', 'crop ' differ in spelling only"),
        (("soil", "Mu\u0308sli", "M\u00fcsli"), "differ in spelling only"),
    ],
)
def test_names_in_doubt(classes, told):
    (line,) = names_in_doubt(classes)
    assert told in line
    assert names_in_doubt(("soil", "crop", "weed")) == []


@pytest.fixture
def write_fields(tmp_path):
    """`write_fields(names by split, change)`: drawn fields in VOC layout, with changed labels."""

    def write(splits, change=lambda label: label, image=lambda index, drawn: drawn):
        root = tmp_path / "fields"
        for folder in ("JPEGImages", "SegmentationClass"):
            (root / folder).mkdir(parents=True)
        for index, name in enumerate(name for names in splits.values() for name in names):
            drawn, label = draw_sample(1, "train", index, (96, 128))
            picture = Image.fromarray(image(index, drawn))
            picture.save(root / "JPEGImages" / f"{name}.jpg", quality=95)
            path = root / "SegmentationClass" / f"{name}.png"
            write_label(path, np.ascontiguousarray(change(label)), Synthetic.palette)
        write_lists(root, splits)
        return root

    return write


SPLITS = {"train": [f"a{i}" for i in range(6)], "val": ["x", "y"]}


def check(root, capsys, classes="soil,crop,weed"):
    status = main(["check", "--datadir", str(root), "--classes", classes])
    return status, capsys.readouterr().out


def looked_at(root, classes="soil,crop,weed"):
    splits = ("train", "val")
    return first_look({s: build_dataset("VOC", root, s, classes=classes) for s in splits})


def test_images_of_12_bits_in_16_are_noted_once(write_fields, capsys):
    root = write_fields(SPLITS)
    for name in ("a1", "a2", "x"):
        path = root / "JPEGImages" / f"{name}.jpg"
        image = cv2.imread(str(path)).astype(np.uint16) * 16
        path.unlink()
        cv2.imwrite(str(path.with_suffix(".png")), image)
    status, told = check(root, capsys)
    assert status == 0
    (line,) = [line for line in told.splitlines() if "16-bit" in line]
    assert line == (
        "note: 16-bit images that use less than a sixteenth of their range (12 bits or fewer) are "
        f"read almost black: 3, such as {root / 'JPEGImages' / 'a1.png'}; export them with 8 bits, "
        "or shift their values up"
    )


def test_sound_fields_raise_no_suspicion(write_fields, capsys):
    root = write_fields(SPLITS)
    assert check(root, capsys)[0] == 0
    assert looked_at(root) == []


def test_images_in_two_splits_are_told_before_training(write_fields):
    (line,) = looked_at(write_fields({"train": [f"a{i}" for i in range(6)], "val": ["a1", "x"]}))
    assert "a1.jpg: is in train and val at once: scores" in line


def test_turned_labels_are_problems(write_fields, capsys):
    root = write_fields(SPLITS, lambda label: label[::-1, ::-1])
    status, told = check(root, capsys)
    assert status == 1 and told.count("better turned by 180 degrees") >= 6
    (line,) = looked_at(root)
    assert "a0.png: the plants of the label fit the image better" in line and "more of 6" in line


def test_binary_masks_are_problems(write_fields, capsys):
    root = write_fields(SPLITS, lambda label: np.where(label > 0, 255, 0).astype(np.uint8))
    status, told = check(root, capsys)
    assert status == 1 and "problem: train: labels hold only 0 and 255" in told
    with pytest.raises(NothingLabelledError, match="--classes 0=soil,255=plant"):
        looked_at(root)


def test_labels_that_are_all_void_are_problems(write_fields, capsys):
    root = write_fields(SPLITS, lambda label: np.full_like(label, 255))
    status, told = check(root, capsys)
    assert status == 1 and "problem: val: no pixel of any class" in told
    with pytest.raises(NothingLabelledError, match="all labels are 255"):
        looked_at(root)


def test_classes_absent_from_train_are_told(write_fields, capsys):
    root = write_fields(SPLITS)
    classes = "soil,crop,weed,stone"
    assert "note: no pixel of stone in train" in check(root, capsys, classes)[1]
    assert any("no pixel of stone in train" in line for line in looked_at(root, classes))


def test_a_class_called_void_is_a_problem(write_fields, capsys):
    status, told = check(write_fields(SPLITS), capsys, "void,crop,weed")
    assert status == 1 and "class 'void' is trained as a class" in told


def drive(index, drawn, step=12):
    """A stretch of a strip of field, of which neighbours share most."""
    strips = [draw_sample(3, "train", number, (96, 512))[0] for number in range(2)]
    strip = np.concatenate(strips, axis=1)
    return strip[:, index * step : index * step + 128]


def test_frames_of_one_drive_on_both_sides(write_fields, capsys):
    names = [f"run_{i:03d}" for i in range(40)]
    dealt = {"train": [n for i, n in enumerate(names) if i % 4], "val": names[::4]}
    order = dealt["train"] + dealt["val"]
    root = write_fields(dealt, image=lambda i, drawn: drive(names.index(order[i]), drawn))
    _, told = check(root, capsys)
    assert "10 of 10 images of val are next to frames of train in one drive" in told
    assert "--by-folder" in told
    assert any("in one drive" in line for line in looked_at(root))


def test_numbered_photographs_that_differ_are_no_drive(write_fields, capsys):
    names = [f"run_{i:03d}" for i in range(20)]
    root = write_fields({"train": [n for i, n in enumerate(names) if i % 4], "val": names[::4]})
    assert "drive" not in check(root, capsys)[1]


def test_series_that_are_in_two_splits_are_told_by_name(tmp_path):
    def pairs(*names):
        return [(tmp_path / f"{name}.jpg", tmp_path / f"{name}.png") for name in names]

    train = pairs("north_1", "north_2", "south_1", "south_3")
    (told,) = split_drives({"train": train, "val": pairs("south_2"), "test": pairs("east_1")})
    assert "1 series (south_) are in train and in val" in told


def test_damaged_labels_do_not_stop_the_check(write_fields, capsys):
    root = write_fields(SPLITS)
    (root / "JPEGImages" / "a3.jpg").write_bytes(b"no image")
    status, told = check(root, capsys)
    assert status == 1 and "1 problem(s)" in told
