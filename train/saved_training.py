"""Schema of the training state in last.pth, validated once before resuming."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr
from torch import Tensor

from models.description import Count, Finite, Weights, checked
from train.checkpoint import Progress


class Group(BaseModel):
    """A parameter group of the optimizer; its other entries follow from this run's flags."""

    params: list[StrictInt]


class Optimizer(BaseModel):
    """AdamW's moments, keyed by parameter index."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    state: dict[Count, dict[StrictStr, Tensor]]
    param_groups: list[Group]


class Scheduler(BaseModel):
    """Position in the learning rate schedule; the rates follow from this run's flags."""

    last_epoch: Count
    step_count: Count = Field(alias="_step_count")


class SavedTraining(BaseModel):
    """Training state as written by `train.checkpoint.save_training`."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    optimizer: Optimizer
    scheduler: Scheduler
    scaler: dict[StrictStr, Finite | StrictInt] | None = None
    progress: Progress
    student: Weights | None = None


def check_training(training: Any, source: str) -> SavedTraining:
    """Return the training state of a checkpoint.

    Raises:
        ValueError: an entry is invalid; names it and the source.
    """
    return checked(SavedTraining.model_validate, training, f"{source}: training")
