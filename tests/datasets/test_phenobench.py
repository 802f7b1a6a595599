import numpy as np
import pytest

from datasets import build_dataset


def test_cut_off_plants_count_as_their_class(tmp_path, write_pair):
    values = np.resize(np.array([0, 1, 2, 3, 4], np.uint8), (24, 32))
    folder = tmp_path / "train"
    write_pair(folder / "images" / "p.png", folder / "semantics" / "p.png", values)
    label = build_dataset("PhenoBench", tmp_path, "train")[0]["label"].numpy()
    assert np.array_equal(label, np.array([0, 1, 2, 1, 2])[values])


def test_other_values_are_refused(tmp_path, write_pair):
    folder = tmp_path / "val"
    write_pair(folder / "images" / "p.png", folder / "semantics" / "p.png", 5)
    with pytest.raises(ValueError, match=r"p\.png: .*5 \(768 px\)"):
        build_dataset("PhenoBench", tmp_path, "val")[0]
