"""PVTv2 encoders: timm's outputs, plus the patch embeddings that timm does not return."""

import timm
import torch

from models import build_model
from models.pvt import PyramidVisionTransformer

TINY = {"embed_dims": (8, 16, 24, 32), "depths": (1, 2, 1, 1)}


def tiny() -> PyramidVisionTransformer:
    torch.manual_seed(0)
    return PyramidVisionTransformer(**TINY, variant="pvt_v2_b0").eval()


def test_features_equal_timm():
    encoder = build_model("PVTv2B0", 3).encoder.eval()
    reference = timm.create_model("pvt_v2_b0", features_only=True).eval()
    weights = encoder.backbone.state_dict()
    reference.load_state_dict({key.replace("stages.", "stages_"): v for key, v in weights.items()})
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        for got, expected in zip(encoder(images), reference(images), strict=True):
            torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_embeddings_are_what_enters_the_blocks():
    encoder, seen = tiny(), []
    for stage in encoder.backbone.stages:
        stage.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.inference_mode():
        _, embeddings, _ = encoder.forward_intermediates(torch.randn(2, 3, 45, 70))
    for embedding, tokens in zip(embeddings, seen, strict=True):
        assert torch.equal(embedding.flatten(2).transpose(1, 2), tokens)
