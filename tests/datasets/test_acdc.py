import pytest

from datasets import build_dataset
from datasets.acdc import CONDITIONS


@pytest.fixture
def root(tmp_path, write_pair):
    for condition in CONDITIONS:
        stem = f"GP0_frame_{condition}"
        write_pair(
            tmp_path / "rgb_anon" / condition / "val" / "GP0" / f"{stem}_rgb_anon.png",
            tmp_path / "gt" / condition / "val" / "GP0" / f"{stem}_gt_labelTrainIds.png",
            18,
        )
    return tmp_path


def test_every_condition(root):
    dataset = build_dataset("ACDC", root, "val")
    assert [dataset.condition(i) for i in range(len(dataset))] == list(CONDITIONS)
    assert dataset[0]["label"].unique().tolist() == [18]
    assert dataset.num_classes == 19


def test_missing_partner(root):
    next(root.glob("gt/night/**/*.png")).unlink()
    with pytest.raises(FileNotFoundError, match="GP0_frame_night_rgb_anon.png: image without"):
        build_dataset("ACDC", root, "val")
