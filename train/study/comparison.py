"""What a study's runs scored: means over seeds, differences to a baseline, their intervals."""

import json
import math
import statistics
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from train.study.bootstrap import bootstrap
from train.study.jobs import SCORES, is_done, seconds_per_step, teachers_of, with_teachers
from train.study.study import Job, Study

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
            the run shares with the two lengths of the baseline beside it;
            None for the baseline's lengths themselves, for hours that are not between theirs, for
            a run that is compared with another baseline, and without a common seed.
        at_equal_hours_interval: likewise, the hours taken as they are.
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
    # A teacher of several seeds counts once: a mean over copies of a score is not quite that score.
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
    """Return the baseline, and runs that differ from it in steps alone, by hours of training."""
    if study.baseline is None:
        return []
    settings = {run: _settings(jobs[0]) for run, jobs in study.runs.items()}
    alike = [one for one in found if settings[one.run] == settings[study.baseline]]
    return sorted((one for one in alike if one.hours > 0), key=lambda one: one.hours)


def _settings(job: Job) -> tuple[str, list[str]]:
    """Return what makes a run what it is, but for its length, seed and folder."""
    return job.stage, [word for word in job.words if not word.startswith(NO_SETTINGS)]


def _at_equal_hours(
    study: Study, one: Outcome, lengths: Sequence[Outcome]
) -> tuple[float | None, tuple[float, float] | None]:
    """Interpolate over the logarithm of hours, between the two lengths beside the run's."""
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
    hours = [shorter.hours, longer.hours]
    part = float(np.interp(math.log(one.hours), np.log(hours), [0, 1]))
    shares = {one.run: 1.0, shorter.run: part - 1, longer.run: -part}
    jobs = {run: {job.seed: job for job in study.runs[run]} for run in shares}
    return bootstrap(
        [[(jobs[run][seed], share) for run, share in shares.items()] for seed in sorted(seeds)]
    )


def _outcome(run: str, jobs: Sequence[Job], baseline: dict[int, Job]) -> Outcome:
    results = [_scores(job) for job in jobs]
    classes = {
        name: _mean([result["per_class"][name] for result in results])
        for name in results[0]["per_class"]
    }
    pairs = [[(job, 1.0), (baseline[job.seed], -1.0)] for job in jobs if job.seed in baseline]
    difference, interval = bootstrap(pairs) if pairs else (None, None)
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
