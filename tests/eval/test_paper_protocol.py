"""The published protocol of Cityscapes: 20 outputs, of which void is the last and not scored."""

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from datasets.cityscapes import Cityscapes
from eval import eval as command
from eval import export
from eval.metrics import SegmentationMetrics

SIZE = (64, 96)
VOID = 19


@pytest.fixture
def street(tmp_path):
    """Two images of Cityscapes with all classes, a quarter of their pixels void."""
    random = np.random.default_rng(0)
    pairs = []
    for name in ("a_000000_000001", "a_000000_000002"):
        image = random.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        label = random.integers(0, 19, (SIZE[0] // 4, SIZE[1] // 4), dtype=np.uint8)
        label.reshape(-1)[: label.size // 4] = 255
        label = label.repeat(4, 0).repeat(4, 1)
        # What lies between the pixels that are picked must not matter.
        noise = random.integers(0, 19, SIZE, dtype=np.uint8)
        picked = np.zeros(SIZE, bool)
        picked[2::4, 2::4] = True
        label = np.where(picked | (label == 255), label, noise)
        for folder, ending, values in (
            ("leftImg8bit", "leftImg8bit", image),
            ("gtFine", "gtFine_labelTrainIds", label),
        ):
            path = tmp_path / "street" / folder / "val" / "a" / f"{name}_{ending}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(path)
        pairs.append((image, label))
    return tmp_path / "street", pairs


@pytest.fixture
def evaluate(monkeypatch, tmp_path, street):
    """`evaluate(state, *flags)`: run eval.py on the street; the content of its JSON."""

    def run(state, *flags):
        output = tmp_path / "result.json"
        words = ["--state", state, "--datadir", street[0], "--dataset", "Cityscapes"]
        words += ["--num-workers", "0", "--device", "cpu", "--json", output, *flags]
        monkeypatch.setattr(sys, "argv", ["eval.py", *map(str, words)])
        command.main()
        return json.loads(output.read_text())

    return run


@pytest.fixture
def published(write_checkpoint):
    """A network of 20 outputs that was trained on images in [0, 1]; its file and itself."""
    scale = {"mean": [0.0] * 3, "std": [1.0] * 3, "image_size": list(SIZE), "protocol": "paper"}
    return write_checkpoint("paper.pth", 20, preprocessing=scale, dataset="Cityscapes")


def published_rule(model, pairs):
    """IoU of the 19 classes, in plain NumPy; counts per image, added up."""
    hits, misses, false = np.zeros(19), np.zeros(19), np.zeros(19)
    for image, label in pairs:
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            prediction = model(pixels)[0].numpy().argmax(0)
        label = label[2::4, 2::4].astype(int)
        label[label == 255] = VOID
        known = label != VOID
        for k in range(19):
            said, true = prediction == k, label == k
            hits[k] += (said & true).sum()
            misses[k] += (~said & true).sum()
            false[k] += (said & ~true & known).sum()
    return hits / (hits + misses + false)


def test_paper_scores_equal_the_published_rule(evaluate, published, street):
    state, model = published
    expected = published_rule(model, street[1])
    result = evaluate(state)
    assert result["protocol"] == "paper"
    assert list(result["per_class"]) == list(Cityscapes.classes)
    assert list(result["per_class"].values()) == pytest.approx(expected.tolist(), abs=1e-12)
    assert result["miou"] == pytest.approx(expected.mean(), abs=1e-12)


def test_images_of_the_paper_protocol_add_up(evaluate, published, tmp_path):
    from eval.per_image import mean_iou, read_counts

    output = tmp_path / "images.csv"
    result = evaluate(published[0], "--per-image", output)
    _, counts = read_counts(output)
    assert counts.shape == (2, 2, 19)
    assert mean_iou(counts.sum(0)) == pytest.approx(result["miou"])


def test_a_network_without_an_output_for_void_is_scored_alike(evaluate, write_checkpoint, street):
    scale = {"mean": [0.0] * 3, "std": [1.0] * 3, "image_size": list(SIZE), "protocol": "paper"}
    state, model = write_checkpoint("p.pth", 19, preprocessing=scale, dataset="Cityscapes")
    assert evaluate(state)["miou"] == pytest.approx(published_rule(model, street[1]).mean())


def test_standard_drops_the_output_for_void(evaluate, published, street):
    state, model = published
    metrics = SegmentationMetrics(19)
    for image, label in street[1]:
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            logits = torch.nn.functional.interpolate(model(pixels)[:, :19], SIZE, mode="bilinear")
        metrics.update(logits.argmax(1)[0], torch.from_numpy(label))
    result = evaluate(state, "--protocol", "standard", "--image-size", "native")
    assert result["miou"] == pytest.approx(metrics.compute()["miou"], abs=1e-3)


def test_an_exported_network_loses_its_output_for_void_as_well(
    evaluate, published, tmp_path, monkeypatch
):
    state, _ = published
    graph = tmp_path / "paper.onnx"
    words = ["export.py", "--state", state, "--format", "onnx", "--output", graph]
    monkeypatch.setattr(sys, "argv", list(map(str, words)))
    export.main()
    flags = ("--protocol", "standard", "--image-size", "native")
    expected = evaluate(state, *flags)
    assert evaluate(graph, *flags)["miou"] == pytest.approx(expected["miou"], abs=1e-3)


def test_an_ignored_id_among_the_classes_is_missed_but_not_scored():
    metrics = SegmentationMetrics(3, ignore_index=2)
    metrics.update(torch.tensor([0, 1, 2, 0, 1]), torch.tensor([0, 0, 1, 2, 2]))
    scores = metrics.compute()
    # Class 0: one hit, one miss. Class 1: a false alarm on class 0, and void was said for its own.
    assert scores["per_class"] == [0.5, 0.0]
    assert scores["miou"] == 0.25 and scores["pixel_accuracy"] == pytest.approx(1 / 3)
