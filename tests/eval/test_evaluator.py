"""The evaluator against the same scores computed sample by sample in the plainest way."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from conventions.preprocessing import Preprocessing
from datasets.transforms import collate, normalize
from eval.evaluator import evaluate
from eval.metrics import SegmentationMetrics

SETTINGS = {
    "num_classes": 3,
    "ignore_index": 255,
    "preprocessing": Preprocessing((0.5,) * 3, (0.25,) * 3),
    "device": "cpu",
    "progress": False,
}


def make_samples(sizes, label_sizes=None):
    generator = torch.Generator().manual_seed(3)
    samples = []
    for index, size in enumerate(sizes):
        label_size = (label_sizes or sizes)[index]
        image = torch.randint(256, (3, *size), generator=generator).to(torch.uint8)
        label = torch.randint(3, label_size, generator=generator).to(torch.uint8)
        label[0, :5] = 255
        samples.append({"image": image, "label": label, "name": f"sample{index}"})
    return samples


def loader(samples, batch_size=2):
    return DataLoader(samples, batch_size=batch_size, collate_fn=collate)


@torch.inference_mode()
def reference(model, samples):
    metrics = SegmentationMetrics(3)
    for sample in samples:
        logits = model(normalize(sample["image"][None], SETTINGS["preprocessing"]))
        size = sample["label"].shape
        logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        metrics.update(logits.argmax(1)[0], sample["label"])
    return metrics.matrix


@pytest.mark.parametrize(
    ("sizes", "label_sizes"),
    [
        ([(40, 56)] * 3, None),
        ([(40, 56), (33, 35), (64, 32)], None),
        ([(40, 56)] * 3, [(80, 112), (50, 61), (80, 112)]),
        ([(40, 56)] * 2, [(10, 14)] * 2),
    ],
    ids=["one size", "native sizes", "resized images, native labels", "quarter-size labels"],
)
def test_every_label_is_scored_at_its_own_size(tiny_model, sizes, label_sizes):
    samples = make_samples(sizes, label_sizes)
    metrics = evaluate(tiny_model, loader(samples), **SETTINGS)
    expected = reference(tiny_model, samples)
    # Batched and single convolutions may round differently: a tie can flip, no more than that.
    assert (metrics.matrix - expected).abs().sum() <= 4
    labelled = sum(int((sample["label"] != 255).sum()) for sample in samples)
    assert metrics.matrix.sum() == labelled


def test_training_mode_statistics_and_graph_are_left_alone(build_tiny):
    model = build_tiny().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    evaluate(model, loader(make_samples([(32, 32)] * 2)), **SETTINGS)
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_mode_is_restored_after_an_error(build_tiny):
    model = build_tiny().train()
    samples = make_samples([(32, 32)])
    samples[0]["label"][3, 3] = 9
    with pytest.raises(ValueError, match="9"):
        evaluate(model, loader(samples), **SETTINGS)
    assert model.training


def test_processes_are_summed(tiny_model):
    samples = make_samples([(32, 32)] * 2)
    alone = evaluate(tiny_model, loader(samples), **SETTINGS)
    summed = evaluate(tiny_model, loader(samples), **SETTINGS, reduce=lambda matrix: matrix * 2)
    assert torch.equal(summed.matrix, alone.matrix * 2)


def test_observer_sees_each_prediction():
    class Brightest(nn.Module):
        """Class = the channel with the highest value, at the image's size."""

        def forward(self, images):
            return images

    samples = make_samples([(32, 48), (40, 32)])
    seen = {}
    metrics = evaluate(Brightest(), loader(samples), **SETTINGS, observer=seen.__setitem__)
    assert metrics.compute()["miou"] > 0
    for sample in samples:
        expected = sample["image"].long().argmax(0)
        assert torch.equal(seen[sample["name"]].long(), expected)


@pytest.mark.parametrize(
    ("sizes", "label_sizes"),
    [([(40, 56)], None), ([(40, 56), (33, 35)], None), ([(40, 56)] * 2, [(80, 112), (50, 61)])],
    ids=["one size", "native sizes", "native labels"],
)
def test_too_little_memory_is_told_with_the_image_and_the_remedy(sizes, label_sizes):
    class Large(nn.Module):
        def forward(self, images):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    model = Large().train()
    batches = loader(make_samples(sizes, label_sizes))
    with pytest.raises(ValueError, match="sample0 needs more memory .* --batch-size"):
        evaluate(model, batches, **SETTINGS)
    assert model.training
