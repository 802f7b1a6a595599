"""Distillation losses, and the methods built from them."""

from losses.distiller import Distiller, build_method
from losses.methods import METHODS

__all__ = ["METHODS", "Distiller", "build_method"]
