"""Estimate how long a pipeline takes, from the first steps of its runs on this machine."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from command_line.documents import read_yaml
from command_line.outputs import replacing
from train.plan.presets import Facts
from train.plan.timing import Cost

FILE = "estimate.yaml"
COMMANDS = 7  # of a pipeline, each with its own startup time
UNITS = (("days", 86400), ("hours", 3600), ("minutes", 60), ("seconds", 1))


@dataclass(frozen=True)
class Estimate:
    """Seconds per run and for the rest: check, comparison, report and export.

    Attributes:
        runs: seconds per whole run, by name.
        rest: seconds for everything else.
        device: type of the device, such as cpu or cuda.
    """

    runs: dict[str, float]
    rest: float
    device: str

    @property
    def seconds(self) -> float:
        """Seconds for the whole pipeline."""
        return sum(self.runs.values()) + self.rest

    def tell(self) -> str:
        """One line: the total, and each part."""
        parts = ", ".join(f"{name} {spoken(seconds)}" for name, seconds in self.runs.items())
        where = {"cpu": "this CPU", "cuda": "this GPU"}.get(self.device, self.device)
        return f"about {spoken(self.seconds)} on {where}: {parts}, the rest {spoken(self.rest)}"


def estimate(
    costs: Mapping[str, Cost], recipe: Mapping[str, Any], facts: Facts, startup: float, device: str
) -> Estimate:
    """Add up the costs of a pipeline.

    Args:
        costs: cost of each run, by name.
        recipe: flags shared by all runs.
        facts: image counts.
        startup: seconds a command takes to load its libraries.
        device: device on which the costs were measured.
    """
    steps = recipe["max-steps"]
    per_epoch = max(1, facts.train // recipe["batch-size"])
    validations = math.ceil(math.ceil(steps / per_epoch) / recipe["val-every"])
    runs = {
        name: startup + cost.start + steps * cost.step + validations * facts.val * cost.image
        for name, cost in costs.items()
    }
    scored = 2 * facts.scored * sum(cost.image for cost in costs.values())  # by compare and report
    return Estimate(runs, scored + (COMMANDS - len(runs)) * startup, device)


def spoken(seconds: float) -> str:
    """Format a duration for people: 50 minutes, 9 hours, 4 days."""
    for name, unit in UNITS:
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return "a second"


def save(found: Estimate, folder: Path) -> None:
    """Write an estimate to the pipeline's folder, for when it is restarted."""
    with replacing(folder / FILE) as temporary:
        temporary.write_text(yaml.safe_dump(asdict(found), sort_keys=False), encoding="utf-8")


def read(folder: Path) -> Estimate | None:
    """Read the estimate of a pipeline that is continued; None if it is missing or unreadable."""
    try:
        return Estimate(**read_yaml(folder / FILE))
    except (OSError, ValueError, TypeError):
        return None
