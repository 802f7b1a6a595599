"""Masks, and that a masked loss is the loss of what the mask leaves."""

import pytest
import torch

from losses.attention_transfer import AttentionTransferLoss
from losses.boundary_privileged import BoundaryPrivilegedLoss
from losses.cross_image import CrossImageLoss
from losses.embedding_patch import EmbeddingMSELoss, TexturePatchLoss
from losses.feature_alignment import FeatureAlignmentLoss
from losses.feature_relation import FeatureRelationLoss
from losses.logits import ChannelWiseLoss, PixelKLLoss, RelationMatchingLoss
from losses.masked_generation import GenerationLoss
from losses.normalized_features import NormalizedFeatureLoss
from losses.reviewkd import HierarchicalContextLoss
from losses.soft_jaccard import SoftJaccardLoss
from losses.void import labelled, labels_at

# Losses whose value on half a map is that of the half alone.
LOSSES = {
    "at": AttentionTransferLoss(),
    "at of reference": AttentionTransferLoss(reference_side=64),
    "embedding": EmbeddingMSELoss((1.0,)),
    "alignment": FeatureAlignmentLoss(),
    "relation": FeatureRelationLoss(),
    "kd": PixelKLLoss(2.0),
    "cwd": ChannelWiseLoss(4.0),
    "cwd spatial": ChannelWiseLoss(4.0, "spatial"),
    "cwd means": ChannelWiseLoss(4.0, "channel_mean"),
    "cwd mse": ChannelWiseLoss(4.0, "channel", "mse"),
    "dist": RelationMatchingLoss(2.0),
    "mgd": GenerationLoss(reference_side=64),
    "feature": NormalizedFeatureLoss(),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_void_columns_count_as_if_they_were_cut_off(loss):
    student, teacher = torch.randn(2, 2, 3, 8, 16)
    labels = torch.zeros(2, 32, 64, dtype=torch.uint8)
    labels[..., 32:] = 255
    expected = loss([student[..., :8]], [teacher[..., :8]])
    torch.testing.assert_close(loss([student], [teacher], labels=labels), expected)


OTHERS = {  # which also read cells next to others
    "cross_image": CrossImageLoss(),
    "bpkd": BoundaryPrivilegedLoss(),
    "hcl": HierarchicalContextLoss(),
    "texture": TexturePatchLoss(),
}


@pytest.mark.parametrize("name", [*LOSSES, *OTHERS])
def test_an_image_of_void_changes_nothing(name):
    loss = {**LOSSES, **OTHERS}[name]
    student, teacher = torch.randn(2, 3, 3, 8, 8)
    labels = torch.randint(3, (3, 32, 32), dtype=torch.uint8)
    labels[2] = 255
    expected = loss([student[:2]], [teacher[:2]], labels=labels[:2])
    torch.testing.assert_close(loss([student], [teacher], labels=labels), expected)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_labels_without_void_change_nothing(loss):
    student, teacher = torch.randn(2, 2, 3, 8, 8)
    labels = torch.ones(2, 32, 32, dtype=torch.uint8)
    expected = loss([student], [teacher])
    torch.testing.assert_close(loss([student], [teacher], labels=labels), expected)


def test_a_cell_counts_where_half_of_its_pixels_are_labelled():
    labels = torch.full((1, 4, 4), 255, dtype=torch.uint8)
    labels[0, 0, :2] = 1  # half of the first cell
    labels[0, 0, 2] = 1  # a quarter of the second
    labels[0, 2:, 2:] = 0
    assert labelled(labels, (2, 2)).tolist() == [[[[1, 0], [0, 1]]]]
    assert labelled(None, (2, 2)) is None


def test_labels_of_cells_are_those_of_their_middles():
    labels = torch.arange(16, dtype=torch.uint8).reshape(1, 4, 4)
    assert labels_at(labels, (2, 2)).tolist() == [[[5, 7], [13, 15]]]
    assert torch.equal(labels_at(labels, (4, 4)), labels.long())


def test_soft_jaccard_leaves_void_out():
    student, teacher = torch.randn(2, 1, 3, 4, 8)
    labels = torch.randint(0, 3, (1, 4, 8), dtype=torch.uint8)
    expected = SoftJaccardLoss()([student[..., :4]], [teacher[..., :4]], labels[..., :4])
    labels[..., 4:] = 255
    torch.testing.assert_close(SoftJaccardLoss()([student], [teacher], labels), expected)
