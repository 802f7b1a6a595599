import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_line import cli
from datasets import build_dataset
from datasets.prepare import main
from datasets.synthetic import Synthetic

ROOT = Path(__file__).parents[2]
CLASSES = ["--classes", "soil,crop,weed"]
COLOURS = ["soil=0,0,0", "crop=0,255,0", "weed=255,0,0"]


@pytest.fixture
def fails(capsys, monkeypatch):
    """`fails(*argv)`: runs a command that must end with status 2; returns its one line."""

    def run(*argv) -> str:
        monkeypatch.setattr(sys, "argv", ["datasets/prepare.py"])
        with pytest.raises(SystemExit) as ended:
            cli.run(lambda: main([str(arg) for arg in argv]))
        assert ended.value.code == 2
        told = capsys.readouterr().err
        assert told.startswith("prepare.py: error: ") and told.count("\n") == 1
        return told

    return run


def run(*argv) -> int:
    return main([str(arg) for arg in argv])


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_check_of_a_sound_data_set(make_voc, capsys):
    assert run("check", "--dataset", "VOC", "--datadir", make_voc(), *CLASSES) == 0
    told = capsys.readouterr().out
    assert "0 problem(s)" in told
    assert "100.00% (2)" in told and "100.00% (1)" in told  # crop, in train and in val
    assert "32 x 24" in told
    assert told.count("note: ") == 1 and "note: no pixel of soil, weed in train: do --cl" in told


def test_check_finds_every_problem(make_voc, write_png, capsys):
    root = make_voc(train=["wrong", "size", "cut", "both"], val=["both"])
    values = np.zeros((24, 32), np.uint8)
    values[0, :5] = 77
    write_png(root / "SegmentationClass" / "wrong.png", values)
    write_png(root / "SegmentationClass" / "size.png", np.zeros((24, 30), np.uint8))
    image = root / "JPEGImages" / "cut.jpg"
    image.write_bytes(image.read_bytes()[:300])
    assert run("check", "--datadir", root, *CLASSES) == 1
    told = capsys.readouterr().out
    lines = [line for line in told.splitlines() if line.startswith("problem: ")]
    assert len(lines) == 4 and "4 problem(s)" in told
    for parts in (("wrong.png", "77 (5 px)"), ("size.png", "30 x 24"), ("cut.jpg",)):
        assert any(all(part in line for part in parts) for line in lines)
    assert any("both.jpg" in line and "train and val" in line for line in lines)


def test_check_reports_a_split_that_cannot_be_opened(make_voc, capsys):
    root = make_voc(train=["a"], val=["b"], test=["c"])
    (root / "SegmentationClass" / "b.png").unlink()
    (root / "SegmentationClass" / "c.png").unlink()
    assert run("check", "--datadir", root, *CLASSES) == 1
    told = capsys.readouterr().out
    assert "problem: val: " in told and "b.png is missing" in told
    assert "left out: " in told and "c.png is missing" in told
    assert run("check", "--datadir", root, *CLASSES, "--splits", "train") == 0


def test_check_reports_a_broken_test_split_and_its_training_images(make_voc, capsys):
    root = make_voc(train=["a"], val=["b"], test=["a", "c"])
    assert run("check", "--datadir", root, *CLASSES) == 1
    told = capsys.readouterr().out
    assert "a.jpg: is in train and test at once" in told and "1 problem(s)" in told
    (root / "SegmentationClass" / "c.png").unlink()
    assert run("check", "--datadir", root, *CLASSES) == 1
    told = capsys.readouterr().out
    assert "problem: test: " in told and "c.png is missing" in told and "left out" not in told


def test_check_lists_every_missing_file_of_a_split(make_voc, capsys):
    root = make_voc(train=["a", "b", "c"], val=["d"])
    (root / "SegmentationClass" / "a.png").unlink()
    (root / "JPEGImages" / "c.jpg").unlink()
    assert run("check", "--datadir", root, *CLASSES) == 1
    told = capsys.readouterr().out
    assert "2 problem(s)" in told
    assert "a.png is missing" in told and "c.jpg: no such image" in told


def test_check_of_drawn_fields(capsys, monkeypatch):
    monkeypatch.setattr(Synthetic, "default_size", (40, 40))
    monkeypatch.setattr(Synthetic, "default_counts", {"train": 3, "val": 1, "test": 1})
    assert run("check", "--dataset", "synthetic") == 0
    assert "weed" in capsys.readouterr().out


