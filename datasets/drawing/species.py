"""Random species, sampled per field from ranges typical of real crops and weeds."""

from dataclasses import dataclass

import numpy as np

from datasets.drawing.leaves import LeafShape, Leaves, make_leaves

LEAVES_PER_SPECIES = 40  # made once per field; plants draw theirs from these


@dataclass(frozen=True)
class Species:
    """Parameters that all plants of one species in one field share."""

    leaf: LeafShape
    true_leaves: Leaves
    cotyledons: Leaves
    arrangement: str  # "spiral", "opposite", "tuft", "fan" or "trailing"
    leaves: tuple[int, int]  # number for a seedling, for a grown plant
    hue: float  # HSV, all in 0..1
    saturation: float
    value: float
    rib: float  # brightness of midribs / that of the blade
    fold: float  # difference between the two halves of a leaf
    edge: float  # brightness of the rim / that of the blade
    gloss: float  # share of leaves with a highlight
    stalk: tuple[float, float, float]  # colour / that of the blade


# Probability of each habit for (crop, weed). Either can have any habit: appearance is a hint, the
# position decides. The hints are strong, as in real fields, because a small network learns them
# long before it learns to recognise rows.
HABITS = {
    "rosette": (0.30, 0.09),  # beet, lettuce, spinach, cabbage; plantain, shepherd's purse
    "lobed": (0.06, 0.18),  # radish, rape, dandelion, thistle
    "opposite": (0.03, 0.27),  # sunflower, basil; goosefoot, nightshade, chickweed, speedwell
    "feathery": (0.28, 0.06),  # carrot, dill, fennel; chamomile, fumitory
    "pinnate": (0.08, 0.04),  # pea, potato, tomato; vetch
    "digitate": (0.10, 0.05),  # bean, soya, strawberry; clover, wood sorrel
    "palmate": (0.05, 0.04),  # pumpkin, cotton; geranium, mallow
    "grass": (0.07, 0.20),  # maize, onion, leek, cereals; foxtail, couch
    "trailing": (0.03, 0.07),  # cucumber; bindweed, knotgrass
}


