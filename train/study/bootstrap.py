"""Bootstrap confidence intervals of differences between runs, over seeds and images."""

import math
from collections.abc import Sequence

import numpy as np

from eval.per_image import mean_iou, read_counts
from train.study.jobs import COUNTS, SCORES
from train.study.study import Job

RESAMPLES = 2000
CONFIDENCE = 0.95

Weighted = Sequence[tuple[Job, float]]


def bootstrap(
    groups: Sequence[Weighted], resamples: int = RESAMPLES
) -> tuple[float, tuple[float, float] | None]:
    """Mean over seeds of a weighted sum of mIoUs on the same images, in percentage points.

    With weights 1 and -1, this is the difference between a run and its baseline; with 1, -0.5 and
    -0.5, that between a run and the midpoint of two baselines.

    The interval is a bootstrap over both sources of randomness: seeds are drawn with replacement,
    and so are images, the same ones for all runs. Resampling a few seeds underestimates their
    spread, so distances from the mean are scaled by sqrt(n / (n - 1)), against what Hesterberg (The
    American Statistician 69(4), 2015) calls narrowness bias. A single seed gets no interval: one
    over images only would say nothing about other seeds.

    Args:
        groups: one per seed: its runs, with weights that are the same for all seeds.
        resamples: number of bootstrap resamples, drawn with a fixed RNG seed.

    Returns:
        The mean sum, and its 95 % percentile interval; None with fewer than two seeds.

    Raises:
        ValueError: two runs were scored on different images.
    """
    counts = _counts([[job for job, _ in group] for group in groups])
    counts = counts[:, :, counts.any(axis=(0, 1, 3, 4))]  # drop all-void images
    weights = np.array([weight for _, weight in groups[0]])
    measured = float(_sums(counts, weights).mean())
    seeds, _, images = counts.shape[:3]
    if seeds == 1:
        return measured, None
    draws = np.random.default_rng(0)
    enlarged = math.sqrt(seeds / (seeds - 1))
    drawn = []
    for _ in range(resamples):
        sums = _sums(counts[:, :, draws.integers(images, size=images)], weights)
        distances = enlarged * (sums - sums.mean())
        drawn.append(sums.mean() + distances[draws.integers(seeds, size=seeds)].mean())
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return measured, (float(low), float(high))


def _counts(groups: Sequence[Sequence[Job]]) -> np.ndarray:
    """Counts (seeds, runs, images, 2, K), for the same images in the same order in all runs."""
    jobs = [job for group in groups for job in group]
    found = [read_counts(job.results / COUNTS) for job in jobs]
    names = found[0][0]
    for job, (theirs, _) in zip(jobs, found, strict=True):
        if theirs != names:
            raise ValueError(
                f"{jobs[0].results} and {job.results} were scored on different images: remove "
                f"{SCORES} from both and run the study again"
            )
    counts = np.array([counts for _, counts in found])
    return counts.reshape(len(groups), len(groups[0]), *counts.shape[1:])


def _sums(counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Counts (seeds, runs, images, 2, K) to weighted sums of mIoU in points, (seeds,)."""
    return 100 * mean_iou(counts.sum(2)) @ weights
