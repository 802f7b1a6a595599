"""Segmentation networks, by name."""

from models.loading import load_backbone, load_checkpoint, load_start
from models.registry import MODELS, build_model
from models.saving import save_checkpoint
from models.segmenter import Intermediates, Segmenter

__all__ = [
    "MODELS",
    "Intermediates",
    "Segmenter",
    "build_model",
    "load_backbone",
    "load_checkpoint",
    "load_start",
    "save_checkpoint",
]
