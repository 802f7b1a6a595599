import pytest

from datasets import build_dataset


def test_voc_layout(make_voc):
    dataset = build_dataset("sugarbeets", make_voc(), "train")
    assert dataset.classes == ("soil", "crop", "weed")
    assert dataset[0]["label"].unique().tolist() == [1]


def test_published_layout_has_to_be_converted(tmp_path):
    (tmp_path / "session" / "annotations" / "dlp" / "iMapCleaned").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"prepare\.py sugar-beets"):
        build_dataset("SugarBeets", tmp_path, "train")