def test_check_of_what_is_not_there(fails, tmp_path):
    assert "nowhere" in fails("check", "--datadir", tmp_path / "nowhere")
    assert "known: VOC" in fails("check", "--dataset", "Moon", "--datadir", tmp_path)
    assert "--datadir" in fails("check", "--dataset", "VOC")


def test_check_refuses_flags_that_name_nothing(make_voc, fails):
    root = make_voc()
    told = fails("check", "--datadir", root, "--classes", "/no/such/file")
    assert "--classes: no such file: /no/such/file" in told
    told = fails("check", "--datadir", root, *CLASSES, "--splits", "trian")
    assert "--splits trian: no such split; known: train, val" in told


def test_flags_that_argparse_refuses_make_one_line_too(fails):
    assert "--output" in fails("synthetic")
    assert "12by12" in fails("synthetic", "--output", "x", "--size", "12by12")
    assert "draw" in fails("draw")


def test_split_is_seeded_complete_and_disjoint(make_voc):
    names = [f"{i:02d}" for i in range(20)]
    root = make_voc(train=names)
    lists = root / "ImageSets" / "Segmentation"

    def split_with(seed: int) -> dict[str, list[str]]:
        for path in lists.glob("*.txt"):
            path.unlink()
        assert run("split", "--datadir", root, "--seed", seed, "--ratio", 0.7, 0.2, 0.1) == 0
        return {path.stem: path.read_text().split() for path in lists.glob("*.txt")}

    first = split_with(0)
    assert {name: len(stems) for name, stems in first.items()} == {"train": 14, "val": 4, "test": 2}
    assert sorted(sum(first.values(), [])) == names
    assert split_with(0) == first
    assert split_with(1) != first
    assert len(build_dataset("VOC", root, "val", classes="soil,crop")) == 4


def test_split_by_folder_keeps_the_images_of_a_drive_together(make_voc, capsys, fails):
    names = [f"field {field}/day{day}/{image}" for field in "ab" for day in "12" for image in "xyz"]
    root = make_voc(train=names)
    lists = root / "ImageSets" / "Segmentation"
    (lists / "train.txt").unlink()
    assert run("split", "--datadir", root, "--ratio", 2, 1, 1) == 0
    assert "more than one split" in capsys.readouterr().out
    for path in lists.glob("*.txt"):
        path.unlink()
    assert run("split", "--datadir", root, "--ratio", 2, 1, 1, "--by-folder") == 0
    assert "train 6, val 3, test 3" in (told := capsys.readouterr().out) and "note" not in told
    dealt = [name for path in lists.glob("*.txt") for name in path.read_text().splitlines()]
    assert sorted(dealt) == sorted(names)
    for path in lists.glob("*.txt"):
        inside = path.read_text().splitlines()
        folders = {name.rpartition("/")[0] for name in inside}
        assert len(inside) == 3 * len(folders)
        path.unlink()
    assert "leaves val empty, there are 4 folders" in fails(
        "split", "--datadir", root, "--by-folder", "--ratio", 9, 1
    )


def test_split_tells_what_it_leaves_out(make_voc, write_png, capsys):
    root = make_voc(train=list("abcdef"), val=[])
    shutil.rmtree(root / "ImageSets")
    for name in ("x.tif", "y.BMP", "a.tif"):  # a is read from a.jpg
        Image.new("RGB", (32, 24)).save(root / "JPEGImages" / name)
    for name in ("x", "y", "orphan"):
        write_png(root / "SegmentationClass" / f"{name}.png", np.zeros((24, 32), np.uint8))
    assert run("split", "--datadir", root, "--ratio", 2, 1) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if "note" in line] == [
        "note: 2 image(s) (.tif, .bmp) are not read from here: `prepare.py import` converts them",
        "note: 1 label(s) without an image: orphan.png",
    ]


def test_split_of_two_shares_makes_no_test_list(make_voc):
    root = make_voc(old=["a", "b", "c", "d"])
    assert run("split", "--datadir", root, "--ratio", 3, 1) == 0
    assert "ImageSets/Segmentation/test.txt" not in files(root)
    assert "ImageSets/Segmentation/train.txt" in files(root)


