"""Options of the network and its initial weights."""

from dataclasses import dataclass, replace

from models import MODELS
from train.options.flag import find_name, flag


def path_or_off(text: str) -> str | None:
    """Parse `--pretrained`; published scripts use False for none and True for the default file."""
    return {"false": None, "true": "auto"}.get(text.lower(), text)


@dataclass(frozen=True)
class NetworkOptions:
    """The network; each training script has its own default for `model`."""

    model: str = flag(f"network to train: {', '.join(MODELS)}")
    pretrained: str | None = flag(
        "weights to start from: fields (ckpt_pretrained/README.md), which have seen drawn crop "
        "fields only, for all of a SegFormer; or for the encoder alone a file, a folder or a "
        "Hugging Face id; without a value, the model's file in ckpt_pretrained/",
        "--pretrained",
        "--student-pretrained",
        may_be_file=True,
        nargs="?",
        const="auto",
        type=path_or_off,
    )
    initial_checkpoint: str | None = flag(
        "whole network to train on from: a checkpoint, a run folder (its best.pth) or a Hugging "
        "Face id, of --model; a new run, unlike --resume: data and classes may be others",
        may_be_file=True,
    )

    def settled(self) -> "NetworkOptions":
        """Return a copy with the registry's spelling of `model`.

        Raises:
            ValueError: an unknown name, or two sources of initial weights.
        """
        if self.pretrained and self.initial_checkpoint:
            raise ValueError(
                f"--initial-checkpoint {self.initial_checkpoint} and --pretrained "
                f"{self.pretrained}: a network starts from one of the two, leave the other out"
            )
        return replace(self, model=find_name("--model", self.model, MODELS))
