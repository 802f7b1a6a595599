"""Bootstrap confidence intervals of differences between runs, over seeds and images."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from eval.per_image import mean_iou, read_counts
from train.study.jobs import COUNTS, SCORES
from train.study.study import Job

RESAMPLES = 2000
CONFIDENCE = 0.95


def bootstrap(
    groups: Sequence[Sequence[Job]], weights: np.ndarray, drawn_weights: np.ndarray | None = None
) -> tuple[float, tuple[float, float] | None]:
    """Mean over seeds of a weighted sum of mIoUs on the same images, in percentage points.

    With weights 1 and -1, this is the difference between a run and its baseline; with 1, -0.5 and
    -0.5, that between a run and the midpoint of two baselines.

    The interval covers two sources of randomness. Images are resampled, the same ones for all
    runs, in blocks of neighbours: frames of a video resemble each other, and resampling them one by
    one understates their variance (Politis and Romano, "A circular block-resampling procedure",
    1992; block length n^(1/3)). Two or three seeds are too few to resample, so the mean over seeds
    is drawn from Student's t-distribution around its value, with the standard error of the seeds.
    On equal images this is the usual t-interval. A single seed gets no interval: one over images
    only would say nothing about other seeds.

    Args:
        groups: one per seed: its runs.
        weights: (runs,), the same for all seeds.
        drawn_weights: (`RESAMPLES`, runs), where the weights are uncertain as well.

    Returns:
        The mean sum, and its 95 % percentile interval; None with fewer than two seeds.

    Raises:
        ValueError: two runs were scored on different images.
    """
    counts = _counts(groups)
    counts = counts[:, :, counts.any(axis=(0, 1, 3, 4))]  # drop all-void images
    measured = float((100 * mean_iou(counts.sum(2)) @ weights).mean())
    seeds, _, images = counts.shape[:3]
    if seeds == 1:
        return measured, None
    draws = np.random.default_rng(0)
    levels = (draws.permutation(RESAMPLES) + 0.5) / RESAMPLES
    deviations = stats.t.ppf(levels, seeds - 1)
    if drawn_weights is None:
        drawn_weights = np.tile(weights, (RESAMPLES, 1))
    never_shared = ~_shared(counts.sum(2))
    drawn = []
    for deviation, drawn_weight in zip(deviations, drawn_weights, strict=True):
        summed = counts[:, :, _draw_blocks(draws, images)].sum(2)
        # A class missing from the drawn images would count as 0 only for runs that predict it.
        scores = 100 * mean_iou(summed, among=never_shared | _shared(summed))
        sums = scores @ drawn_weight
        drawn.append(sums.mean() + deviation * sums.std(ddof=1) / np.sqrt(seeds))
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


def _shared(summed: np.ndarray) -> np.ndarray:
    """Classes (K,) that occur, in labels or predictions, for all of (seeds, runs, 2, K)."""
    return np.all(summed[..., 1, :] > 0, axis=(0, 1))


def _draw_blocks(draws: np.random.Generator, images: int) -> np.ndarray:
    """Indices of as many images, in blocks of neighbours with random starts, on a circle."""
    length = max(1, round(images ** (1 / 3)))
    starts = draws.integers(images, size=-(-images // length))
    return ((starts[:, None] + np.arange(length)) % images).flatten()[:images]
