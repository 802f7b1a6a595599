import shutil

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

from datasets.palettes import class_palette
from datasets.prepare import main

NAMES = list("abcdefghij")
CLASSES = ("--classes", "soil,crop,weed")


@pytest.fixture
def folders(export, photographs, masks):
    photographs(export / "images")
    masks(export / "masks", dict.fromkeys(NAMES, np.tile(np.arange(32) % 3, (24, 1))))
    return export


def test_what_is_written(folders, bring, tmp_path, capsys):
    bring(*CLASSES)
    output = tmp_path / "imported"
    assert sorted(path.name for path in output.iterdir()) == [
        "ImageSets", "JPEGImages", "SegmentationClass", "dataset.yaml", "preview.png",
    ]  # fmt: skip
    described = yaml.safe_load((output / "dataset.yaml").read_text())
    assert described["classes"] == ["soil", "crop", "weed"] and described["ignore"] == 255
    assert [tuple(c) for c in described["colors"]] == list(class_palette(["soil", "crop", "weed"]))
    assert (output / "JPEGImages/a.jpg").read_bytes() == (folders / "images/a.jpg").read_bytes()
    told = capsys.readouterr().out
    assert "format: folders; 10 images; splits: drawn at random (seed 0)" in told
    assert f"and train with --datadir {output}" in told
    assert main(["check", "--datadir", str(output)]) == 0
    assert "0 problem(s)" in capsys.readouterr().out


