"""What studies are made of in tests."""

import json

import numpy as np

from train.study.jobs import COUNTS, SCORES
from train.study.study import Job

SMALL = {
    "height": 32, "image-size": 32, "batch-size": 2, "limit-train": 4, "limit-val": 2,
    "num-workers": 0, "device": "cpu", "max-steps": 2, "iouVal": False,
}  # fmt: skip


def write_result(job: Job, counts: np.ndarray) -> None:
    """Stand-in for a scored run; counts (images, 2, K)."""
    job.folder.mkdir(parents=True, exist_ok=True)
    classes = [f"c{index}" for index in range(counts.shape[2])]
    lines = [
        "image,miou," + ",".join(f"{c} {what}" for what in ("common", "union") for c in classes)
    ]
    lines += [f"i{n},0," + ",".join(map(str, row.reshape(-1))) for n, row in enumerate(counts)]
    (job.folder / COUNTS).write_text("\n".join(lines) + "\n")
    common, union = counts.sum(0)
    iou = (common / union).tolist()
    result = {"miou": float(np.mean(iou)), "per_class": dict(zip(classes, iou, strict=True))}
    (job.folder / SCORES).write_text(json.dumps(result))
