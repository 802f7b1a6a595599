"""Every distillation method by name.

A loss lives in a file of its own; here a method says which losses it weighs and what they read.
To add a method: its loss in a new file, and one entry in `METHODS`.
"""

from losses.attention_enhanced import build_fef
from losses.declaration import Adapter, Method, MethodOptions, Term, merge
from losses.embedding_patch import TexturePatchLoss
from losses.embedding_projection import build_embedding_projection
from losses.feature_alignment import FeatureAlignmentLoss
from losses.feature_relation import FeatureRelationLoss
from losses.reconstruction import ReconstructionLoss

__all__ = ["METHODS", "Adapter", "Method", "MethodOptions", "Term", "find_method"]

EMBED_PROJECTION = {"embed_projections": Adapter(build_embedding_projection, target="embeddings")}

# SEKD: Li et al., Agriculture 2025, 15(13), 1418
FEF = {"fef": Adapter(build_fef, target="features")}
TEXTURE = Term("texture", lambda options: TexturePatchLoss(), 1.0, reads="embed_projections")
RELATION = Term("relation", lambda options: FeatureRelationLoss(), 0.5, reads="fef")
RECONSTRUCTION = Term("reconstruction", lambda options: ReconstructionLoss(), 0.5, reads="fef")
ALIGNMENT = Term("alignment", lambda options: FeatureAlignmentLoss(), 0.2, reads="fef")
SEKD_ADAPTERS = {**FEF, **EMBED_PROJECTION}

METHODS: dict[str, Method] = {
    "sekd": Method((TEXTURE,), SEKD_ADAPTERS),
    "sekd-ct": Method((TEXTURE, RELATION), SEKD_ADAPTERS),
    "sekd-su": Method((TEXTURE, RECONSTRUCTION), SEKD_ADAPTERS),
    "sekd-fa": Method((TEXTURE, ALIGNMENT), SEKD_ADAPTERS),
}

# `--knowledge-distillation-loss` of the published SEKD script
PUBLISHED_NAMES = {
    "multiscalecontextalignmentdistillationloss": "sekd-ct",
    "selfsuperviseddistillationloss": "sekd-su",
    "featurealignmentloss": "sekd-fa",
}


def find_method(name: str) -> Method:
    """The method called `name`, in any case; `a+b` merges several, published names are known too.

    Raises:
        ValueError: an unknown name; the known ones are listed.
    """
    return merge([_find_one(part.strip().lower()) for part in name.split("+")])


def _find_one(name: str) -> Method:
    name = PUBLISHED_NAMES.get(name, name)
    if name not in METHODS:
        known = ", ".join(METHODS)
        raise ValueError(f"unknown method {name!r}: choose from {known}, or several joined by +")
    return METHODS[name]
