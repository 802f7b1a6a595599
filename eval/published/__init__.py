"""The papers' published results, and their counting of parameters and FLOPs."""
