"""Measurements of `benchmarks/benchmark.py`, one program each, so that each has its own process.

They may import `train/`: they time networks, methods, metric and loader as training uses them.
"""
