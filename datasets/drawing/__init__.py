"""Drawn fields of the whole world: species, soils, light and cameras drawn at random."""
