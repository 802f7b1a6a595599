import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datasets import build_dataset, parse_classes
from datasets.base import index_by_stem, pair


def test_sample(make_voc):
    dataset = build_dataset("voc", make_voc(), "train")
    sample = dataset[1]
    assert sample["image"].shape == (3, 24, 32)
    assert sample["label"].shape == (24, 32)
    assert sample["image"].dtype == sample["label"].dtype == torch.uint8
    assert type(sample["image"]) is type(sample["label"]) is torch.Tensor
    assert sample["name"] == "b"
    assert len(dataset) == 2
    assert dataset.num_classes == 21
    assert dataset.condition(0) is None


def test_values_outside_the_class_list_are_told(make_voc, write_png):
    root = make_voc()
    label = np.zeros((24, 32), np.uint8)
    label[0, :5], label[1, 0] = 7, 255
    write_png(root / "SegmentationClass" / "a.png", label)
    dataset = build_dataset("VOC", root, "train", classes="soil,crop,weed")
    with pytest.raises(ValueError, match=r"a\.png: .*: 7 \(5 px\);.*0 to 2 or 255.*--classes"):
        dataset[0]


def test_16_bit_values_outside_the_class_list_are_told(make_voc, write_png):
    root = make_voc()
    write_png(root / "SegmentationClass" / "a.png", np.full((24, 32), 10000, np.uint16))
    with pytest.raises(ValueError, match=r"a\.png: .*10000 \(768 px\)"):
        build_dataset("VOC", root, "train")[0]


def test_sizes_must_agree(make_voc, write_png):
    root = make_voc()
    label = write_png(root / "SegmentationClass" / "a.png", np.zeros((32, 24), np.uint8))
    with pytest.raises(ValueError, match="label is 24 x 32, its image .* is 32 x 24") as caught:
        build_dataset("VOC", root, "train")[0]
    assert str(label) in str(caught.value)


def test_truncated_image_is_named(make_voc):
    root = make_voc()
    path = root / "JPEGImages" / "a.jpg"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"a\.jpg: truncated image.* remove it"):
        build_dataset("VOC", root, "train")[0]


def test_unknown_split_lists_the_known():
    with pytest.raises(ValueError, match=r"CWFID has no split 'trian'; known: train, test, fit"):
        build_dataset("CWFID", ".", "trian")


def test_fixed_class_list_is_kept(tmp_path):
    with pytest.raises(ValueError, match="--classes: CWFID has its own 3 classes"):
        build_dataset("CWFID", tmp_path, "train", classes="soil,weed,crop")


def test_pairing_names_the_file_without_partner(tmp_path, write_png):
    grey = np.zeros((2, 2), np.uint8)
    for name in ("images/b.png", "images/a.png", "labels/a.png", "labels/b.png"):
        write_png(tmp_path / name, grey)
    folders = tmp_path / "images", tmp_path / "labels"
    pairs = pair(*map(index_by_stem, folders), folders[1])
    assert [image.stem for image, _ in pairs] == ["a", "b"]
    assert all(image.stem == label.stem for image, label in pairs)
    (folders[1] / "b.png").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"images.b\.png: image without a label in .*labels"
    ):
        pair(*map(index_by_stem, folders), folders[1])
    write_png(folders[1] / "b.png", grey)
    (folders[0] / "a.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"labels.a\.png: label without an image"):
        pair(*map(index_by_stem, folders), folders[1])


def test_index_by_stem_skips_what_does_not_belong(tmp_path, write_png):
    grey = np.zeros((2, 2), np.uint8)
    for name in ("s/a_x.png", "._a_x.png", "a_y.png", "A_x.JPG"):
        write_png(tmp_path / name, grey, format="png")
    assert list(index_by_stem(tmp_path, "_x")) == ["s/a"]
    assert sorted(index_by_stem(tmp_path, "_x", (".jpg", ".png"))) == ["A", "s/a"]
    write_png(tmp_path / ".ipynb_checkpoints" / "c_x.png", grey)
    assert list(index_by_stem(tmp_path, "_x")) == ["s/a"]
    write_png(tmp_path / "s" / "a_x.jpg", grey)
    with pytest.raises(ValueError, match="same stem"):
        index_by_stem(tmp_path, "_x", (".jpg", ".png"))


def test_parse_classes(tmp_path):
    assert parse_classes("soil, crop,weed") == ("soil", "crop", "weed")
    listing = tmp_path / "classes.txt"
    listing.write_text("soil\ncrop, young\n\nweed\n")
    assert parse_classes(str(listing)) == ("soil", "crop, young", "weed")
    with pytest.raises(FileNotFoundError, match=r"--classes: no such file: .*absent\.txt"):
        parse_classes(str(tmp_path / "absent.txt"))
    for text, told in (
        ("a,,b", "empty"),
        ("a,b,a", "twice: a"),
        ("soil", "2 to 254"),
        ("", "empty"),
    ):
        with pytest.raises(ValueError, match=told):
            parse_classes(text)
    listing.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not a text file"):
        parse_classes(str(listing))


@given(
    st.lists(st.text("abc xyz", min_size=1).map(str.strip).filter(bool), min_size=2, unique=True)
)
def test_parse_classes_round_trip(names):
    assert parse_classes(",".join(names)) == tuple(names)


def test_linked_folders_are_followed_and_never_round_in_circles(tmp_path, write_png):
    write_png(tmp_path / "card" / "day" / "a.png", np.zeros((2, 2), np.uint8))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "field").symlink_to(tmp_path / "card" / "day")
    (tmp_path / "card" / "day" / "again").symlink_to(tmp_path / "images")
    assert list(index_by_stem(tmp_path / "images")) == ["field/a"]
