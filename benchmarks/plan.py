"""What the benchmark runs: each part's programs in `benchmarks/`, with their flags."""

from losses import METHODS

SIDES = ["256", "512", "768", "1024", "1536"]
STEP = ["distillation_step.py"]
TEXTURE = ["texture_term.py", "--size", "512", "--batch", "2"]

PLAN: dict[str, list[list[str]]] = {
    "inference": [
        ["inference.py", "--models", "SegformerB0", "SegformerB2", "SegformerB3", *shape]
        for shape in (
            ["--size", "512", "--batch", "2"],
            ["--size", "1024", "--batch", "1", "--rounds", "3"],
        )
    ],
    "training": [["training_step.py", "--size", "512", "--batch", "2", "--rounds", "9"]],
    "distillation": [
        [*STEP, "--methods", "sekd-ct", "--size", "512", "--batch", "2", "--rounds", "9"],
        [*STEP, "--size", "256", "--batch", "4", "--rounds", "7"],
        [*STEP, "--methods", "sekd-ct", "--size", "512", "--batch", "2", "--memory"],
        *([*STEP, "--methods", m, "--size", "256", "--batch", "4", "--memory"] for m in METHODS),
    ],
    "texture": [TEXTURE, *([*TEXTURE, "--memory-of", who] for who in ("this project", "unfolded"))],
    "metric": [["metric_update.py"]],
    "loading": [["data_loading.py"]],
    "runtimes": [["runtimes.py"]],
    "growth": [
        ["inference.py", "--size", *SIDES, "--batch", "1", "--rounds", "3"],
        ["inference.py", "--size", "512", "--batch", "2", "4", "8", "--rounds", "3"],
        [*STEP, "--methods", "sekd-ct", "--size", *SIDES, "--batch", "1", "--rounds", "2"],
        [*STEP, "--methods", "sekd-ct", "--size", "256", "--batch", "2", "4", "8", "--rounds", "2"],
    ],
}
