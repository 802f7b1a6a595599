"""All distillation methods by name.

Each loss has its own file; here a method declares which losses it weights and what they read.
To add a method, put its loss in a new file and add one entry to `METHODS`.
"""

from collections.abc import Callable
from typing import Any

from torch import nn

from losses.adapters import (
    build_embedding_projection,
    build_fused_projection,
    build_last_projection,
)
from losses.attention_enhanced import build_fef
from losses.attention_transfer import AttentionTransferLoss
from losses.boundary_privileged import BoundaryPrivilegedLoss
from losses.cross_image import CrossImageLoss, MemoryRelationLoss, build_projected_map, pool_map
from losses.declaration import Adapter, Method, MethodOptions, Term, merge
from losses.dense_contrast import DenseContrastLoss
from losses.embedding_patch import EmbeddingMSELoss, TexturePatchLoss
from losses.feature_alignment import FeatureAlignmentLoss
from losses.feature_relation import FeatureRelationLoss
from losses.logits import ChannelWiseLoss, PixelKLLoss, RelationMatchingLoss, Standardized
from losses.masked_generation import GenerationLoss, build_generator
from losses.normalized_features import NormalizedFeatureLoss
from losses.reconstruction import ReconstructionLoss
from losses.reviewkd import HierarchicalContextLoss, build_review_fusion
from losses.soft_jaccard import SoftJaccardLoss
from losses.transkd import (
    build_embedding_assistant,
    build_mixed_projection,
    build_selective_fusion,
)

__all__ = ["METHODS", "Adapter", "Method", "MethodOptions", "Term", "find_method"]

REFERENCE = 64  # px: map side that the published weights of `at` and `mgd` are for
STANDARDIZED_TEMPERATURE = 2.0  # Sun et al. 2024


EMBED_PROJECTION = {"embed_projections": Adapter(build_embedding_projection, target="embeddings")}


def temperature(options: MethodOptions, default: float) -> float:
    """The user's temperature, or else the default of standardised logits or of the method."""
    if options.temperature is not None:
        return options.temperature
    return STANDARDIZED_TEMPERATURE if options.standardize_logits else default


def on_logits(options: MethodOptions, loss: nn.Module) -> nn.Module:
    """The loss, applied to standardised logits if the user asks for it."""
    return Standardized(loss) if options.standardize_logits else loss


def pixel_kl(student: Any, teacher: Any, options: MethodOptions) -> nn.Module:
    """`kd`: temperature 1 unless set."""
    return on_logits(options, PixelKLLoss(temperature(options, 1.0)))


def channel_wise(student: Any, teacher: Any, options: MethodOptions) -> nn.Module:
    """`cwd`: temperature 4 unless set, as in the paper for logits; the MSE has none."""
    softened = temperature(options, 4.0) if options.divergence == "kl" else 1.0
    return on_logits(options, ChannelWiseLoss(softened, options.norm_type, options.divergence))


def channel_wise_of_features(student: Any, teacher: Any, options: MethodOptions) -> nn.Module:
    """`cwd-features` and `transkd-cwd`: as `cwd`, but temperature 1 unless set."""
    softened = (options.temperature or 1.0) if options.divergence == "kl" else 1.0
    return ChannelWiseLoss(softened, options.norm_type, options.divergence)


def relation_matching(student: Any, teacher: Any, options: MethodOptions) -> nn.Module:
    """`dist`: temperature 1 unless set."""
    return on_logits(options, RelationMatchingLoss(temperature(options, 1.0)))


def boundary_privileged(student: Any, teacher: Any, options: MethodOptions) -> nn.Module:
    """`bpkd`: temperature 1 unless set."""
    return on_logits(options, BoundaryPrivilegedLoss(temperature(options, 1.0)))


def embedding_mse(student: Any, teacher: Any, options: MethodOptions) -> EmbeddingMSELoss:
    """TransKD's stage weights if all stages are used; a single stage has weight 1."""
    return EmbeddingMSELoss(options.embed_weights if options.embed == 5 else (1.0,))


def memory_relation(regions: bool, slots: int, drawn: int) -> Callable[..., MemoryRelationLoss]:
    """A builder of a memory of pixels or regions, in the width of the teacher's fused map."""
    return lambda student, teacher, options: MemoryRelationLoss(
        teacher.fused_width, student.num_classes, regions, slots, drawn
    )


# SEKD: Li et al., Agriculture 2025, 15(13), 1418
FEF = {"fef": Adapter(build_fef, target="features")}
TEXTURE = Term("texture", lambda *_: TexturePatchLoss(), 1.0, reads="embed_projections")
RELATION = Term("relation", lambda *_: FeatureRelationLoss(), 0.5, reads="fef")
RECONSTRUCTION = Term("reconstruction", lambda *_: ReconstructionLoss(), 0.5, reads="fef")
ALIGNMENT = Term("alignment", lambda *_: FeatureAlignmentLoss(), 0.2, reads="fef")
SEKD_ADAPTERS = {**FEF, **EMBED_PROJECTION}

