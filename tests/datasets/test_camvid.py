import numpy as np
import pytest
from PIL import Image

from datasets import build_dataset


@pytest.fixture
def camvid_root(request):
    """The data set as the SegNet tutorial arranged it; skipped where it is absent."""
    root = request.getfixturevalue("cwfid_root").parent / "camvid"
    if not root.exists():
        pytest.skip(f"needs {root}")
    return root


def test_images_of_either_kind_are_paired_and_eleven_is_void(tmp_path, write_png):
    ids = np.tile(np.arange(12, dtype=np.uint8), (4, 1))
    for split, suffix in (("train", ".jpg"), ("val", ".png")):
        (tmp_path / split).mkdir()
        photo = Image.fromarray(np.full((4, 12, 3), 90, np.uint8))
        photo.save(tmp_path / split / f"0001TP{suffix}")
        write_png(tmp_path / f"{split}annot" / "0001TP.png", ids)
    for split in ("train", "val"):
        dataset = build_dataset("CamVid", tmp_path, split)
        assert len(dataset) == 1 and len(dataset.classes) == 11
        assert dataset[0]["label"][0].tolist() == [*range(11), 255]


def test_a_value_beyond_void_is_told(tmp_path, write_png):
    write_png(tmp_path / "train" / "a.png", np.zeros((4, 4, 3), np.uint8))
    write_png(tmp_path / "trainannot" / "a.png", np.full((4, 4), 12, np.uint8))
    with pytest.raises(
        ValueError, match=r"a\.png: label values outside the class list: 12 \(16 px\)"
    ):
        build_dataset("CamVid", tmp_path, "train")[0]


def test_published_splits(camvid_root):
    splits = {s: build_dataset("CamVid", camvid_root, s) for s in ("train", "val", "test")}
    assert {s: len(d) for s, d in splits.items()} == {"train": 367, "val": 101, "test": 233}
    sample = splits["train"][0]
    assert sample["image"].shape == (3, 360, 480)
    assert set(sample["label"].unique().tolist()) <= {*range(11), 255}
