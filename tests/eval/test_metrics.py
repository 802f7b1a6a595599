"""The confusion matrix and its scores, against torchmetrics, cityscapesscripts and by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

from eval.metrics import SegmentationMetrics


@st.composite
def label_maps(draw, max_classes=19):
    """Return (classes, prediction, label) of a random size, with some void pixels."""
    classes = draw(st.integers(2, max_classes))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 17), st.integers(1, 17)))
    used = draw(st.integers(1, classes))  # the classes above stay absent
    prediction = torch.randint(used, shape, generator=generator)
    label = torch.randint(used, shape, generator=generator)
    void = torch.rand(shape, generator=generator) < draw(st.sampled_from([0.0, 0.3, 0.9]))
    return classes, prediction, label.masked_fill(void, 255)


def score(classes, *pairs, ignore_index=255):
    metrics = SegmentationMetrics(classes, ignore_index)
    for prediction, label in pairs:
        metrics.update(prediction, label)
    return metrics


@settings(deadline=None, max_examples=60)
@given(label_maps())
def test_matrix_and_miou_equal_torchmetrics(maps):
    classes, prediction, label = maps
    ours = score(classes, (prediction, label))
    theirs = MulticlassConfusionMatrix(classes, ignore_index=255)
    theirs.update(prediction, label)
    assert torch.equal(ours.matrix, theirs.compute())
    if (label != 255).any():
        jaccard = MulticlassJaccardIndex(classes, ignore_index=255, average="macro")
        expected = jaccard(prediction, label).item()
        assert ours.compute()["miou"] == pytest.approx(expected, abs=1e-6)


@settings(deadline=None, max_examples=25)
@given(label_maps(max_classes=5))
def test_scores_equal_cityscapesscripts(maps):
    """Its scores work on label ids: trainIds 0..K-1 stand in for the first ids it evaluates."""
    evaluation = pytest.importorskip("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
    from cityscapesscripts.helpers.labels import trainId2label

    classes, prediction, label = maps
    ids = np.array([trainId2label[index].id for index in range(classes)] + [0])
    confusion = evaluation.generateMatrix(evaluation.args)
    np.add.at(
        confusion,
        (ids[label.clamp(max=classes).numpy()].ravel(), ids[prediction.numpy()].ravel()),
        1,
    )
    ours = score(classes, (prediction, label))
    expected = [
        evaluation.getIouScoreForLabel(int(ids[index]), confusion, evaluation.args)
        for index in range(classes)
    ]
    if not (label != 255).any():
        return
    for mine, official in zip(ours.compute()["per_class"], expected, strict=True):
        if mine is None:
            assert np.isnan(official)
        else:
            assert mine == pytest.approx(float(official), abs=1e-12)


def test_scores_by_hand():
    label = torch.tensor([[0, 0, 0, 1], [1, 255, 255, 1]])
    prediction = torch.tensor([[0, 0, 1, 1], [1, 2, 0, 2]])
    result = score(4, (prediction, label)).compute()
    # Class 0: 2 of 3. Class 1: 2 of 4. Class 2: predicted once, never right. Class 3: absent.
    assert result["per_class"] == [pytest.approx(2 / 3), pytest.approx(2 / 4), 0.0, None]
    assert result["miou"] == pytest.approx((2 / 3 + 2 / 4 + 0) / 3)
    assert result["pixel_accuracy"] == pytest.approx(4 / 6)
    assert result["mean_accuracy"] == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert result["fwiou"] == pytest.approx(0.5 * 2 / 3 + 0.5 * 2 / 4)


def test_batches_and_processes_add_up():
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randint(5, (2, 4, 7, 9), generator=generator) for _ in range(2)]
    whole = score(5, (maps[0][0], maps[0][1]), (maps[1][0], maps[1][1]))
    parts = [score(5, (m[0], m[1])) for m in maps]
    assert torch.equal(whole.matrix, parts[0].matrix + parts[1].matrix)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_integer_types_and_a_class_as_ignore_index(dtype):
    label = torch.tensor([[0, 1, 2]], dtype=dtype)
    metrics = score(3, (torch.tensor([[1, 1, 2]]), label), ignore_index=0)
    assert metrics.matrix.tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("prediction", "label", "message"),
    [
        ([0, 1], [3, 7], r"label values outside the 3 classes: 3 \(1 pixels\), 7 \(1 pixels\)"),
        ([0, 3], [0, 255], r"prediction values outside the 3 classes: 3 \(1 pixels\)"),
        ([0, 1], [0, 300], "label values run from 0 to 300"),
        ([0, -1], [0, 1], "prediction values run from -1 to 0"),
        ([0, 1], [0, 1, 1], "differ"),
        ([0, 1], [0.0, 1.0], "expected integers"),
    ],
)
def test_what_is_out_of_range_is_refused(prediction, label, message):
    metrics = SegmentationMetrics(3)
    with pytest.raises(ValueError, match=message):
        metrics.update(torch.tensor([prediction]), torch.tensor([label]))
    assert not metrics.matrix.any(), "a refused map leaves no trace"


def test_a_split_without_labels_has_no_score():
    metrics = score(3, (torch.zeros(4, 4, dtype=torch.uint8), torch.full((4, 4), 255)))
    with pytest.raises(ValueError, match="no labelled pixel"):
        metrics.compute()


@pytest.mark.parametrize(("classes", "ignore"), [(0, 255), (256, 255), (3, -1), (3, 256)])
def test_limits_of_a_byte(classes, ignore):
    with pytest.raises(ValueError, match="label map holds"):
        SegmentationMetrics(classes, ignore)


def test_the_message_lists_void_among_predictions_alone():
    """Void is nothing wrong in a label map, and no class to predict."""
    counts = SegmentationMetrics(2)
    label = torch.tensor([[255, 7, 7, 0]], dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"label values outside the 2 classes: 7 \(2 pixels\)$"):
        counts.update(torch.zeros_like(label), label)
    prediction = torch.tensor([[255, 7, 0, 0]], dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"classes: 7 \(1 pixels\), 255 \(1 pixels\)$"):
        counts.update(prediction, torch.zeros_like(label))
