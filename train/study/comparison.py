"""What a study's runs scored: means over seeds, differences to a baseline, their intervals."""

import json
import math
import statistics
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from eval.per_image import mean_iou, read_counts
from train.study.jobs import (
    COUNTS,
    SCORES,
    is_done,
    seconds_per_step,
    teachers_of,
    with_teachers,
)
from train.study.study import Job, Study

RESAMPLES = 2000
CONFIDENCE = 0.95
NO_SETTINGS = ("--max-steps=", "--seed=", "--savedir=", "--run-name=")
SLACK = 1.05  # hours that are beyond the baseline's by this factor are still compared


@dataclass(frozen=True)
class Outcome:
    """What one run scored with all seeds that have ended.

    Attributes:
        run: its name.
        seeds: those that have ended.
        scores: mIoU of each seed, in percent.
        per_class: IoU of each class in percent, mean over seeds; None where a class is absent.
        steps: optimizer steps.
        hours: of training where it was trained, without validation and without its teacher's own
            training; nan where there is no log, and for a run that epochs end.
        teacher_hours: likewise of all runs of the study that one seed of it learnt from, theirs
            among them; a teacher that serves several runs counts in each. 0 without any.
        teacher_score: mean mIoU of the runs of the study that it learnt from, in percent; None
            without any. Of several, which teach the mean of their probabilities, it is the mean.
        difference: mean difference to the baseline over the seeds that both have; None for the
            baseline itself, and without a common seed.
        interval: its 95 % confidence interval over seeds and images; None for a single seed.
        at_equal_hours: difference to the baseline trained for as many hours, over the seeds that
            the run shares with the two lengths of the baseline beside it, without an interval;
            None for the baseline's lengths themselves, for hours that are not between theirs, for
            a run that is compared with another baseline, and without a common seed.
    """

    run: str
    seeds: tuple[int, ...]
    scores: tuple[float, ...]
    per_class: dict[str, float | None]
    steps: int | None
    hours: float
    teacher_hours: float = 0.0
    teacher_score: float | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = None
    at_equal_hours: float | None = None

    @property
    def mean(self) -> float:
        """MIoU in percent, mean over seeds."""
        return statistics.fmean(self.scores)

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds, None for a single one."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else None


def outcomes(study: Study) -> list[Outcome]:
    """Outcomes of all runs that have a scored seed, in the recipe's order."""
    ended = {run: [job for job in jobs if is_done(job)] for run, jobs in study.runs.items()}
    found = [
        _outcome(run, jobs, {job.seed: job for job in ended.get(study.baseline_of(run) or "", [])})
        for run, jobs in ended.items()
        if jobs
    ]
    lengths = baseline_lengths(study, found)
    return [
        replace(
            one,
            at_equal_hours=_at_equal_hours(study, one, lengths),
            teacher_hours=statistics.fmean(
                sum(map(_hours, with_teachers(study, [job]) - {job})) for job in ended[one.run]
            ),
            teacher_score=_teacher_score(study, ended[one.run]),
        )
        for one in found
    ]


def _teacher_score(study: Study, jobs: Sequence[Job]) -> float | None:
    scored = [one for job in jobs for one in teachers_of(study, job) if is_done(one)]
    return statistics.fmean(100 * _scores(one)["miou"] for one in scored) if scored else None


def _scores(job: Job) -> dict[str, Any]:
    scores: dict[str, Any] = json.loads((job.results / SCORES).read_text())
    return scores


def _hours(job: Job) -> float:
    pace = seconds_per_step(job)
    return pace * job.steps / 3600 if pace and job.steps else float("nan")


def baseline_lengths(study: Study, found: Sequence[Outcome]) -> list[Outcome]:
    """Return the baseline, and runs that differ from it in steps alone, by hours of training."""
    if study.baseline is None:
        return []
    settings = {run: _settings(jobs[0]) for run, jobs in study.runs.items()}
    alike = [one for one in found if settings[one.run] == settings[study.baseline]]
    return sorted((one for one in alike if one.hours > 0), key=lambda one: one.hours)


def _settings(job: Job) -> tuple[str, list[str]]:
    """Return what makes a run what it is, but for its length, seed and folder."""
    return job.stage, [word for word in job.words if not word.startswith(NO_SETTINGS)]


