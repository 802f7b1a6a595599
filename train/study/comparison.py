"""Results of a study: means over seeds, and differences to a baseline with their intervals."""

import json
import math
import statistics
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from train.study.bootstrap import RESAMPLES, bootstrap
from train.study.jobs import SCORES, is_done, seconds_per_step, teachers_of, with_teachers
from train.study.study import Job, Study

NO_SETTINGS = ("--max-steps=", "--seed=", "--savedir=", "--run-name=")
TINY = 1e-9
SLACK = 1.05  # hours outside the baseline's range by up to this factor are still compared


@dataclass(frozen=True)
class Outcome:
    """Results of one run over all its completed seeds.

    Attributes:
        run: name of the run.
        seeds: the completed seeds.
        scores: mIoU of each seed, in percent.
        per_class: IoU of each class in percent, mean over seeds; None if a class is absent.
        steps: optimizer steps; None if the run's length is set in epochs.
        hours: training time on the machine that trained it, median over seeds, without validation
            and its teacher's training; nan without a log or if its length is set in epochs.
        teacher_hours: likewise for all runs of the study that one seed was distilled from, directly
            or indirectly; a teacher of several runs counts in each. 0 without any.
        teacher_score: mean mIoU of the runs of the study that it was distilled from, in percent;
            for an ensemble, which averages probabilities, still the mean of their scores; None
            without any.
        difference: mean difference to the baseline over their common seeds; None for the baseline
            itself, and without a common seed.
        interval: its 95 % confidence interval over seeds and images; None for a single seed.
        at_equal_hours: difference to the baseline at the same number of hours, interpolated between
            its next shorter and next longer length, over the seeds common to all three runs; None
            for the baseline's lengths themselves, for hours outside their range, for a run that is
            compared with another baseline, and without a common seed.
        at_equal_hours_interval: its confidence interval, over seeds, images and measured hours.
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
    at_equal_hours_interval: tuple[float, float] | None = None

    @property
    def mean(self) -> float:
        """Mean mIoU over seeds, in percent."""
        return statistics.fmean(self.scores)

    @property
    def spread(self) -> float | None:
        """Standard deviation of mIoU over seeds; None for a single seed."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else None


def outcomes(study: Study) -> list[Outcome]:
    """Outcomes of all runs with at least one scored seed, in the recipe's order."""
    ended = {run: [job for job in jobs if is_done(job)] for run, jobs in study.runs.items()}
    found = [
        _outcome(run, jobs, {job.seed: job for job in ended.get(study.baseline_of(run) or "", [])})
        for run, jobs in ended.items()
        if jobs
    ]
    lengths = baseline_lengths(study, found)
    completed = []
    for one in found:
        gain, interval = _at_equal_hours(study, one, lengths)
        teachers = [with_teachers(study, [job]) - {job} for job in ended[one.run]]
        completed.append(
            replace(
                one,
                at_equal_hours=gain,
                at_equal_hours_interval=interval,
                teacher_hours=statistics.fmean(sum(map(_hours, jobs)) for jobs in teachers),
                teacher_score=_teacher_score(study, ended[one.run]),
            )
        )
    return completed


def _teacher_score(study: Study, jobs: Sequence[Job]) -> float | None:
    # Count a teacher shared by several seeds once: averaging copies of a score adds rounding error.
    taught_by = dict.fromkeys(one for job in jobs for one in teachers_of(study, job))
    scored = [one for one in taught_by if is_done(one)]
    return statistics.fmean(100 * _scores(one)["miou"] for one in scored) if scored else None


def _scores(job: Job) -> dict[str, Any]:
    scores: dict[str, Any] = json.loads((job.results / SCORES).read_text())
    return scores


def _hours(job: Job) -> float:
    pace = seconds_per_step(job)
    return pace * job.steps / 3600 if pace and job.steps else float("nan")


def baseline_lengths(study: Study, found: Sequence[Outcome]) -> list[Outcome]:
    """Return the baseline and the runs that differ from it only in steps, sorted by hours."""
    if study.baseline is None:
        return []
    settings = {run: _settings(jobs[0]) for run, jobs in study.runs.items()}
    alike = [one for one in found if settings[one.run] == settings[study.baseline]]
    return sorted((one for one in alike if one.hours > 0), key=lambda one: one.hours)


def _settings(job: Job) -> tuple[str, list[str]]:
    """Return stage and flags of a run, without its length, seed and folder."""
    return job.stage, [word for word in job.words if not word.startswith(NO_SETTINGS)]


def _at_equal_hours(
    study: Study, one: Outcome, lengths: Sequence[Outcome]
) -> tuple[float | None, tuple[float, float] | None]:
    """Interpolate over log hours, between the two baseline lengths next to the run's."""
    names = {length.run for length in lengths}
    if len(lengths) < 2 or one.run in names or study.baseline_of(one.run) not in names:
        return None, None
    if not lengths[0].hours / SLACK <= one.hours <= lengths[-1].hours * SLACK:
        return None, None
    above = bisect([length.hours for length in lengths[1:-1]], one.hours) + 1
    shorter, longer = lengths[above - 1 : above + 1]
    seeds = set(one.seeds) & set(shorter.seeds) & set(longer.seeds)
    if not seeds:
        return None, None
    compared = (one.run, shorter.run, longer.run)
    jobs = [{job.seed: job for job in study.runs[run]} for run in compared]
    medians = np.array([one.hours, shorter.hours, longer.hours])
    drawn = np.stack([_draw_medians(_timed(study.runs[run])) for run in compared], axis=-1)
    groups = [[found[seed] for found in jobs] for seed in sorted(seeds)]
    return bootstrap(groups, _shares(medians), _shares(drawn))


def _shares(hours: np.ndarray) -> np.ndarray:
    """Hours (..., 3) of a run and two baseline lengths to the weights of their scores.

    A baseline of the run's hours is interpolated between the two lengths, over log hours.
    """
    own, shorter, longer = np.moveaxis(np.log(hours), -1, 0)
    part = np.clip((own - shorter) / np.maximum(longer - shorter, TINY), 0, 1)
    return np.stack([np.ones_like(part), part - 1, -part], axis=-1)


def _draw_medians(hours: Sequence[float]) -> np.ndarray:
    """Medians of `RESAMPLES` bootstrap resamples of a run's hours: machines are not always idle."""
    draws = np.random.default_rng(0)
    found: np.ndarray = np.median(draws.choice(hours, (RESAMPLES, len(hours))), axis=-1)
    return found


def _timed(jobs: Sequence[Job]) -> list[float]:
    """Hours of the jobs that have ended and were timed."""
    return [hours for job in jobs if is_done(job) and not math.isnan(hours := _hours(job))]


def _outcome(run: str, jobs: Sequence[Job], baseline: dict[int, Job]) -> Outcome:
    results = [_scores(job) for job in jobs]
    classes = {
        name: _mean([result["per_class"][name] for result in results])
        for name in results[0]["per_class"]
    }
    pairs = [(job, baseline[job.seed]) for job in jobs if job.seed in baseline]
    difference, interval = bootstrap(pairs, np.array([1.0, -1.0])) if pairs else (None, None)
    hours = _timed(jobs)
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
