"""Samples kept in memory are those of the files, whatever becomes of files and samples."""

from copy import copy
from types import SimpleNamespace

import psutil
import pytest
import torch
from torch.utils.data import DataLoader

from datasets import build_dataset
from datasets.cache import keep_in_memory


@pytest.fixture
def fields(make_voc):
    return build_dataset("VOC", make_voc(), "train", classes="soil,crop,weed")


def test_samples_are_read_once(fields):
    expected = [fields[index] for index in range(2)]
    kept = keep_in_memory(fields, range(2))
    assert kept == sum(s["image"].nbytes + s["label"].nbytes for s in expected)
    for image, label in fields.pairs:
        image.unlink()
        label.unlink()
    again = copy(fields)  # another transform, as training has one for validation
    for dataset in (fields, again):
        for index, sample in enumerate(expected):
            assert torch.equal(dataset[index]["image"], sample["image"])
            assert torch.equal(dataset[index]["label"], sample["label"])
    assert keep_in_memory(again, range(2)) == 0


def test_a_sample_may_be_changed_and_loader_workers_share_them(fields):
    keep_in_memory(fields, [0])
    expected = fields[0]["image"].clone()
    fields[0]["image"].zero_()
    for sample in DataLoader(fields, batch_size=None, num_workers=1):
        if sample["name"] == fields.names[0]:
            assert torch.equal(sample["image"], expected)


def test_too_little_memory_is_told(fields, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=100))
    with pytest.raises(ValueError, match="--cache ram: 2 images of 'train' need more than"):
        keep_in_memory(fields, range(2))
