"""What users do to their data: each mistake is told in one line, with the remedy in it."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_line import cli
from datasets.layout import write_label, write_lists
from datasets.prepare import main
from datasets.synthetic import Synthetic, draw_sample

SPLITS = {"train": list("abcdef"), "val": ["x", "y"]}
CLASSES = "soil,crop,weed"


@pytest.fixture
def fields(tmp_path, monkeypatch):
    """A sound data set, in the working directory as FIELD."""
    monkeypatch.chdir(tmp_path)
    root = Path("FIELD")
    for folder in ("JPEGImages", "SegmentationClass"):
        (root / folder).mkdir(parents=True)
    for index, name in enumerate(name for names in SPLITS.values() for name in names):
        drawn, label = draw_sample(1, "train", index, (96, 128))
        Image.fromarray(drawn).save(root / "JPEGImages" / f"{name}.jpg", quality=95)
        write_label(root / "SegmentationClass" / f"{name}.png", label, Synthetic.palette)
    write_lists(root, SPLITS)
    return root


@pytest.fixture
def told(capsys, monkeypatch):
    """`told(*flags)`: what `prepare.py check` complains of, line by line, and its status."""

    def run(classes):
        monkeypatch.setattr(sys, "argv", ["datasets/prepare.py"])
        words = ["check", "--datadir", "FIELD", *(["--classes", classes] if classes else [])]
        with pytest.raises(SystemExit) as ended:
            cli.run(lambda: main(words))
        out, err = capsys.readouterr()
        lines = [line for line in out.splitlines() if line.startswith(("problem: ", "note: "))]
        return ended.value.code, lines + err.splitlines()

    return run


def on_labels(change):
    """A mistake in every label: `change` maps ids, uint8 (H, W), to what is saved instead."""

    def make(root):
        for path in (root / "SegmentationClass").iterdir():
            Image.fromarray(change(np.array(Image.open(path)))).save(path)

    return make


def binary(root):
    on_labels(lambda ids: np.where(ids > 0, 255, 0).astype(np.uint8))(root)


def coloured(root):
    table = np.array([[0, 0, 0], [0, 255, 0], [255, 0, 0]], np.uint8)
    on_labels(lambda ids: table[ids])(root)


def from_one(root):
    on_labels(lambda ids: ids + np.uint8(1))(root)


def turned(root):
    on_labels(lambda ids: np.ascontiguousarray(ids[::-1]))(root)


def mixed_up(root):
    folder = root / "SegmentationClass"
    order = sorted(folder.iterdir())
    contents = [path.read_bytes() for path in order]
    for path, content in zip(order, contents[1:] + contents[:1], strict=True):
        path.write_bytes(content)


def smaller(root):
    path = root / "SegmentationClass" / "a.png"
    Image.open(path).resize((64, 48), Image.Resampling.NEAREST).save(path)


def sixteen_bit(root):
    path = root / "SegmentationClass" / "a.png"
    Image.fromarray(np.array(Image.open(path)).astype(np.uint16) * 1000).save(path)


def as_jpeg(root):
    for path in list((root / "SegmentationClass").iterdir()):
        Image.open(path).convert("L").save(path.with_suffix(".jpg"))
        path.unlink()


def elsewhere(root):
    (root / "SegmentationClass").rename(root / "masks")


def other_ending(root):
    for path in list((root / "SegmentationClass").iterdir()):
        path.rename(path.with_stem(f"{path.stem}_mask"))


def without_lists(root):
    shutil.rmtree(root / "ImageSets")


def listed_twice(root):
    path = root / "ImageSets" / "Segmentation" / "train.txt"
    path.write_text(path.read_text() + "a\n")


def in_two_splits(root):
    path = root / "ImageSets" / "Segmentation" / "val.txt"
    path.write_text(path.read_text() + "a\n")


def cut_off(root):
    path = root / "JPEGImages" / "a.jpg"
    path.write_bytes(path.read_bytes()[:400])


def no_picture(root):
    (root / "JPEGImages" / "a.jpg").write_text("<html>404</html>")


def doubled(root):
    Image.open(root / "JPEGImages" / "a.jpg").save(root / "JPEGImages" / "a.png")


def missing(root):
    (root / "JPEGImages" / "a.jpg").unlink()


def an_archive(root):
    shutil.make_archive("FIELD", "zip", root)
    shutil.rmtree(root)
    Path("FIELD.zip").rename("FIELD")


def not_there(root):
    shutil.rmtree(root)


def broken_description(root):
    (root / "dataset.yaml").write_text("classes: [soil, crop\n")


def colours_for_two(root):
    (root / "dataset.yaml").write_text("classes: [soil, crop, weed]\ncolors: [[0, 0, 0]]\n")


def sound(root):
    """Nothing is wrong with the files: the classes are."""


def one_drive(root):
    """A train of neighbouring frames, of which every fourth is validated on."""
    shutil.rmtree(root)
    for folder in ("JPEGImages", "SegmentationClass"):
        (root / folder).mkdir(parents=True)
    drawn, label = draw_sample(1, "train", 0, (96, 1200))
    for frame in range(16):
        window = slice(40 * frame, 40 * frame + 128)
        name = f"drive_{frame:04d}"
        Image.fromarray(np.ascontiguousarray(drawn[:, window])).save(
            root / "JPEGImages" / f"{name}.jpg", quality=95
        )
        ids = np.ascontiguousarray(label[:, window])
        write_label(root / "SegmentationClass" / f"{name}.png", ids, Synthetic.palette)
    names = [f"drive_{frame:04d}" for frame in range(16)]
    kept = [name for name in names if name not in names[::4]]
    write_lists(root, {"train": kept, "val": names[::4]})


MISTAKES = [
    (binary, CLASSES, "import --classes 0=soil,255=plant"),
    (coloured, CLASSES, "with `python datasets/prepare.py palette`"),
    (from_one, CLASSES, "correct the label or give the right --classes"),
    (sixteen_bit, CLASSES, "correct the label or give the right --classes"),
    (turned, CLASSES, "better mirrored top to bottom: export it again"),
    (mixed_up, CLASSES, "is it the label of another image?"),
    (smaller, CLASSES, "export it at the image's size"),
    (as_jpeg, CLASSES, "(near: SegmentationClass/a.jpg); labels are PNG files"),
    (elsewhere, CLASSES, "found: ImageSets/, JPEGImages/, masks/; rename what is meant"),
    (other_ending, CLASSES, "(near: SegmentationClass/a_mask.png); rename it"),
    (without_lists, CLASSES, "`python datasets/prepare.py split` makes the lists"),
    (listed_twice, CLASSES, "names 'a' more than once; leave one"),
    (in_two_splits, CLASSES, "is in train and val at once: scores on it would be too good"),
    (cut_off, CLASSES, "its end is missing: copy it again or remove it"),
    (no_picture, CLASSES, "not a readable image, damaged or of another kind: copy it again"),
    (doubled, CLASSES, "has the same stem as FIELD/JPEGImages/a.jpg; remove one"),
    (missing, CLASSES, "names it: copy it there, or take the name out"),
    (an_archive, CLASSES, "a file, not a folder; unpack it"),
    (not_there, CLASSES, "pass the data set's folder with --datadir"),
    (broken_description, None, "not a readable YAML file; see docs/quickstart.md"),
    (colours_for_two, None, "1 colors for 3 classes; give each one"),
    (sound, None, "name them in the order of their ids with --classes soil,crop,weed"),
    (sound, "soil,crop,weed,grass", "no pixel of grass in train: do --classes fit?"),
    (sound, "soil,crop,void", "`prepare.py import --ignore` makes them so"),
    (sound, "background,bg,weed", "background is a class 2 times: background, bg; merge them"),
    (one_drive, CLASSES, "deal with `prepare.py split --by-folder`"),
]


@pytest.mark.parametrize(
    ("mistake", "classes", "remedy"),
    MISTAKES,
    ids=[f"{mistake.__name__} {classes or ''}" for mistake, classes, _ in MISTAKES],
)
def test_a_mistake_is_told_in_one_line_with_its_remedy(mistake, classes, remedy, fields, told):
    mistake(fields)
    status, lines = told(classes)
    assert any(remedy in line for line in lines), lines
    if lines[0].startswith("prepare.py: error: "):
        assert status == 2 and len(lines) == 1
    else:
        assert status == any(line.startswith("problem: ") for line in lines)


def test_sound_data_has_nothing_to_tell(fields, told):
    assert told(CLASSES) == (0, [])
