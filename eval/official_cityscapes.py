"""The official Cityscapes metric, by its own scripts, from files as submitted to its server."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from datasets import SegmentationDataset
from datasets.cityscapes import LABEL_IDS, TRAIN_TO_LABEL_ID, TrainIdDataset


class OfficialCityscapes:
    """Writes predictions as PNGs in label ids and scores them with `cityscapesscripts`.

    Pass the instance to `eval.evaluator.evaluate` as observer.

    Args:
        dataset: Cityscapes or ACDC, which has the same classes.
        folder: for the PNGs.

    Raises:
        ValueError: the data set has other classes, or the scripts are not installed.
    """

    def __init__(self, dataset: SegmentationDataset, folder: Path) -> None:
        if not isinstance(dataset, TrainIdDataset):
            raise ValueError(f"--official scores Cityscapes and ACDC, not {dataset.name}")
        try:
            from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling
        except ImportError:
            raise ValueError("--official needs: pip install cityscapesscripts") from None
        self.scripts = evalPixelLevelSemanticLabeling
        self.dataset = dataset
        self.folder = folder
        self.to_label_id = np.zeros(256, np.uint8)  # void becomes 0, "unlabeled"
        self.to_label_id[: len(TRAIN_TO_LABEL_ID)] = TRAIN_TO_LABEL_ID

    def __call__(self, name: str, prediction: Tensor) -> None:
        """Write one prediction, (H, W) uint8 in train ids."""
        self._write(self._prediction_path(name), prediction.cpu().numpy())

    def scores(self) -> dict[str, Any]:
        """Score the predictions: `miou`, `category_miou` and `per_class` by name."""
        predictions = [str(self._prediction_path(name)) for name in self.dataset.names]
        labels = [str(self._label_path(index)) for index in range(len(self.dataset))]
        settings = copy(self.scripts.args)
        settings.quiet, settings.JSONOutput = True, False
        settings.evalInstLevelScore = False  # needs instance ids, which the PNGs lack
        scores = self.scripts.evaluateImgLists(predictions, labels, settings)
        classes = {name: _number(scores["classScores"][name]) for name in self.dataset.classes}
        return {
            "miou": _number(scores["averageScoreClasses"]),
            "category_miou": _number(scores["averageScoreCategories"]),
            "per_class": classes,
        }

    def _prediction_path(self, name: str) -> Path:
        return self.folder / f"{name}_pred.png"

    def _label_path(self, index: int) -> Path:
        """Return the official label file; write it if the data set has train ids only."""
        path = self.dataset.pairs[index][1]
        if path.stem.endswith(LABEL_IDS):
            return path
        written = self.folder / f"{self.dataset.names[index]}_{LABEL_IDS}.png"
        self._write(written, self.dataset.read_label(path).numpy())
        return written

    def _write(self, path: Path, train_ids: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)  # names may contain folders
        Image.fromarray(self.to_label_id[train_ids]).save(path, compress_level=1)


@contextmanager
def official_scorer(
    dataset: SegmentationDataset, wanted: bool
) -> Iterator[OfficialCityscapes | None]:
    """Yield a scorer with temporary files; None if it is not wanted."""
    if not wanted:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        yield OfficialCityscapes(dataset, Path(folder))


def _number(score: float) -> float | None:
    return None if np.isnan(score) else float(score)
