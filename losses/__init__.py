"""Distillation losses, and the methods made of them."""

from losses.distiller import Distiller, build_method
from losses.methods import METHODS

__all__ = ["METHODS", "Distiller", "build_method"]
