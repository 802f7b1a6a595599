"""The command that puts runs side by side."""

import json
import sys

from PIL import Image

from eval import compare


def test_two_runs_of_one_kind_are_both_shown(voc_root, write_checkpoint, tmp_path, monkeypatch):
    runs = [{"stage": "student", "seed": seed} for seed in range(2)]
    states = [str(write_checkpoint(f"seed{run['seed']}.pth", args=run)[0]) for run in runs]
    output = tmp_path / "comparison"
    flags = ["--datadir", str(voc_root), "--output", str(output), "--images", "2"]
    flags += ["--device", "cpu", "--num-workers", "0", "--merge", "plants=crop,weed"]
    monkeypatch.setattr(sys, "argv", ["compare.py", *states, *flags])
    compare.main()
    results = json.loads((output / "comparison.json").read_text())["results"]
    names = [result["name"] for result in results]
    assert names == ["student SegformerB0", f"student SegformerB0 ({states[1]})"]
    merged = f"{100 * results[0]['merged']['plants']:.2f}"
    table, seeds = (output / "comparison.md").read_text().split("\n\n")
    assert table.count("| student SegformerB0") == 2
    assert seeds.count("| student SegformerB0") == 1 and "± 0.00" in seeds
    assert f"| plants (merged) | {merged} | {merged} |" in table
    assert f"| plants (merged) | {merged} ± 0.00 |" in seeds
    # image, label and two predictions of 320 px in height, two rows of them
    picture = Image.open(output / "comparison.png")
    assert picture.width > 4 * 320 and picture.height > 2 * 320
