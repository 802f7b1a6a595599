"""Options of the run folder, resuming, seed and logging."""

from dataclasses import dataclass
from pathlib import Path

from command_line.arguments import folder_name, non_negative_integer, positive_integer
from train.options.flag import flag, published_switch


@dataclass(frozen=True)
class RunOptions:
    """The run folder, resuming and the seed. `parse_options` sets `resume` to the checkpoint."""

    savedir: Path = flag("folder that holds the run folders", default=Path("runs"), type=Path)
    savedate: bool = published_switch("end the run folder's name with date and time")
    run_name: str | None = flag(
        "name of the run folder, instead of stage-model-dataset-method", type=folder_name
    )
    overwrite: bool = flag(
        "replace a run that is already in the folder",
        default=False,
        saved=False,
        action="store_true",
    )
    resume: Path | None = flag(
        "continue the run in its folder, or from the given checkpoint file",
        "--resume",
        "--continue-path",
        saved=False,
        nargs="?",
        const="",
    )
    config: Path | None = flag(
        "YAML recipe of flags; the command line overrides it", saved=False, type=Path
    )
    seed: int = flag("seed of everything random", default=0, type=non_negative_integer)


@dataclass(frozen=True)
class LoggingOptions:
    """Validation, and the output written during a run."""

    iouVal: bool = published_switch(  # noqa: N815  (a published flag)
        "measure mIoU on the validation split; best.pth needs it", "--iouVal", default=True
    )
    iouTrain: bool = published_switch(  # noqa: N815
        "measure mIoU on the training split as well", "--iouTrain"
    )
    val_every: int = flag("epochs between validations", default=1, type=positive_integer)
    steps_loss: int = flag("steps between logged losses", default=50, type=positive_integer)
    epochs_save: int = flag("keep every Nth epoch; 0: none", default=0, type=non_negative_integer)
    visualize: bool = published_switch("draw losses, mIoU and images in a Visdom server")
    port: int = flag("port of the Visdom server", default=8097, type=positive_integer)
    steps_plot: int = flag("steps between Visdom points", default=50, type=positive_integer)
    visualize_outimages: bool = published_switch(
        "draw augmented training images too", "--visualize_outimages"
    )
