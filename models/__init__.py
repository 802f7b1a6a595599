"""Segmentation networks, by name."""

from models.registry import MODELS, build_model
from models.segmenter import Intermediates, Segmenter
from models.weights import load_backbone, load_checkpoint, load_start, save_checkpoint

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