def test_a_dry_run_writes_the_picture_alone(folders, tmp_path, capsys):
    argv = ["import", "--input", folders, "--output", tmp_path / "new", *CLASSES, "--dry-run"]
    assert main([str(word) for word in argv]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export", "new-preview.png"]
    told = capsys.readouterr().out
    assert "nothing imported" in told and "34.38% (8)" in told and "32 x 24 (10)" in told
    image = np.array(Image.open(tmp_path / "new-preview.png"))
    # Three overlays of 480 x 360 px with gaps of 8 px; crop (green) and weed (red) are seen.
    assert image.shape[1] == 3 * 480 + 4 * 8 and image.shape[0] > 360
    first = image[8:368, 8:488].astype(int)
    assert (first[..., 1] > first[..., 0] + 60).mean() > 0.1
    assert (first[..., 0] > first[..., 1] + 60).mean() > 0.1


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_photographs_of_12_bits_in_16_are_noted(export, photographs, masks, bring, capsys, suffix):
    for path in photographs(export / "images", suffix=suffix):
        if path.stem in "abc":
            cv2.imwrite(str(path), cv2.imread(str(path)).astype(np.uint16) * 16)
    masks(export / "masks", dict.fromkeys(NAMES, np.ones((24, 32))))
    bring(*CLASSES)
    notes = [line for line in capsys.readouterr().out.splitlines() if "16-bit" in line]
    assert len(notes) == 1 and "are read almost black: 3, such as " in notes[0]


def test_the_split_depends_on_the_seed_alone(folders, bring, tmp_path):
    def names(seed):
        shutil.rmtree(tmp_path / "imported", ignore_errors=True)
        return {k: split.names for k, split in bring(*CLASSES, "--seed", seed).items()}

    assert names(1) == names(1) != names(2)


def test_shares_deal_anew(folders, bring):
    data = bring(*CLASSES, "--ratio", 1, 1)
    assert {name: len(split) for name, split in data.items()} == {"train": 5, "val": 5}


def test_series_of_numbered_names_are_kept_together(export, photographs, masks, bring):
    names = [f"{drive}_{frame:04d}" for drive in ("north", "south", "west") for frame in range(4)]
    photographs(export / "images", names)
    masks(export / "masks", dict.fromkeys(names, np.ones((24, 32))))
    data = bring(*CLASSES, "--by-folder", "--ratio", 1, 1, 1)
    for split in data.values():
        assert len({name.partition("_")[0] for name in split.names}) == 1


def test_a_single_series_is_cut_into_stretches(export, photographs, masks, bring):
    names = [f"frame{frame}" for frame in range(20)]
    photographs(export / "images", names)
    masks(export / "masks", dict.fromkeys(names, np.ones((24, 32))))
    data = bring(*CLASSES, "--by-folder", "--ratio", 0.5, 0.25, 0.25)
    for split, count in (("train", 10), ("val", 5), ("test", 5)):
        numbers = sorted(int(name.removeprefix("frame")) for name in data[split].names)
        assert len(numbers) == count and numbers[-1] - numbers[0] == count - 1


def test_lists_of_folders_with_equal_names_are_kept(export, photographs, masks, bring):
    """Cameras number their photographs anew each day; a name may have spaces."""
    days = {"train": "day 1", "val": "day 2", "test": "day 3"}
    lists = export / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, day in days.items():
        photographs(export / "JPEGImages" / day)
        masks(export / "SegmentationClass" / day, dict.fromkeys(NAMES, np.ones((24, 32))))
        (lists / f"{split}.txt").write_text("\n".join(f"{day}/{name}" for name in NAMES))
    data = bring(*CLASSES)
    for split, day in days.items():
        assert len(data[split]) == len(NAMES)
        assert {image.parent.name for image, _ in data[split].pairs} == {day}


def test_a_name_in_two_lists_is_refused(export, photographs, masks, refuses):
    photographs(export / "JPEGImages")
    masks(export / "SegmentationClass", dict.fromkeys(NAMES, np.ones((24, 32))))
    lists = export / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("\n".join(NAMES))
    (lists / "val.txt").write_text("a.jpg")
    assert "val.txt: a is listed in train too" in refuses(*CLASSES)


def test_folders_are_not_kept_together_against_the_splits_of_the_source(
    export, photographs, masks, refuses, bring
):
    for split, names in (("train", NAMES[:5]), ("val", NAMES[5:])):
        photographs(export / split / "images" / "drive", names)
        masks(export / split / "masks" / "drive", dict.fromkeys(names, np.ones((24, 32))))
    assert "--by-folder: the source says which images are" in refuses(*CLASSES, "--by-folder")
    assert set(bring(*CLASSES)) == {"train", "val"}


def test_hidden_files_beside_masks_are_skipped(export, photographs, masks, bring):
    photographs(export / "images")
    masks(export / "painted", dict.fromkeys(NAMES, np.ones((24, 32))))
    (export / "painted" / "._a.png").write_bytes(b"of macOS")
    data = bring(*CLASSES, "--masks", export / "painted")
    images = [image.name for split in data.values() for image, _ in split.pairs]
    assert sorted(images) == [f"{name}.jpg" for name in NAMES]


def test_what_was_imported_can_be_imported_again(folders, bring, tmp_path, capsys):
    bring(*CLASSES, "--ignore", "weed")
    first, again = tmp_path / "imported", tmp_path / "again"
    argv = ["import", "--input", first, "--output", again, "--map", "soil=ground"]
    assert main([str(word) for word in argv]) == 0
    assert "splits: as in the source" in capsys.readouterr().out
    assert yaml.safe_load((again / "dataset.yaml").read_text())["classes"] == ["ground", "crop"]
    labels = [np.array(Image.open(p / "SegmentationClass" / "a.png")) for p in (first, again)]
    assert np.array_equal(*labels) and set(np.unique(labels[0])) == {0, 1, 255}


def test_a_file_that_is_no_annotation(folders, refuses):
    assert "no known format" in refuses(source=folders / "images" / "a.jpg")


def test_the_format_can_be_given(folders, bring, refuses):
    assert "no a.jpg with a_L.png" in refuses(*CLASSES, "--format", "pairs")
    assert len(bring(*CLASSES, "--format", "folders")["train"]) == 8


def test_inputs_that_are_none(export, tmp_path, refuses):
    told = refuses()
    assert (
        "no known format; found no file; needed one of: coco: " in told and "pairs: x.jpg" in told
    )
    (export / "readme.md").touch()
    assert "found 1 .md" in refuses()
    assert "nowhere: no such file or directory" in refuses(source=tmp_path / "nowhere")
    (export / "export.zip").touch()
    assert "is an archive; unpack it" in refuses(source=export / "export.zip")
    assert "--images /no/where: no such directory" in refuses("--images", "/no/where")


def test_outputs_that_exist_are_left_alone(folders, tmp_path, refuses):
    (tmp_path / "imported").mkdir()
    (tmp_path / "imported" / "mine").touch()
    assert "imported: exists already" in refuses(*CLASSES)
    assert [path.name for path in (tmp_path / "imported").iterdir()] == ["mine"]


def test_outputs_that_cannot_be_made(folders, tmp_path, refuses):
    below = folders / "images" / "a.jpg" / "new"
    told = refuses(*CLASSES, "--output", below)
    assert f"--output {below}: cannot be written" in told and "name another place" in told


def test_shares_that_leave_a_split_empty(folders, refuses):
    told = refuses(*CLASSES, "--ratio", 98, 1, 1)
    assert (
        "leaves val empty, there are 10 images; give it a larger share, as in --ratio 1 1 1" in told
    )


def test_flags_that_contradict(folders, refuses):
    assert "--background: masks name every pixel" in refuses(*CLASSES, "--background", "soil")
    assert "1 class(es) to train on" in refuses(*CLASSES, "--map", "soil=a,crop=a,weed=a")
    assert "named twice" in refuses("--classes", "0=soil,0=crop")
    assert "--classes x: not VALUE=NAME" in refuses("--classes", "0=soil,x")
    assert "three positive shares" in refuses(*CLASSES, "--ratio", 1)