def draw_species(rng: np.random.Generator, weed: bool) -> Species:
    """Sample a species."""
    shares = np.array([pair[weed] for pair in HABITS.values()])
    habit = rng.choice(list(HABITS), p=shares / shares.sum())
    leaf, arrangement, leaves = _LEAVES[habit](rng)
    aspect = rng.uniform(0.08, 0.3) if habit == "feathery" else rng.uniform(0.25, 1.0)
    cotyledon = LeafShape("blade", aspect, rng.uniform(0.05, 0.3), (0.5, 0.45))
    purple = rng.uniform() < 0.03
    return Species(
        leaf=leaf,
        true_leaves=make_leaves(rng, leaf, LEAVES_PER_SPECIES),
        cotyledons=make_leaves(rng, cotyledon, LEAVES_PER_SPECIES // 2),
        arrangement=arrangement,
        leaves=leaves,
        hue=rng.uniform(0.92, 1.0) if purple else rng.normal(0.268, 0.035),
        saturation=np.clip(rng.normal(0.54, 0.13), 0.22, 0.88),
        value=np.clip(rng.normal(0.56, 0.12), 0.28, 0.85),
        rib=rng.uniform(0.85, 1.5),
        fold=rng.uniform(0.0, 0.22),
        edge=rng.choice([1.0, rng.uniform(0.55, 1.15)]),
        gloss=rng.choice([0.0, rng.uniform(0.1, 0.7)]),
        stalk=tuple(rng.uniform((0.9, 0.75, 0.8), (1.6, 1.1, 1.15))),
    )


def _outline(rng: np.random.Generator) -> tuple[float, float]:
    return rng.uniform(0.3, 1.1), rng.uniform(0.3, 1.0)


def _rosette(rng: np.random.Generator) -> tuple:
    leaf = LeafShape("blade", rng.uniform(0.22, 0.9), rng.uniform(0.05, 0.45), _outline(rng),
                     teeth=rng.choice([0, int(rng.integers(5, 10))]),
                     wave=rng.choice([0.03, 0.08, 0.18]))  # fmt: skip
    return leaf, "spiral", (2, int(rng.integers(6, 20)))


def _lobed(rng: np.random.Generator) -> tuple:
    leaf = LeafShape("blade", rng.uniform(0.25, 0.6), rng.uniform(0.02, 0.3),
                     (rng.uniform(0.7, 1.4), rng.uniform(0.3, 0.5)), lobes=int(rng.integers(2, 7)),
                     depth=rng.uniform(0.3, 0.85), wave=rng.uniform(0.03, 0.15))  # fmt: skip
    return leaf, "spiral", (2, int(rng.integers(6, 14)))


def _opposite(rng: np.random.Generator) -> tuple:
    leaf = LeafShape("blade", rng.uniform(0.3, 0.95), rng.uniform(0.05, 0.4), _outline(rng),
                     teeth=rng.choice([0, int(rng.integers(3, 8))]))  # fmt: skip
    return leaf, "opposite", (2, int(rng.integers(5, 13)))


def _feathery(rng: np.random.Generator) -> tuple:
    leaf = LeafShape("feathery", rng.uniform(0.4, 1.0), rng.uniform(0.15, 0.45),
                     pairs=int(rng.integers(3, 8)), segments=int(rng.integers(1, 4)),
                     stroke=np.exp(rng.uniform(np.log(0.018), np.log(0.075))),
                     bend=0.18)  # fmt: skip
    return leaf, rng.choice(["spiral", "tuft"]), (1, int(rng.integers(4, 12)))


def _pinnate(rng: np.random.Generator) -> tuple:
    leaf = LeafShape("pinnate", rng.uniform(0.25, 0.75), rng.uniform(0.15, 0.4),
                     _outline(rng), pairs=int(rng.integers(2, 7)), lobes=rng.choice([0, 2]),
                     depth=0.4)  # fmt: skip
    return leaf, "spiral", (2, int(rng.integers(4, 10)))


def _digitate(rng: np.random.Generator) -> tuple:
    leaf = LeafShape("digitate", rng.uniform(0.4, 0.95), rng.uniform(0.35, 0.65), _outline(rng),
                     pairs=int(rng.choice([3, 5], p=[0.85, 0.15])))  # fmt: skip
    return leaf, rng.choice(["spiral", "tuft"]), (2, int(rng.integers(5, 16)))


def _palmate(rng: np.random.Generator) -> tuple:
    leaf = LeafShape("palmate", rng.uniform(0.7, 1.0), rng.uniform(0.3, 0.55),
                     lobes=int(rng.integers(3, 8)), depth=rng.uniform(0.1, 0.6))  # fmt: skip
    return leaf, "spiral", (2, int(rng.integers(4, 9)))


def _grass(rng: np.random.Generator) -> tuple:
    leaf = LeafShape("blade", np.exp(rng.uniform(np.log(0.03), np.log(0.14))), 0.0,
                     (0.25, rng.uniform(0.5, 0.9)), wave=0.02,
                     bend=rng.uniform(0.05, 0.4))  # fmt: skip
    arrangement = rng.choice(["tuft", "fan"])
    return leaf, arrangement, (2, int(rng.integers(4, 8 if arrangement == "fan" else 20)))


def _trailing(rng: np.random.Generator) -> tuple:
    leaf = LeafShape("blade", rng.uniform(0.3, 0.95), rng.uniform(0.1, 0.4), _outline(rng))
    return leaf, "trailing", (3, int(rng.integers(8, 18)))


_LEAVES = {
    "rosette": _rosette,
    "lobed": _lobed,
    "opposite": _opposite,
    "feathery": _feathery,
    "pinnate": _pinnate,
    "digitate": _digitate,
    "palmate": _palmate,
    "grass": _grass,
    "trailing": _trailing,
}