def test_split_refuses_and_writes_nothing(make_voc, fails, tmp_path):
    root = make_voc(val=["a", "b"])
    before = files(root)
    assert "val.txt: exists already" in fails("split", "--datadir", root, "--ratio", 1, 1)
    (root / "ImageSets" / "Segmentation" / "val.txt").unlink()
    before.remove("ImageSets/Segmentation/val.txt")
    assert "leaves" in fails("split", "--datadir", root)
    assert "positive shares" in fails("split", "--datadir", root, "--ratio", 1, 0)
    assert "--seed" in fails("split", "--datadir", root, "--ratio", 1, 1, "--seed", -1)
    (root / "SegmentationClass" / "a.png").unlink()
    before.remove("SegmentationClass/a.png")
    assert "a.jpg: image without a label" in fails("split", "--datadir", root)
    assert "nowhere" in fails("split", "--datadir", tmp_path / "nowhere")
    assert files(root) == before


def test_split_of_a_folder_without_images(tmp_path, fails):
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "SegmentationClass").mkdir()
    (tmp_path / "JPEGImages" / "a.tif").touch()
    told = fails("split", "--datadir", tmp_path)
    assert "JPEGImages: no .jpg, .jpeg or .png in it" in told


@pytest.fixture
def masks(tmp_path, write_png) -> Path:
    colours = np.zeros((4, 5, 3), np.uint8)
    colours[1], colours[2], colours[3] = (0, 255, 0), (255, 0, 0), (9, 9, 9)
    write_png(tmp_path / "masks" / "field" / "one.png", colours)
    return tmp_path / "masks"


def test_palette_writes_ids_in_the_order_of_the_colours(masks, tmp_path):
    output = tmp_path / "ids"
    colours = [*COLOURS, "void=9,9,9"]
    assert run("palette", "--input", masks, "--output", output, "--colors", *colours) == 0
    image = Image.open(output / "field" / "one.png")
    assert np.array_equal(np.array(image), np.repeat([[0], [1], [2], [255]], 5, axis=1))
    assert image.mode == "P" and image.getpalette()[:9] == [0, 0, 0, 0, 255, 0, 255, 0, 0]
    assert files(masks) == ["field", "field/one.png"]

    table = tmp_path / "colours.txt"
    table.write_text("\n".join(colours) + "\n")
    again = tmp_path / "again"
    assert run("palette", "--input", masks, "--output", again, "--colors", table) == 0
    assert (again / "field/one.png").read_bytes() == (output / "field/one.png").read_bytes()


def test_palette_names_file_colour_and_count_and_leaves_nothing(masks, tmp_path, fails):
    told = fails("palette", "--input", masks, "--output", tmp_path / "ids", "--colors", *COLOURS)
    assert "one.png" in told and "9,9,9 (5 px)" in told
    assert os.listdir(tmp_path) == ["masks"]


@pytest.mark.parametrize(
    ("colours", "told"),
    [
        (["soil=0,0", "crop=0,255,0"], "soil=0,0: not name=red,green,blue"),
        (["soil=0,0,256", "crop=0,255,0"], "numbers of 0 to 255"),
        (["soil=0,0,0", "crop=0,0,0"], "given twice"),
        (["soil=0,0,0"], "2 to 254"),
        (["colours.txt"], "no such file: colours.txt"),
    ],
)
def test_palette_refuses_these_colours(masks, tmp_path, fails, colours, told):
    output = tmp_path / "ids"
    assert told in fails("palette", "--input", masks, "--output", output, "--colors", *colours)


def test_an_output_that_exists_is_left_alone(masks, fails):
    before = files(masks)
    told = fails("palette", "--input", masks, "--output", masks, "--colors", *COLOURS)
    assert f"--output {masks}: exists already" in told
    assert files(masks) == before


@pytest.fixture
def published(tmp_path, write_png) -> Path:
    """Sugar Beets 2016 as published: two sessions of five pairs, and files without a partner."""
    ids = [0, 1, 97, 2, 10000, 10002, 20000, 20011, 20100, 20105]
    for session in ("may", "june"):
        for index in range(5):
            name = f"{session}_{index}.png"
            folder = tmp_path / "raw" / session
            write_png(folder / "images" / "rgb" / name, np.full((2, 10, 3), index, np.uint8))
            label = np.array([ids, ids], np.uint16)
            write_png(folder / "annotations" / "dlp" / "iMapCleaned" / name, label)
    write_png(tmp_path / "raw" / "may" / "images" / "rgb" / "lone.png", np.zeros((2, 10), np.uint8))
    return tmp_path / "raw"


def test_sugar_beets(published, tmp_path, capsys):
    output = tmp_path / "voc"
    assert run("sugar-beets", "--input", published, "--output", output) == 0
    told = capsys.readouterr().out
    assert "10 pairs; left out: 1 images without a label, 0 labels without an image" in told
    assert "train 8, val 1, test 1" in told
    dataset = build_dataset("SugarBeets", output, "train")
    sample = dataset[0]
    assert sample["label"][0].tolist() == [0, 0, 0, 2, 1, 1, 2, 2, 2, 2]
    assert sample["image"][0, 0, 0] == int(sample["name"][-1])
    assert run("check", "--dataset", "SugarBeets", "--datadir", output) == 0


