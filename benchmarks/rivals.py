"""The same network with the same weights, as implemented by other libraries."""

import importlib.util
import sys
import tempfile

import torch
from torch import Tensor, nn

from benchmarks.measuring import OURS
from models import Segmenter, build_model
from models.huggingface import save_huggingface

TOLERANCE = 1e-3  # for logits of up to about 1; the others' norms have different epsilons


class Transformers(nn.Module):
    """Hugging Face transformers' SegFormer; returns the logits."""

    def __init__(self, model: Segmenter) -> None:
        super().__init__()
        import transformers

        transformers.utils.logging.disable_progress_bar()
        names = [str(index) for index in range(model.num_classes)]
        with tempfile.TemporaryDirectory() as folder:
            save_huggingface(model, folder, names, {})
            loaded = transformers.SegformerForSemanticSegmentation.from_pretrained(folder)
        self.network = loaded

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, K, H/4, W/4)."""
        return self.network(images).logits


def segmentation_models(model: Segmenter) -> nn.Module:
    """Build segmentation_models_pytorch's SegFormer, without its upsampling of the logits."""
    import segmentation_models_pytorch as smp

    network = smp.Segformer(
        encoder_name=f"mit_b{model.name[-1]}",
        encoder_weights=None,
        classes=model.num_classes,
        decoder_segmentation_channels=model.head.linear_pred.in_channels,
        upsampling=1,
    )
    network.load_state_dict({_smp_key(key): value for key, value in model.state_dict().items()})
    return network


def _smp_key(key: str) -> str:
    for ours, theirs in (
        *((f"head.linear_c{stage}.proj", f"decoder.mlp_stage.{4 - stage}.linear")
          for stage in range(1, 5)),
        ("head.linear_fuse.conv", "decoder.fuse_stage.0"),
        ("head.linear_fuse.bn", "decoder.fuse_stage.1"),
        ("head.linear_pred", "segmentation_head.0"),
    ):  # fmt: skip
        if key.startswith(ours):
            return theirs + key.removeprefix(ours)
    return key


LIBRARIES = {"transformers": Transformers, "segmentation_models_pytorch": segmentation_models}


def build_rivals(name: str, num_classes: int, device: torch.device) -> dict[str, nn.Module]:
    """Build a SegFormer of this project and of each installed library, with equal weights.

    Stochastic depth is off everywhere, so that all of them do the same work.

    Raises:
        ValueError: the logits differ, which would make the comparison worthless.
    """
    model = build_model(name, num_classes, drop_path_rate=0.0)
    networks: dict[str, nn.Module] = {OURS: model}
    for library, build in LIBRARIES.items():
        if importlib.util.find_spec(library):
            networks[library] = build(model)
        else:
            print(f"{library} is not installed: left out", file=sys.stderr)
    networks = {library: network.to(device).eval() for library, network in networks.items()}
    _check_equal(networks, torch.rand(1, 3, 96, 128, device=device))
    return networks


@torch.inference_mode()
def _check_equal(networks: dict[str, nn.Module], images: Tensor) -> None:
    expected = networks[OURS](images)
    for library, network in networks.items():
        difference = (network(images) - expected).abs().max().item()
        if not difference <= TOLERANCE:
            raise ValueError(f"{library} computes other logits: they differ by {difference:.1e}")
