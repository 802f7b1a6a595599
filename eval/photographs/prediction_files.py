"""The files that predict.py writes: label maps, overlays, confidence maps and a table."""

import csv
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image, ImageFont

from command_line.outputs import check_folder, replacing
from datasets.cityscapes import TRAIN_TO_LABEL_ID
from datasets.layout import write_label
from datasets.legend import legend_strip
from eval.reporting.pictures import BACKGROUND_COLOUR, inset_legend, legend_entries, overlay

TABLE, LEGEND = "cover.csv", "legend.png"
KINDS = ("labels", "overlays", "confidence", "label_ids")
RESULTS = (*KINDS, TABLE, LEGEND)
LEGEND_WIDTH = 640


class PredictionFiles:
    """Writes each kind of result to a sub-folder of one folder; each file is written atomically.

    Args:
        folder: created if missing.
        classes: class names, in the order of their ids.
        palette: class colours.
        opacity: of the colours in overlays; 0 for no overlays.
        label_ids: also write Cityscapes label ids, the format of its server.

    Attributes:
        pixels: (height, width) and pixel count per class, by image.

    Raises:
        OSError: the folder is a file, or not writable.
    """

    def __init__(
        self,
        folder: Path,
        classes: Sequence[str],
        palette: Sequence[tuple[int, int, int]],
        opacity: float = 0.5,
        label_ids: bool = False,
    ) -> None:
        check_folder(folder, "--output")
        self.folder = folder
        self.classes = classes
        self.palette = palette
        self.opacity = opacity
        self.label_ids = label_ids
        self.pixels: dict[str, tuple[tuple[int, int], np.ndarray]] = {}

    def remove_earlier(self) -> None:
        """Remove the results that an earlier table lists, and no other file."""
        table = self.folder / TABLE
        if not table.is_file():
            return
        with open(table, newline="", encoding="utf-8", errors="surrogateescape") as file:
            names = [row["image"] for row in csv.DictReader(file) if row.get("image")]
        below = [name for name in names if not {"..", "/"} & set(Path(name).parts)]
        for name, kind, suffix in product(below, KINDS, (".png", ".jpg")):
            (self.folder / kind / f"{name}{suffix}").unlink(missing_ok=True)
        table.unlink()

    def write(
        self, name: str, image: np.ndarray, label: np.ndarray, confidence: np.ndarray | None
    ) -> None:
        """Write the results of one image.

        Args:
            name: path below each sub-folder, without suffix.
            image: (H, W, 3) uint8 RGB.
            label: (H, W) uint8 class indices.
            confidence: (H, W) uint8, where 255 is 1; None for no map.
        """
        with replacing(self.folder / "labels" / f"{name}.png") as temporary:
            write_label(temporary, label, self.palette)
        if self.opacity:
            mixed = overlay(image, label, self.palette, self.opacity)
            with replacing(self.folder / "overlays" / f"{name}.jpg") as temporary:
                picture = Image.fromarray(inset_legend(mixed, self._legend(label)))
                # Without chroma subsampling, which blurs the colours of outlines.
                picture.save(temporary, format="JPEG", quality=90, subsampling=0)
        if confidence is not None:
            self._write_grey("confidence", name, confidence)
        if self.label_ids:
            self._write_grey("label_ids", name, np.array(TRAIN_TO_LABEL_ID, np.uint8)[label])
        counts = np.bincount(label.ravel(), minlength=len(self.classes))
        self.pixels[name] = label.shape, counts

    def _legend(self, label: np.ndarray) -> list[tuple[str, tuple[int, int, int]]]:
        """List the classes in a label map that are coloured in an overlay."""
        entries = legend_entries(self.classes, self.palette, void=False)
        present = (entries[index] for index in np.unique(label))
        return [(name, colour) for name, colour in present if colour != BACKGROUND_COLOUR]

    def write_legend(self) -> None:
        """Write `legend.png`, the colours of all classes."""
        entries = legend_entries(self.classes, self.palette, void=False)
        strip = legend_strip(entries, LEGEND_WIDTH, ImageFont.load_default(size=14))
        with replacing(self.folder / LEGEND) as temporary:
            Image.fromarray(strip).save(temporary, format="PNG")

    def _write_grey(self, kind: str, name: str, values: np.ndarray) -> None:
        with replacing(self.folder / kind / f"{name}.png") as temporary:
            Image.fromarray(values).save(temporary, format="PNG", compress_level=1)

    def write_table(self) -> None:
        """Write each class's share, in percent of the image's pixels, one line per image."""
        with (
            replacing(self.folder / TABLE) as temporary,
            # File names need not be valid UTF-8.
            open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
        ):
            table = csv.writer(file)
            table.writerow(["image", "width", "height", *(f"{name} %" for name in self.classes)])
            for name, ((height, width), counts) in self.pixels.items():
                shares = 100 * counts / counts.sum()
                table.writerow([name, width, height, *(f"{share:.3f}" for share in shares)])

    def mean_cover(self) -> dict[str, float]:
        """Return each class's share in percent, averaged over the images."""
        shares = [counts / counts.sum() for _, counts in self.pixels.values()]
        return dict(zip(self.classes, (100 * np.mean(shares, axis=0)).tolist(), strict=True))
