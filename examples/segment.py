"""Segment one photograph with an exported ONNX file, without this project.

    python eval/export.py --state runs/RUN --format onnx --output field.onnx
    python examples/segment.py field.onnx photograph.jpg labels.png

Needs onnxruntime, opencv-python and numpy. How images are prepared is read from the file.
"""

import json
import sys

import cv2
import numpy as np
import onnxruntime


def main(graph: str, photograph: str, target: str) -> None:
    """Write class ids, at the photograph's size, and print the share of each class."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    facts = {key: json.loads(value) for key, value in facts.items()}
    image = cv2.cvtColor(cv2.imread(photograph), cv2.COLOR_BGR2RGB)
    height, width = image.shape[:2]
    resized = cv2.resize(image, network_size(facts["image_size"], width, height), None, 0, 0,
                         cv2.INTER_AREA)  # fmt: skip
    if facts["input"] != "uint8 RGB":
        resized = ((resized / 255 - facts["mean"]) / facts["std"]).astype(np.float32)
    logits = session.run(["logits"], {"image": resized.transpose(2, 0, 1)[None]})[0][0]
    maps = [cv2.resize(channel, (width, height)) for channel in logits]
    labels = np.argmax(maps, axis=0).astype(np.uint8)
    cv2.imwrite(target, labels)
    for index, name in enumerate(facts.get("classes") or range(len(maps))):
        print(f"{name}: {100 * (labels == index).mean():.2f} %")


def network_size(wanted: str | int | list[int], width: int, height: int) -> tuple[int, int]:
    """Return (width, height) for the network: as it is, by its short side, or as listed."""
    if wanted == "native":
        return width, height
    if isinstance(wanted, list):
        return wanted[1], wanted[0]
    cells = wanted / min(width, height) / 4  # of 4 pixels
    return 4 * round(width * cells), 4 * round(height * cells)


if __name__ == "__main__":
    main(*sys.argv[1:])
