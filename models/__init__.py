"""Segmentation networks, by name."""

from models.registry import MODELS, build_model
from models.segmenter import Intermediates, Segmenter

__all__ = ["MODELS", "Intermediates", "Segmenter", "build_model"]
