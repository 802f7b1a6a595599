"""The command predict.py: what it writes, and what it does with files that are not as expected."""

import csv
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from cv2 import VideoCapture
from PIL import Image

from command_line.cli import run
from conventions.preprocessing import Preprocessing
from datasets.cityscapes import TRAIN_TO_LABEL_ID, Cityscapes
from datasets.transforms import EvalTransform
from eval import predict as command
from eval.inference import predict_logits
from eval.photographs.sources import find_sources, read_frames
from eval.reporting.pictures import overlay
from models import save_checkpoint

PALETTE = [[90, 60, 30], [0, 200, 0], [220, 0, 0]]


@pytest.fixture
def folder(tmp_path):
    """Two good images, one in a sub-folder."""
    random = np.random.default_rng(0)
    root = tmp_path / "photos"
    for name, size in (("a.png", (48, 70)), ("row 2/b.JPG", (50, 40))):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(random.integers(0, 256, (5, 7, 3), dtype=np.uint8))
        coarse.resize(size[::-1], Image.BILINEAR).save(path)
    return root


@pytest.fixture
def state(write_checkpoint):
    return write_checkpoint(palette=PALETTE)[0]


@pytest.fixture
def start(monkeypatch, capsys, state, tmp_path):
    """Run the command; return its status, and what it said on stderr."""

    def call(*arguments, output=tmp_path / "out", state=state):
        words = ["--state", state, "--output", output, "--cpu", *arguments]
        monkeypatch.setattr(sys, "argv", ["predict.py", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            run(command.main)
        return end.value.code, capsys.readouterr().err

    return call


def files_below(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def read_table(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_photographs_of_12_bits_in_16_are_noted(start, folder):
    image = cv2.imread(str(folder / "a.png")).astype(np.uint16) * 16
    cv2.imwrite(str(folder / "deep.png"), image)
    status, told = start("--input", folder)
    assert status == 0 and told.startswith("note: 16-bit images") and told.count("\n") == 1
    assert f"are read almost black: 1, such as {folder / 'deep.png'}; export" in told


def test_photographs_of_formats_that_are_not_read_are_reported(start, folder):
    for name in ("b.HEIC", "row 2/c.heic", "d.nef", "a.dng", "notes.txt", "cover.csv"):
        (folder / name).touch()  # a.dng is segmented as a.png
    for given in (folder, folder / "**/*"):
        status, told = start("--input", given, "--overwrite")
        assert status == 1
        assert told.splitlines() == [
            "left out: 2 .heic files, 1 .nef file: convert to JPEG",
        ]


def test_a_folder(start, folder, tmp_path, write_checkpoint):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert start("--input", folder, "--confidence") == (0, "")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    out = tmp_path / "out"
    assert files_below(out) == [
        "confidence/a.png", "confidence/row 2/b.png", "cover.csv", "labels/a.png",
        "labels/row 2/b.png", "legend.png", "overlays/a.jpg", "overlays/row 2/b.jpg",
    ]  # fmt: skip
    model = write_checkpoint()[1]
    image = torch.from_numpy(np.array(Image.open(folder / "a.png"))).permute(2, 0, 1)
    with torch.inference_mode():
        prepared = EvalTransform(64)(image, None)[0][None]
        small = predict_logits(model, prepared, Preprocessing())
        logits = predict_logits(model, prepared, Preprocessing(), size=(48, 70))
    label = Image.open(out / "labels" / "a.png")
    assert label.mode == "P" and label.size == (70, 48)
    assert label.getpalette()[:9] == sum(PALETTE, [])
    assert np.array_equal(np.array(label), logits.argmax(1)[0])
    confidence = np.array(Image.open(out / "confidence" / "a.png"))
    assert abs(confidence.mean() / 255 - small.softmax(1).amax(1).mean()) < 0.01
    drawn = np.array(Image.open(out / "overlays" / "a.jpg")).astype(int)
    expected = overlay(image.permute(1, 2, 0).numpy(), np.array(label), PALETTE)
    assert drawn.shape == expected.shape and abs(drawn - expected).mean() < 8  # JPEG
    rows = read_table(out / "cover.csv")
    assert [(row["image"], row["width"], row["height"]) for row in rows] == [
        ("a", "70", "48"), ("row 2/b", "40", "50"),
    ]  # fmt: skip
    for index, name in enumerate(("soil", "crop", "weed")):
        share = 100 * (np.array(label) == index).mean()
        assert float(rows[0][f"{name} %"]) == pytest.approx(share, abs=1e-3)


def test_windows_and_views_go_the_same_way(start, folder, tmp_path):
    arguments = ["--input", folder / "a.png", "--image-size", "native", "--opacity", "0"]
    assert start(*arguments, output=tmp_path / "whole")[0] == 0
    slide = ["--inference", "slide", "--window", "32", "--tta", "1"]
    assert start(*arguments, *slide, output=tmp_path / "slide")[0] == 0
    whole, slide = (tmp_path / name / "labels" / "a.png" for name in ("whole", "slide"))
    assert files_below(tmp_path / "slide") == ["cover.csv", "labels/a.png"]
    assert not np.array_equal(np.array(Image.open(whole)), np.array(Image.open(slide)))


def write_odd(folder, photo):
    """Write one photo in every way that must read the same, and broken files beside."""
    image = Image.fromarray(photo)
    image.save(folder / "plain.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned to the left, to be turned back
    image.rotate(90, expand=True).save(folder / "turned.png", exif=exif)
    image.convert("RGBA").save(folder / "alpha.png")
    cv2.imwrite(str(folder / "deep.png"), photo[..., ::-1].astype(np.uint16) * 257)
    image.save(folder / "other.tif")
    grey = image.convert("L")
    grey.save(folder / "grey.png")
    grey.convert("RGB").save(folder / "grey as colour.png")
    for name, size in (("one.png", (1, 1)), ("line.png", (90, 1))):
        image.resize(size).save(folder / name)
    data = (folder / "plain.png").read_bytes()
    (folder / "cut.png").write_bytes(data[: len(data) // 2])
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("no image")
    (folder / "empty.mp4").touch()
    (folder / "notes.txt").write_text("is left alone")
    (folder / ".hidden.png").touch()
    return {"cut.png", "empty.jpg", "text.jpg", "empty.mp4"}


def test_odd_and_broken_files(start, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    photo = np.random.default_rng(1).integers(0, 256, (40, 64, 3), dtype=np.uint8)
    broken = write_odd(folder, photo)
    status, told = start("--input", folder, "--image-size", "native")
    lines = told.strip().splitlines()
    assert status == 1 and len(lines) == len(broken), told
    assert {Path(line.split(": ")[1]).name for line in lines} == broken
    labels = {path.stem: np.array(Image.open(path)) for path in (tmp_path / "out/labels").iterdir()}
    for name in ("turned", "alpha", "deep", "other"):
        assert np.array_equal(labels[name], labels["plain"]), name
    assert np.array_equal(labels["grey"], labels["grey as colour"])
    assert labels["one"].shape == (1, 1) and labels["line"].shape == (1, 90)
    assert len(read_table(tmp_path / "out" / "cover.csv")) == len(labels) == 9


def test_a_strip_that_cannot_be_enlarged(start, tmp_path):
    for width, size in ((30_000, 64), (200, 512)):
        Image.new("RGB", (width, 1)).save(tmp_path / "strip.png")
        flags = "--input", tmp_path / "strip.png", "--image-size", size, "--overwrite"
        status, told = start(*flags)
        assert status == 1 and f"strip: {width} x 1 px" in told and "--image-size native" in told
        assert files_below(tmp_path / "out") == ["cover.csv"]


@pytest.fixture
def video(tmp_path):
    """Seven frames of rising brightness."""
    path = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    if not writer.isOpened():
        pytest.skip("this OpenCV writes no video")
    for index in range(7):
        writer.write(np.full((48, 64, 3), 30 * index, np.uint8))
    writer.release()
    return path


def test_a_video_frame_by_frame(start, video, tmp_path):
    assert start("--input", video, "--every", "3")[0] == 0
    names = [row["image"] for row in read_table(tmp_path / "out" / "cover.csv")]
    assert names == ["drive/000000", "drive/000003", "drive/000006"]
    frame = np.array(Image.open(tmp_path / "out" / "overlays" / "drive" / "000006.jpg"))
    label = np.array(Image.open(tmp_path / "out" / "labels" / "drive" / "000006.png"))
    expected = overlay(np.full((48, 64, 3), 180, np.uint8), label, PALETTE)
    assert abs(frame.astype(int) - expected).mean() < 6


def test_a_video_without_its_end(start, video, tmp_path):
    data = video.read_bytes()
    video.write_bytes(data[: len(data) // 2])
    status, told = start("--input", video)
    assert status == 1 and "drive.avi" in told and told.count("\n") == 1


class DamagedVideo:
    """A video whose bright frames cannot be decoded; OpenCV's own class is not safe to inherit."""

    def __init__(self, path):
        self.video = VideoCapture(path)

    def __getattr__(self, name):
        return getattr(self.video, name)

    def retrieve(self):
        found, frame = self.video.retrieve()
        return (False, None) if frame.mean() > 80 else (found, frame)


def test_a_damaged_frame_does_not_end_a_video(video, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", DamagedVideo)
    sources = find_sources([str(video)], video.parent / "out")
    frames = list(read_frames(sources, every=2))
    assert [name for name, _ in frames] == [f"drive/{index:06d}" for index in (0, 2, 4, 6)]
    assert [isinstance(frame, ValueError) for _, frame in frames] == [False, False, True, True]
    assert "drive.avi: frame 4: cannot be decoded" in str(frames[2][1])


def test_names(folder, tmp_path):
    """Paths below what the inputs share; the suffix only where it makes the difference."""
    output = folder / "masks"
    (folder / "row 2" / "b.png").touch()
    (output / "labels").mkdir(parents=True)
    (output / "labels" / "old.png").touch()
    names = [source.name for source in find_sources([str(folder)], output)]
    assert names == ["a", "row 2/b.JPG", "row 2/b.png"]
    two = [str(folder / "row 2" / "b.png"), str(folder / "a.png")]
    assert [source.name for source in find_sources(two, output)] == ["a", "row 2/b"]
    glob = [str(folder / "*" / "b.*"), str(folder / "row 2")]
    names = [source.name for source in find_sources(glob, tmp_path / "out")]
    assert names == ["row 2/b.JPG", "row 2/b.png"]


def test_results_of_two_photographs_never_have_one_name(tmp_path):
    for name in ("p.jpg", "p.png", "p.jpg.png", "P.JPG.PNG"):
        (tmp_path / name).touch()
    names = [source.name for source in find_sources([str(tmp_path)], tmp_path / "out")]
    assert names == ["P.JPG.PNG", "p.jpg", "p.jpg.png", "p.png"]


def test_results_of_an_earlier_run_are_not_segmented(start, folder, tmp_path):
    assert start("--input", folder, output=folder / "first") == (0, "")
    status, told = start("--input", folder, output=folder / "second")
    assert status == 0
    assert told == f"note: {folder / 'first'}: left out, it has results of an earlier run\n"
    first, second = (files_below(folder / name) for name in ("first", "second"))
    assert first == second
    glob = [str(folder / "**" / "*.*")]
    photographs = [source.path for source in find_sources(glob, tmp_path / "x")]
    assert photographs == [source.path for source in find_sources([str(folder)], tmp_path / "x")]
    for named in ("overlays", "overlays/*"):
        assert find_sources([str(folder / "first" / named)], tmp_path / "x")


def test_a_folder_of_photographs_that_are_not_read(start, tmp_path):
    (tmp_path / "phone").mkdir()
    for name in ("a.heic", "b.HEIC"):
        (tmp_path / "phone" / name).touch()
    folder, file = tmp_path / "phone", tmp_path / "phone" / "a.heic"
    for path, count in ((folder, "2 .heic files"), (file, "1 .heic file")):
        status, told = start("--input", path)
        assert status == 2
        assert f"error: --input {path}: {count}: convert to JPEG" in " ".join(told.split())


def test_a_video_beside_its_frames_has_results_of_its_own(folder, tmp_path):
    for name in ("row 2.mp4", "a.mp4"):
        (folder / name).touch()
    names = [source.name for source in find_sources([str(folder)], tmp_path / "out")]
    assert names == ["a.mp4", "a.png", "row 2/b", "row 2.mp4"]


def test_a_file_name_that_is_no_text(start, folder, tmp_path):
    (folder / "a.png").rename(folder / os.fsdecode(b"Geb\xfcsch.png"))
    assert start("--input", folder)[0] == 0
    table = (tmp_path / "out" / "cover.csv").read_bytes()
    assert b"Geb\xfcsch" in table and b"row 2/b" in table


def test_refused_in_one_line(start, folder, tmp_path, write_checkpoint):
    def refuse(*arguments, **where):
        status, told = start(*arguments, **where)
        assert status == 2 and told.startswith("predict.py: error: ") and told.count("\n") == 1
        return told

    photos = ["--input", folder]
    assert "is in --output" in refuse(*photos, output=folder)
    assert "is in --output" in refuse(*photos, output=tmp_path)
    assert "is a file" in refuse(*photos, output=tmp_path / "best.pth")
    assert "cannot be written" in refuse(*photos, output=tmp_path / "best.pth" / "b")
    assert "no such file" in refuse("--input", folder / "gone.png")
    (tmp_path / "bare").mkdir()
    assert "no image" in refuse("--input", tmp_path / "bare")
    assert "no image" in refuse("--input", tmp_path / "bare" / "*.png")
    assert "2 classes" in refuse(*photos, "--classes", "soil,plant")
    assert "19 classes" in refuse(*photos, "--dataset", "ACDC")
    assert "other classes" in refuse(*photos, "--official", "cityscapes")
    assert "--inference slide" in refuse(*photos, "--overlap", "0.5")
    assert "--opacity" in refuse(*photos, "--opacity", "2")
    if os.geteuid():
        folder.chmod(0o555)
        assert "cannot be written" in refuse("--input", folder / "a.png", output=folder / "o")
        folder.chmod(0o755)
    assert files_below(folder) == ["a.png", "row 2/b.JPG"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("outputs", [19, 20])
def test_label_ids_and_colours_of_cityscapes(start, build_tiny, folder, tmp_path, outputs):
    """A file that describes nothing takes names and colours from --dataset, and loses void."""
    bare = tmp_path / "bare.pth"
    save_checkpoint(bare, build_tiny(num_classes=outputs), {"classes": None})
    options = ["--dataset", "cityscapes", "--official", "cityscapes", "--image-size", "64"]
    assert start("--input", folder / "a.png", *options, state=bare) == (0, "")
    label = Image.open(tmp_path / "out" / "labels" / "a.png")
    assert label.getpalette()[: 3 * 19] == [c for colour in Cityscapes.palette for c in colour]
    ids = Image.open(tmp_path / "out" / "label_ids" / "a.png")
    assert ids.mode == "L"
    assert np.array_equal(np.array(ids), np.array(TRAIN_TO_LABEL_ID)[np.array(label)])
    assert "traffic light %" in read_table(tmp_path / "out" / "cover.csv")[0]


def test_what_was_written_before_an_error_is_whole(start, folder, tmp_path, monkeypatch):
    """The disk fills up at the second image: no temporary file stays, the table names the first."""
    written = command.PredictionFiles.write

    def write(files, name, *maps):
        if files.pixels:
            monkeypatch.setattr("eval.photographs.prediction_files.write_label", fail)
        written(files, name, *maps)

    def fail(path, *_):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(command.PredictionFiles, "write", write)
    status, told = start("--input", folder)
    assert status == 2 and "No space left" in told
    assert files_below(tmp_path / "out") == [
        "cover.csv",
        "labels/a.png",
        "legend.png",
        "overlays/a.jpg",
    ]
    assert [row["image"] for row in read_table(tmp_path / "out" / "cover.csv")] == ["a"]


def test_results_are_replaced_only_when_asked(start, folder, tmp_path):
    assert start("--input", folder / "a.png")[0] == 0
    label = tmp_path / "out" / "labels" / "a.png"
    label.write_bytes(b"earlier")
    status, told = start("--input", folder)
    assert status == 2 and "--overwrite" in told and told.count("\n") == 1
    assert label.read_bytes() == b"earlier" and not (label.parent / "row 2").exists()
    assert start("--input", folder, "--overwrite")[0] == 0
    assert Image.open(label).size == (70, 48)


def test_replaced_results_leave_nothing_of_the_earlier_ones(start, folder, tmp_path):
    assert start("--input", folder, "--confidence")[0] == 0
    out = tmp_path / "out"
    (out / "labels" / "mine.png").write_bytes(b"of the user")
    with (out / "cover.csv").open("a") as table:
        table.write("../../photos/a,1,1\n")
    assert start("--input", folder / "a.png", "--overwrite")[0] == 0
    assert files_below(out) == [
        "cover.csv", "labels/a.png", "labels/mine.png", "legend.png", "overlays/a.jpg",
    ]  # fmt: skip
    assert (tmp_path / "photos" / "a.png").exists()  # no result, though a table names it


def test_colours_of_single_classes(start, folder, tmp_path):
    photo = folder / "a.png"
    assert start("--input", photo, "--colors", "Weed=1,2,3")[0] == 0
    label = Image.open(tmp_path / "out" / "labels" / "a.png")
    assert label.getpalette()[:9] == [*PALETTE[0], *PALETTE[1], 1, 2, 3]
    for colour, message in (("tree=1,2,3", "unknown class"), ("weed=0,200,0", "another class")):
        status, told = start("--input", photo, "--colors", colour, output=tmp_path / "b")
        assert status == 2 and "--colors" in told and message in told
