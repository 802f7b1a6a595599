"""What the names of classes say: plants, ground, background and void."""

import re
from collections.abc import Sequence

VOID_NAMES = ("void", "ignore", "ignored", "unlabeled", "unlabelled", "don't care", "dontcare")
BACKGROUND_NAMES = ("background", "_background_", "bg")
# CROPS are names found in fields only. GREEN ones occur in other scenes too, where comparing with
# green would misfire: much in a street is greener than its trees.
CROPS = re.compile(
    r"crop|weed|beet|carrot|maize|wheat|barley|thistle|canola|sunflower|lettuce|cabbage|onion|"
    r"potato|pepper|dicot|monocot|(?<![a-z])(corn(?!er)|rice|rape|(soy)?bean)",
    re.IGNORECASE,
)
GREEN = re.compile("plant|veget|leaf|leaves|grass", re.IGNORECASE)
# Whole words where a plant's name contains them: groundsel, stonecrop, strawberry.
GROUND = re.compile(
    r"soil|mulch|residue|(?<![a-z])((back)?ground|earth|stones?|rocks?|straw)(?![a-z])",
    re.IGNORECASE,
)


def is_ground(name: str) -> bool:
    """Whether a class is the ground that plants grow on, or what lies on it."""
    return name.casefold() in BACKGROUND_NAMES or GROUND.search(name) is not None


def plant_ids(classes: Sequence[str]) -> list[int]:
    """Find the plant classes by name; empty for scenes other than fields.

    Also empty if every class is a plant.
    """
    crops = {name for name in classes if CROPS.search(name)}
    plants = {name for name in classes if GREEN.search(name)} | crops
    others = [name for name in classes if name not in plants]
    if not others or not (crops or all(map(is_ground, others))):
        return []
    return [index for index, name in enumerate(classes) if name in plants]
