"""The images in a report: the worst, the best and others, with predictions and errors."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from eval.reporting.charts import data_uri
from eval.reporting.pictures import colorize, error_map
from eval.runs import ScoredRun, image_scores

EXTREMES = 2  # number of worst and of best images that are shown
PICTURE_WIDTH = 640  # px, enough for a third of a wide screen


def choose_images(runs: Sequence[ScoredRun]) -> dict[int, str]:
    """Return captions of the images to show, by index: the worst, the best, others of the split.

    They are ranked by mIoU averaged over the runs, not by the number of wrong pixels, which can be
    lowest in a bad prediction if there are few plants.
    """
    scores = image_scores(runs)
    ranked = sorted(scores, key=scores.__getitem__)
    shown = dict.fromkeys(ranked[:EXTREMES], "one of the worst, ")
    shown |= dict.fromkeys(
        (index for index in reversed(ranked[-EXTREMES:]) if index not in shown), "one of the best, "
    )
    others = (index for index in sorted(runs[0].predictions) if index not in shown)
    shown |= dict.fromkeys(others, "")
    return {
        index: f"{why}mIoU {100 * scores[index]:.1f} %" if index in scores else why
        for index, why in shown.items()
    }


def show_image(runs: Sequence[ScoredRun], index: int, why: str) -> dict[str, Any]:
    """Return an image of the split with its label and, per run, the prediction and its errors."""
    dataset = runs[0].subject.dataset
    sample = dataset[index]
    label = sample["label"].numpy()
    shown: dict[str, Any] = {
        "name": sample["name"],
        "why": why,
        "photo": picture(sample["image"].permute(1, 2, 0).numpy(), "JPEG"),
        "label": picture(colorize(label, dataset.palette), "PNG"),
        "runs": [],
    }
    for scored in runs:
        sample = scored.subject.dataset[index]  # with this run's preprocessing
        label, prediction = sample["label"].numpy(), scored.predictions[index]
        labelled = label != scored.subject.labels.ignored
        wrong = labelled & (label != prediction)
        size = label.shape[::-1]
        photo = Image.fromarray(sample["image"].permute(1, 2, 0).numpy()).resize(size)
        shown["runs"].append(
            {
                "name": scored.name,
                "prediction": picture(colorize(prediction, dataset.palette), "PNG"),
                "errors": picture(error_map(np.asarray(photo), wrong), "JPEG"),
                "wrong": f"{100 * wrong.sum() / max(1, labelled.sum()):.2f}",
            }
        )
    return shown


def picture(pixels: np.ndarray, kind: str) -> str:
    """Return a picture (H, W, 3) uint8 as a data URI, no wider than `PICTURE_WIDTH`."""
    image = Image.fromarray(pixels)
    if image.width > PICTURE_WIDTH:
        height = round(image.height * PICTURE_WIDTH / image.width)
        # Box filter: every pixel contributes, so that thin leaves or errors do not vanish.
        image = image.resize((PICTURE_WIDTH, height), Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=85, optimize=True)
    return data_uri(buffer.getvalue(), f"image/{kind.lower()}")
