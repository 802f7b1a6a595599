"""Measurements of `benchmarks/benchmark.py`, a program each, so that each has a process of its own.

They stand above `train/`: they time networks, methods, metric and loader as training uses them.
"""
