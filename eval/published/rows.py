"""The published tables: SEKD's README, and TransKD (arXiv 2202.13393)."""

from dataclasses import dataclass

LOW_RANK = "a variant with low-rank attention, not published"
UNKNOWN = "not what the published definitions give"


@dataclass(frozen=True)
class Row:
    """One published row.

    Attributes:
        table: "SEKD" or "TransKD".
        dataset: registered name of the data set.
        num_classes: outputs of the classifier; Cityscapes was trained with 20, including void.
        model: registered name of the deployed network.
        label: the row's name in the table.
        params: as printed, in millions.
        flops: as printed, in billions.
        miou: as printed, in percent.
        rule: counting rule behind the numbers, a key of `eval.complexity.RULES`.
        adapters: trained with the network, a key of `eval.published.adapters.ADAPTERS`.
        teacher: registered name of the teacher, None for a network trained alone.
        method: `--method` of the row, None for a network trained alone.
        counted_params: our count, if the printed number cannot be reproduced.
        counted_flops: likewise.
        note: why it cannot be reproduced.
    """

    table: str
    dataset: str
    num_classes: int
    model: str
    label: str
    params: str
    flops: str
    miou: str
    rule: str
    adapters: str = "none"
    teacher: str | None = None
    method: str | None = None
    counted_params: str | None = None
    counted_flops: str | None = None
    note: str = ""


def _sekd(
    dataset: str, num_classes: int, teacher: str, params: str, flops: str, miou: str, **more: str
) -> list[Row]:
    """Three rows that differ in the loss, and thus in mIoU only."""
    methods = ("sekd", "sekd-su", "sekd-ct")
    return [
        Row(
            "SEKD", dataset, num_classes, "SegformerB0", method.upper(), params, flops, score,
            "thop", adapters="sekd", teacher=teacher, method=method, **more,
        )
        for method, score in zip(methods, miou.split(), strict=True)
    ]  # fmt: skip


def _transkd(dataset: str, *miou: str) -> list[Row]:
    figures = {
        "transkd-base": ("TransKD-Base", "4.56", "16.47"),
        "transkd-gl": ("TransKD-GL", "5.22", "16.80"),
        "transkd-ea": ("TransKD-EA", "5.53", "17.84"),
    }
    alone = [
        Row("TransKD", dataset, 20, "SegformerB2", "teacher B2", "27.36", "113.84", miou[0],
            "transkd"),
        Row("TransKD", dataset, 20, "SegformerB0", "student B0", "3.72", "13.67", miou[1],
            "transkd"),
    ]  # fmt: skip
    distilled = [
        Row("TransKD", dataset, 20, "SegformerB0", *figures[method], score, "transkd",
            adapters=method, teacher="SegformerB2", method=method)
        for method, score in zip(figures, miou[2:], strict=True)
    ]  # fmt: skip
    return alone + distilled


# SEKD's plain Cityscapes rows repeat TransKD's numbers, hence its counting rule.
ROWS: tuple[Row, ...] = (
    Row("SEKD", "Cityscapes", 20, "SegformerB0", "SegFormerB0", "3.23", "13.67", "53.40",
        "transkd", counted_params="3.72", note=LOW_RANK),
    Row("SEKD", "Cityscapes", 20, "SegformerB2", "SegFormerB2", "27.36", "113.84", "76.37",
        "transkd"),
    *_sekd("Cityscapes", 20, "SegformerB2", "5.21", "14.77", "62.93 63.96 63.15",
           counted_params="4.59", counted_flops="16.51", note=UNKNOWN),
    Row("SEKD", "SweetPepper", 8, "SegformerB0", "SegFormerB0", "3.72", "13.59", "37.83", "thop"),
    Row("SEKD", "SweetPepper", 8, "SegformerB3", "SegFormerB3", "47.23", "142.87", "67.54",
        "thop"),
    *_sekd("SweetPepper", 8, "SegformerB3", "4.59", "16.41", "40.56 45.42 44.40"),
    Row("SEKD", "SugarBeets", 3, "SegformerB0", "SegFormerB0", "3.71", "13.55", "74.44", "thop"),
    Row("SEKD", "SugarBeets", 3, "SegformerB3", "SegFormerB3", "47.22", "142.75", "87.38", "thop"),
    *_sekd("SugarBeets", 3, "SegformerB3", "4.58", "16.37", "76.73 79.77 81.23"),
    *_transkd("Cityscapes", "76.49", "55.86", "68.58", "68.87", "68.98"),
    *_transkd("ACDC", "69.34", "46.26", "58.56", "58.13", "59.09"),
)  # fmt: skip
