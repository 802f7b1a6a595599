"""The plan of a pipeline: networks, flags shared by all runs, and facts about the data."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from command_line.outputs import replacing
from models.shipped import NAME as SHIPPED
from train.arguments import read_recipe
from train.networks import imagenet_encoder
from train.plan.estimate import FILE as ESTIMATE
from train.plan.presets import PRESETS, Facts, fit, look_at
from train.plan.request import RECIPE, Request, has_weights
from train.plan.steps import RUNS
from train.plan.timing import options_of

# Flags that differ from run to run.
OF_A_RUN = ("model", "method", "teacher", "savedir", "run-name", "savedate", "resume", "overwrite")


@dataclass(frozen=True)
class Plan:
    """The plan of a pipeline.

    Attributes:
        request: flags of the pipeline.
        teacher_model: the teacher's network.
        recipe: flags shared by all runs.
        facts: image counts and sizes of the data set.
    """

    request: Request
    teacher_model: str
    recipe: dict[str, Any]
    facts: Facts

    @property
    def runs(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """Stage and flags of each run."""
        return {name: (stage, self._flags(stage)) for name, stage in RUNS.items()}

    def _flags(self, stage: str) -> dict[str, Any]:
        model = self.teacher_model if stage == "teacher" else self.request.model
        own: dict[str, Any] = {}
        if stage == "sekd":
            own = {"method": self.request.method, "unlabelled": self.request.unlabelled}
        return {**self.recipe, **own, "model": model}

    def tell(self) -> str:
        """Two lines: the data, and what is trained on it."""
        facts, recipe = self.facts, self.recipe
        images = f"{facts.train} to train on, {facts.val} to choose weights by"
        if self.request.unlabelled:
            images += f", those of {self.request.unlabelled} to distil on without labels"
        weights = {None: "random", False: "random", True: "ImageNet"}
        start = recipe.get("pretrained")
        rate = f"from {weights.get(start, start)} weights"
        return (
            f"images: {images}, {facts.scored} in '{facts.score}' to score; short side "
            f"{facts.short_side} px\n"
            f"preset {self.request.preset}: teacher {self.teacher_model}, student "
            f"{self.request.model}, {self.request.method}; {recipe['max-steps']} steps each of "
            f"{recipe['batch-size']} crops of {recipe['height']} px, {rate}, --lr {recipe['lr']}"
        )


def make_plan(request: Request, folder: Path | None) -> Plan:
    """Fit the preset to the data, and check every flag of every run.

    Args:
        request: flags of the pipeline.
        folder: of the pipeline; if runs in it have weights, its recipe takes precedence. None
            ignores it.

    Raises:
        ValueError, OSError: naming the flag, the recipe or the data.
        SystemExit: status 2, for a value in a recipe that argparse rejects.
    """
    preset = PRESETS[request.preset]
    given = {
        "dataset": request.dataset,
        "datadir": request.datadir,
        "classes": request.classes,
        "device": request.device,
        "max-steps": request.steps,
    }
    own = _own_flags(request) | {key: value for key, value in given.items() if value is not None}
    facts = look_at(options_of("student", {**own, "model": request.model}))
    if folder is not None and _is_final(folder):
        recipe = read_recipe(folder / RECIPE)
    else:
        if "num-epochs" in own and "max-steps" not in own:
            raise ValueError(
                f"--config {request.config}: num-epochs: a pipeline counts steps: write max-steps "
                "in its place, or pass --steps"
            )
        recipe = fit(preset, facts, request.steps, request.pretrained) | own
    plan = Plan(request, request.teacher_model or preset.teacher, recipe, facts)
    if recipe.get("pretrained") is True:
        for model in (plan.teacher_model, request.model):
            imagenet_encoder(
                model, f"start from the project's own weights with --pretrained {SHIPPED}"
            )
    for stage, flags in plan.runs.values():
        options_of(stage, flags)
    return plan


def _own_flags(request: Request) -> dict[str, Any]:
    """Flags from the recipe of `--config`."""
    if request.config is None:
        return {}
    written = read_recipe(Path(request.config))
    own = {str(key).replace("_", "-"): value for key, value in written.items() if key != "stage"}
    if wrong := [key for key in own if key in OF_A_RUN]:
        raise ValueError(
            f"--config {request.config}: {wrong[0]} differs from run to run; networks and method "
            "are --model, --teacher-model and --method"
        )
    if own.get("max-steps") is None:
        own.pop("max-steps", None)
    return own


def write_recipe(plan: Plan, folder: Path) -> None:
    """Write the flags shared by all runs, unless runs have weights; a stale estimate is removed."""
    if _is_final(folder):
        return
    path, text = folder / RECIPE, yaml.safe_dump(plan.recipe, sort_keys=False)
    if path.exists() and path.read_text(encoding="utf-8") != text:
        (folder / ESTIMATE).unlink(missing_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _is_final(folder: Path) -> bool:
    """Return whether runs have been trained with the recipe in a folder."""
    return (folder / RECIPE).exists() and has_weights(folder)
