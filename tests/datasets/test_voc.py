import shutil

import numpy as np
import pytest
from PIL import Image

from datasets import build_dataset


@pytest.mark.parametrize("inner", ["", "VOC2012", "VOCdevkit/VOC2012"])
def test_root_may_be_any_of_the_folders(tmp_path, make_voc, inner):
    make_voc(tmp_path / "data" / inner)
    dataset = build_dataset("VOC", tmp_path / "data", "train", classes="soil,crop")
    assert [image.stem for image, _ in dataset.pairs] == ["a", "b"]
    assert dataset.splits == ("train", "val")


def test_palette_png_is_read_as_indices(make_voc):
    root = make_voc()
    indices = np.tile(np.arange(32, dtype=np.uint8) % 21, (24, 1))
    indices[0] = 255
    image = Image.fromarray(indices)
    image.putpalette(list(np.random.default_rng(0).integers(0, 256, 768)))
    image.save(root / "SegmentationClass" / "a.png")
    assert np.array_equal(build_dataset("VOC", root, "train")[0]["label"], indices)


def test_own_classes_and_own_splits(make_voc):
    root = make_voc(train=["field 1"], field=["x.1", "y"])
    dataset = build_dataset("VOC", root, "field", classes=["soil", "crop"])
    assert dataset.classes == ("soil", "crop")
    assert dataset[0]["name"] == "x.1"


def test_images_of_one_stem_keep_their_folder_in_the_name(make_voc):
    dataset = build_dataset("VOC", make_voc(val=["d1/a", "d1/e 2/a", "d2/b.1"]), "val")
    assert dataset.names == ["d1/a", "d1/e 2/a", "d2/b.1"]
    assert dataset[1]["name"] == "d1/e 2/a"


@pytest.mark.parametrize(
    ("classes", "palette"),
    [
        ("Soil,Crop,Weed", ((0, 0, 0), (0, 255, 0), (255, 0, 0))),
        ("background,weed,crop", ((0, 0, 0), (255, 0, 0), (0, 255, 0))),
        ("soil,crop,thistle", ((0, 0, 0), (0, 255, 0), (230, 159, 0))),
        ("soil,background,crop", ((0, 0, 0), (230, 159, 0), (0, 255, 0))),  # else two were black
    ],
)
def test_plants_have_the_colours_of_the_plant_data_sets(make_voc, classes, palette):
    assert build_dataset("VOC", make_voc(), "train", classes=classes).palette == palette


def test_png_images_and_suffixes_in_the_list(make_voc):
    root = make_voc()
    images = root / "JPEGImages"
    Image.open(images / "a.jpg").save(images / "a.png")
    (images / "a.jpg").unlink()
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text("a.png\nb.jpg\n\n")
    assert len(build_dataset("VOC", root, "train")) == 2


def test_a_list_from_an_editor_that_writes_a_byte_order_mark(make_voc):
    root = make_voc()
    listing = root / "ImageSets" / "Segmentation" / "train.txt"
    listing.write_text("a\nb\n", encoding="utf-8-sig")
    names = root / "names.txt"
    names.write_text("soil\ncrop\n", encoding="utf-8-sig")
    dataset = build_dataset("VOC", root, "train", classes=str(names))
    assert (dataset.names, dataset.classes) == (["a", "b"], ("soil", "crop"))


def test_missing_split_lists_the_present(make_voc):
    with pytest.raises(
        FileNotFoundError, match=r"test\.txt: no such split; splits there: train, val"
    ):
        build_dataset("VOC", make_voc(), "test")


def test_missing_trainaug_is_explained(make_voc):
    with pytest.raises(FileNotFoundError, match=r"trainaug\.txt.*SBD.*SegmentationClassAug"):
        build_dataset("VOC", make_voc(), "trainaug")


def test_trainaug_labels(make_voc):
    root = make_voc(trainaug=["a"])
    assert build_dataset("VOC", root, "trainaug").pairs[0][1].parent.name == "SegmentationClass"
    shutil.move(root / "SegmentationClass", root / "SegmentationClassAug")
    assert build_dataset("VOC", root, "trainaug").pairs[0][1].parent.name == "SegmentationClassAug"


def test_other_layout_says_what_was_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"ImageSets/Segmentation.*VOCdevkit/VOC2012"):
        build_dataset("VOC", tmp_path, "train")


@pytest.mark.parametrize("path", ["JPEGImages/b.jpg", "SegmentationClass/b.png"])
def test_missing_partner_is_named(make_voc, path):
    root = make_voc()
    (root / path).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        build_dataset("VOC", root, "train")
    assert str(root / path) in str(caught.value)


def test_empty_and_doubled_lists(make_voc):
    root = make_voc()
    listing = root / "ImageSets" / "Segmentation" / "train.txt"
    listing.write_text("\n")
    with pytest.raises(FileNotFoundError, match="split 'train' of VOC is empty"):
        build_dataset("VOC", root, "train")
    listing.write_text("a\na\n")
    with pytest.raises(ValueError, match=r"train\.txt: names 'a' more than once"):
        build_dataset("VOC", root, "train")


@pytest.mark.parametrize(
    "place", ["masks/b.png"] + [f"SegmentationClass/{n}" for n in ("b_mask.png", "B.png", "b.bmp")]
)
def test_labels_that_are_almost_there_are_named(make_voc, place):
    root = make_voc()
    (root / "masks").mkdir()
    (root / "SegmentationClass" / "b.png").rename(root / place)
    with pytest.raises(FileNotFoundError) as caught:
        build_dataset("VOC", root, "train")
    assert f"b.png is missing (near: {place})" in str(caught.value)


def test_names_in_another_unicode_form_are_paired(make_voc):
    root = make_voc(train=["Mu\u0308sli"], val=["M\u00fcsli"])
    image, label = root / "JPEGImages", root / "SegmentationClass"
    (image / "M\u00fcsli.jpg").unlink()
    (label / "Mu\u0308sli.png").unlink()
    for split in ("train", "val"):
        ((path, other),) = build_dataset("VOC", root, split).pairs
        assert (path.name, other.name) == ("Mu\u0308sli.jpg", "M\u00fcsli.png")


def test_another_layout_is_shown_beside_the_one_that_is_needed(tmp_path):
    for folder in ("train", "trainannot"):
        (tmp_path / folder).mkdir()
    with pytest.raises(FileNotFoundError) as caught:
        build_dataset("VOC", tmp_path, "train")
    told = str(caught.value)
    assert "found: train/, trainannot/; needed: JPEGImages/a.jpg, SegmentationClass/a.png" in told
    assert "`import`" in told
