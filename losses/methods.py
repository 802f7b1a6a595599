"""Every distillation method by name.

A loss lives in a file of its own; here a method says which losses it weighs and what they read.
To add a method: its loss in a new file, and one entry in `METHODS`.
"""

from losses.adapters import build_embedding_projection
from losses.attention_enhanced import build_fef
from losses.attention_transfer import AttentionTransferLoss
from losses.cross_image import CrossImageLoss, pick_last_stage
from losses.declaration import Adapter, Method, MethodOptions, Term, merge
from losses.embedding_patch import EmbeddingMSELoss, TexturePatchLoss
from losses.feature_alignment import FeatureAlignmentLoss
from losses.feature_relation import FeatureRelationLoss
from losses.logits import ChannelWiseLoss, PixelKLLoss, RelationMatchingLoss
from losses.masked_generation import GenerationLoss, build_generator
from losses.reconstruction import ReconstructionLoss
from losses.reviewkd import HierarchicalContextLoss, build_review_fusion
from losses.transkd import build_embedding_assistant, build_mixed_projection, build_selective_fusion

__all__ = ["METHODS", "Adapter", "Method", "MethodOptions", "Term", "find_method"]


def temperature(options: MethodOptions, default: float) -> float:
    """The user's temperature, or the method's own."""
    return default if options.temperature is None else options.temperature


def pixel_kl(options: MethodOptions) -> PixelKLLoss:
    """`kd`: temperature 1 unless set."""
    return PixelKLLoss(temperature(options, 1.0))


def channel_wise(options: MethodOptions) -> ChannelWiseLoss:
    """`cwd`: temperature 4 unless set, the paper's for logits."""
    return ChannelWiseLoss(temperature(options, 4.0), options.norm_type, options.divergence)


def relation_matching(options: MethodOptions) -> RelationMatchingLoss:
    """`dist`: temperature 1 unless set."""
    return RelationMatchingLoss(temperature(options, 1.0))


def hierarchical_context(options: MethodOptions) -> HierarchicalContextLoss:
    """HCL has no options but its weight."""
    return HierarchicalContextLoss()


def hcl_weight(options: MethodOptions) -> float:
    """`--review-kd-loss-weight`."""
    return options.hcl_weight


def embedding_mse(options: MethodOptions) -> EmbeddingMSELoss:
    """TransKD weighs the stages when all take part; one that stands alone has weight 1."""
    return EmbeddingMSELoss() if options.embed == 5 else EmbeddingMSELoss((1.0,))


EMBED_PROJECTION = {"embed_projections": Adapter(build_embedding_projection, target="embeddings")}

# SEKD: Li et al., Agriculture 2025, 15(13), 1418
FEF = {"fef": Adapter(build_fef, target="features")}
TEXTURE = Term("texture", lambda options: TexturePatchLoss(), 1.0, reads="embed_projections")
RELATION = Term("relation", lambda options: FeatureRelationLoss(), 0.5, reads="fef")
RECONSTRUCTION = Term("reconstruction", lambda options: ReconstructionLoss(), 0.5, reads="fef")
ALIGNMENT = Term("alignment", lambda options: FeatureAlignmentLoss(), 0.2, reads="fef")
SEKD_ADAPTERS = {**FEF, **EMBED_PROJECTION}

# TransKD: Liu et al., arXiv 2202.13393
CSF = {"selective_fusion": Adapter(build_selective_fusion, target="features")}
GL_MIXER = {"mixed_projections": Adapter(build_mixed_projection, target="embeddings")}
ASSISTANT = {"embedding_assistant": Adapter(build_embedding_assistant, target="embeddings")}
HCL = Term("hcl", hierarchical_context, hcl_weight, reads="selective_fusion")
EMBEDDING = Term("embedding", embedding_mse, 1.0, reads="embed_projections")
MIXED_EMBEDDING = Term("embedding_gl", embedding_mse, 1.0, reads="mixed_projections")
ASSISTED_EMBEDDING = Term("embedding_ea", embedding_mse, 1.0, reads="embedding_assistant")

# Baselines. The weights are the published ones; `kd` and `dist` have none.
KD = Term("kd", pixel_kl, 1.0, reads="logits")
AT = Term("at", lambda options: AttentionTransferLoss(), 1000.0, reads="features")
CWD = Term("cwd", channel_wise, lambda options: options.lambda_cwd, reads="logits")
REVIEW = Term("review", hierarchical_context, hcl_weight, reads="review_fusion")
MGD = Term("mgd", lambda options: GenerationLoss(), 2e-5, reads="generator")
DIST = Term("dist", relation_matching, 1.0, reads="logits")
CROSS_IMAGE = Term("cross_image", lambda options: CrossImageLoss(), 1.0, reads="last_feature")
REVIEW_FUSION = {"review_fusion": Adapter(build_review_fusion, target="features")}
GENERATOR = {"generator": Adapter(build_generator, target="features", stages=(3,))}
LAST_FEATURE = {"last_feature": Adapter(pick_last_stage, target="features", stages=(3,))}

METHODS: dict[str, Method] = {
    "sekd": Method((TEXTURE,), EMBED_PROJECTION),
    "sekd-ct": Method((TEXTURE, RELATION), SEKD_ADAPTERS),
    "sekd-su": Method((TEXTURE, RECONSTRUCTION), SEKD_ADAPTERS),
    "sekd-fa": Method((TEXTURE, ALIGNMENT), SEKD_ADAPTERS),
    "transkd-base": Method((HCL, EMBEDDING), {**CSF, **EMBED_PROJECTION}),
    "transkd-gl": Method((HCL, MIXED_EMBEDDING), {**CSF, **GL_MIXER}),
    "transkd-ea": Method((HCL, ASSISTED_EMBEDDING), {**CSF, **ASSISTANT}),
    "kd": Method((KD,)),
    "at": Method((AT,)),
    "cwd": Method((CWD,)),
    "reviewkd": Method((REVIEW,), REVIEW_FUSION),
    "mgd": Method((MGD,), GENERATOR),
    "dist": Method((DIST,)),
    "cirkd": Method((CROSS_IMAGE, KD), LAST_FEATURE),
}


def find_method(name: str) -> Method:
    """The method called `name`, in any case; `a+b` merges several.

    Raises:
        ValueError: an unknown name; the known ones are listed.
    """
    return merge([_find_one(part.strip().lower()) for part in name.split("+")])


def _find_one(name: str) -> Method:
    if name not in METHODS:
        known = ", ".join(METHODS)
        raise ValueError(f"unknown method {name!r}: choose from {known}, or several joined by +")
    return METHODS[name]