# TransKD: Liu et al., arXiv 2202.13393
CSF = {"selective_fusion": Adapter(build_selective_fusion, target="features")}
GL_MIXER = {"mixed_projections": Adapter(build_mixed_projection, target="embeddings")}
ASSISTANT = {"embedding_assistant": Adapter(build_embedding_assistant, target="embeddings")}
HCL = Term(
    "hcl", lambda *_: HierarchicalContextLoss(), lambda o: o.hcl_weight, reads="selective_fusion"
)
FUSED_CWD = Term("fused_cwd", channel_wise_of_features, 1.0, reads="selective_fusion")
EMBEDDING = Term("embedding", embedding_mse, 1.0, reads="embed_projections")
MIXED_EMBEDDING = Term("embedding_gl", embedding_mse, 1.0, reads="mixed_projections")
ASSISTED_EMBEDDING = Term("embedding_ea", embedding_mse, 1.0, reads="embedding_assistant")

# Baselines, with published weights where they exist (sources: `docs/methods.md`). `kd`, `dist`,
# `feature` and `bpkd` have none for three classes; with 1, `bpkd` dominates the cross-entropy.
FUSED = {"fused_projection": Adapter(build_fused_projection, target="fused")}
LAST = {"last_projection": Adapter(build_last_projection, target="features", stages=(3,))}
REVIEW_FUSION = {"review_fusion": Adapter(build_review_fusion, target="features")}
GENERATOR = {"generator": Adapter(build_generator, target="features", stages=(3,))}
POOLED = {"pooled_map": Adapter(build_projected_map, target="fused", pool=pool_map)}
KD = Term("kd", pixel_kl, 1.0, reads="logits")
AT = Term("at", lambda *_: AttentionTransferLoss(REFERENCE), 1000.0, reads="before_norm")
CWD = Term("cwd", channel_wise, lambda o: o.lambda_cwd, reads="logits")
CWD_FEATURES = Term(
    "cwd_features",
    channel_wise_of_features,
    lambda o: o.lambda_cwd_features,
    reads="fused_projection",
)
REVIEW = Term(
    "review", lambda *_: HierarchicalContextLoss(), lambda o: o.hcl_weight, reads="review_fusion"
)
MGD = Term("mgd", lambda *_: GenerationLoss(REFERENCE), 2e-5, reads="generator")
GENERATION = Term("generation", lambda *_: GenerationLoss(REFERENCE), 2e-6, reads="generator")
DIST = Term("dist", relation_matching, 1.0, reads="logits")
CROSS_IMAGE = Term("cross_image", lambda *_: CrossImageLoss(), 1.0, reads="fused")
PIXEL_MEMORY = Term("pixel_memory", memory_relation(False, 2048, 4096), 0.1, reads="pooled_map")
REGION_MEMORY = Term("region_memory", memory_relation(True, 512, 1024), 0.1, reads="pooled_map")
LAST_FEATURE = Term("feature_last", lambda *_: NormalizedFeatureLoss(), 1.0, "last_projection")
FUSED_FEATURE = Term("feature_fused", lambda *_: NormalizedFeatureLoss(), 1.0, "fused_projection")
# The paper weights it 0.75 and cross-entropy 0.25: 3, as the cross-entropy here has weight 1.
JML = Term("jml", lambda *_: SoftJaccardLoss(), 3.0, reads="logits")
BPKD = Term("bpkd", boundary_privileged, 0.25, reads="logits")
DENSE_CONTRAST = Term("dense_contrast", lambda *_: DenseContrastLoss(), 5e-3, reads="generator")

METHODS: dict[str, Method] = {
    "sekd": Method((TEXTURE,), EMBED_PROJECTION),
    "sekd-ct": Method((TEXTURE, RELATION), SEKD_ADAPTERS),
    "sekd-su": Method((TEXTURE, RECONSTRUCTION), SEKD_ADAPTERS),
    "sekd-fa": Method((TEXTURE, ALIGNMENT), SEKD_ADAPTERS),
    "transkd-base": Method((HCL, EMBEDDING), {**CSF, **EMBED_PROJECTION}),
    "transkd-gl": Method((HCL, MIXED_EMBEDDING), {**CSF, **GL_MIXER}),
    "transkd-ea": Method((HCL, ASSISTED_EMBEDDING), {**CSF, **ASSISTANT}),
    "transkd-cwd": Method((FUSED_CWD, EMBEDDING), {**CSF, **EMBED_PROJECTION}),
    "kd": Method((KD,)),
    "feature": Method((LAST_FEATURE, FUSED_FEATURE), {**LAST, **FUSED}),
    "at": Method((AT,)),
    "cwd": Method((CWD,)),
    "cwd-features": Method((CWD_FEATURES,), FUSED),
    "reviewkd": Method((REVIEW,), REVIEW_FUSION),
    "mgd": Method((MGD,), GENERATOR),
    "dist": Method((DIST,)),
    "cirkd": Method((KD, CROSS_IMAGE, PIXEL_MEMORY, REGION_MEMORY), POOLED),
    "jml": Method((JML,)),
    "bpkd": Method((BPKD,)),
    "af-dcd": Method((GENERATION, DENSE_CONTRAST), GENERATOR),
}


def find_method(name: str) -> Method:
    """The method called `name`, in any case; `a+b` merges several.

    Raises:
        ValueError: unknown name; the message lists the known ones.
    """
    return merge([_find_one(part.strip().lower()) for part in name.split("+")])


def _find_one(name: str) -> Method:
    if name not in METHODS:
        known = ", ".join(METHODS)
        raise ValueError(f"unknown method {name!r}: choose from {known}, or several joined by +")
    return METHODS[name]