def test_sugar_beets_with_an_unknown_id(published, tmp_path, fails, write_png):
    path = published / "june" / "annotations" / "dlp" / "iMapCleaned" / "june_3.png"
    write_png(path, np.full((2, 10), 30000, np.uint16))
    told = fails("sugar-beets", "--input", published, "--output", tmp_path / "voc")
    assert "june_3.png" in told and "30000 (20 px)" in told
    assert os.listdir(tmp_path) == ["raw"]


def test_sugar_beets_without_sessions(tmp_path, fails):
    told = fails("sugar-beets", "--input", tmp_path, "--output", tmp_path / "voc")
    assert "no image with a label" in told


def test_synthetic_writes_what_build_dataset_draws(tmp_path, capsys):
    output = tmp_path / "fields"
    flags = ["--count", 4, 2, "--size", "40x56", "--seed", 3, "--workers", 1]
    assert run("synthetic", "--output", output, *flags) == 0
    assert "train 4, val 2, test 1" in capsys.readouterr().out
    assert (output / "classes.txt").read_text().split() == list(Synthetic.classes)
    for split, count in (("train", 4), ("val", 2), ("test", 1)):
        written = build_dataset("Synthetic", output, split)
        drawn = Synthetic(split=split, size=(40, 56), count=count, seed=3)
        assert len(written) == count
        for read, new in zip(written, drawn, strict=True):
            assert read["name"] == new["name"]
            assert np.array_equal(read["label"], new["label"])
            gap = (read["image"].float() - new["image"].float()).abs().mean()
            assert gap < 5  # JPEG
    assert len(build_dataset("VOC", output, "train", classes=str(output / "classes.txt"))) == 4


def test_synthetic_draws_the_variety_that_is_asked_for(tmp_path):
    flags = ["--count", 1, "--size", "40x56", "--workers", 1, "--variety", "world"]
    assert run("synthetic", "--output", tmp_path / "world", *flags) == 0
    written = build_dataset("Synthetic", tmp_path / "world", "train")[0]["label"]
    drawn = Synthetic(size=(40, 56), count=1, variety="world")[0]["label"]
    assert np.array_equal(written, drawn)


def test_synthetic_refuses_and_leaves_nothing(tmp_path, fails):
    output = tmp_path / "fields"
    assert "--count 0" in fails("synthetic", "--output", output, "--count", 0)
    assert "--size 8x8" in fails("synthetic", "--output", output, "--size", 8)
    assert "--workers 0" in fails("synthetic", "--output", output, "--workers", 0)
    assert "three numbers" in fails("synthetic", "--output", output, "--count", 1, 1, 1, 1)
    assert "--variety beet" in fails("synthetic", "--output", output, "--without", "tilt")
    assert os.listdir(tmp_path) == []


def test_synthetic_leaves_out_what_is_not_wanted(tmp_path):
    flags = ["--count", 1, "--size", "40x56", "--workers", 1, "--variety", "world"]
    pictures = {}
    for name, more in (("all", []), ("bare", ["--without", "grounds", "camera"])):
        assert run("synthetic", "--output", tmp_path / name, *flags, *more) == 0
        pictures[name] = build_dataset("Synthetic", tmp_path / name, "train")[0]
    assert np.array_equal(pictures["all"]["label"], pictures["bare"]["label"])
    assert not np.array_equal(pictures["all"]["image"], pictures["bare"]["image"])


def test_the_script_runs_by_path_from_its_own_folder(tmp_path):
    command = [sys.executable, "prepare.py", "check", "--datadir", str(tmp_path / "nowhere")]
    ended = subprocess.run(command, cwd=ROOT / "datasets", capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.startswith("prepare.py: error: ") and "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("script", "words", "step"),
    [
        ("datasets/prepare.py", ["check", "--datadir", "x"], "datasets.inspection.inspect"),
        ("models/weights.py", ["show", "x.pth"], "rich.console.Console"),
    ],
)
def test_ctrl_c_ends_with_its_own_status(script, words, step, monkeypatch, capsys):
    def press(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(step, press)
    monkeypatch.setattr(sys, "argv", [script, *words])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    assert ended.value.code == 130
    assert "Traceback" not in capsys.readouterr().err