def _at_equal_hours(study: Study, one: Outcome, lengths: Sequence[Outcome]) -> float | None:
    """Interpolate over the logarithm of hours, between the two lengths beside the run's."""
    names = {length.run for length in lengths}
    if len(lengths) < 2 or one.run in names or study.baseline_of(one.run) not in names:
        return None
    if not lengths[0].hours / SLACK <= one.hours <= lengths[-1].hours * SLACK:
        return None
    above = bisect([length.hours for length in lengths[1:-1]], one.hours) + 1
    beside = lengths[above - 1 : above + 1]
    seeds = set(one.seeds).intersection(*(length.seeds for length in beside))
    if not seeds:
        return None
    hours = [length.hours for length in beside]
    means = [_mean_over(length, seeds) for length in beside]
    level = np.interp(math.log(one.hours), np.log(hours), means)
    return _mean_over(one, seeds) - float(level)


def _mean_over(one: Outcome, seeds: set[int]) -> float:
    known = dict(zip(one.seeds, one.scores, strict=True))
    return statistics.fmean(known[seed] for seed in seeds)


def _outcome(run: str, jobs: Sequence[Job], baseline: dict[int, Job]) -> Outcome:
    results = [_scores(job) for job in jobs]
    classes = {
        name: _mean([result["per_class"][name] for result in results])
        for name in results[0]["per_class"]
    }
    pairs = [(job, baseline[job.seed]) for job in jobs if job.seed in baseline]
    difference, interval = paired_difference(pairs) if pairs else (None, None)
    hours = [each for job in jobs if not math.isnan(each := _hours(job))]
    return Outcome(
        run=run,
        seeds=tuple(job.seed for job in jobs),
        scores=tuple(100 * result["miou"] for result in results),
        per_class=classes,
        steps=jobs[0].steps,
        hours=statistics.median(hours) if hours else float("nan"),
        difference=difference,
        interval=interval,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [100 * value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def paired_difference(
    pairs: Sequence[tuple[Job, Job]], resamples: int = RESAMPLES
) -> tuple[float, tuple[float, float] | None]:
    """Mean difference of mIoU between runs of the same seed on the same images, in points.

    The interval is a bootstrap over both sources of chance: seeds are drawn with replacement, and
    images likewise, the same ones for both runs of a pair. Few seeds drawn so scatter too little:
    their distances from the mean are enlarged by sqrt(n / (n - 1)), against what Hesterberg (The
    American Statistician 69(4), 2015) calls narrowness bias. A single seed has no interval: one
    over images alone says nothing of the next seed.

    Args:
        pairs: (run, baseline) of one seed each.
        resamples: draws of the bootstrap, at a fixed seed.

    Returns:
        The difference, and its percentile interval of 95 %; None with fewer than two pairs.

    Raises:
        ValueError: two runs were scored on different images.
    """
    counts = []
    for pair in pairs:
        (names, mine), (others, theirs) = (read_counts(job.results / COUNTS) for job in pair)
        if names != others:
            raise ValueError(
                f"{pair[0].results} and {pair[1].results} were scored on different images: remove "
                f"{SCORES} from both and run the study again"
            )
        counts.append((mine, theirs))
    both = np.array(counts).transpose(1, 0, 2, 3, 4)  # (run or baseline, seeds, images, 2, K)
    both = both[:, :, both.any(axis=(0, 1, 3, 4))]  # images that are void all over say nothing
    measured = float(_differences(both).mean())
    seeds, images = both.shape[1:3]
    if seeds == 1:
        return measured, None
    draws = np.random.default_rng(0)
    enlarged = math.sqrt(seeds / (seeds - 1))
    drawn = []
    for _ in range(resamples):
        differences = _differences(both[:, :, draws.integers(images, size=images)])
        distances = enlarged * (differences - differences.mean())
        drawn.append(differences.mean() + distances[draws.integers(seeds, size=seeds)].mean())
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return measured, (float(low), float(high))


def _differences(both: np.ndarray) -> np.ndarray:
    """Counts (2, seeds, images, 2, K) -> points of mIoU, first less second, (seeds,)."""
    mine, theirs = mean_iou(both.sum(2))
    return 100 * (mine - theirs)
