"""Synthetic fields of great variety: random species, soils, light and cameras."""
