"""The table that `tests.mutants` writes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

REASONS = Path(__file__).with_name("mutants_reasons.yaml")
COLUMNS = ("killed", "survived", "timeout", "unsure")


def write_report(
    outcomes: Mapping[str, list[dict]], not_run: Sequence[str], path: Path, seed: int
) -> None:
    """Write results/mutants.md: counts by file, the share killed, the survivors with reasons."""
    reasons = yaml.safe_load(REASONS.read_text()) or {}
    counts = {file: Counter(e["outcome"] for e in entries) for file, entries in outcomes.items()}
    total = sum(counts.values(), Counter())
    caught = total["killed"] + total["timeout"]
    lines = [
        "# Mutants",
        "",
        f"`make mutants` changed the code in one place at a time ({total.total()} places, sampled "
        f"with seed {seed}) and ran the tests for that file. "
        f"**{caught / max(1, total.total()):.1%} of the mutants were detected**: a test failed, or "
        "the tests did not end. 'Unsure' (counted as not detected) means that the test failed on "
        "the unchanged code too.",
        "",
        f"| file | mutants | {' | '.join(COLUMNS)} |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for file, count in [*counts.items(), ("**all**", total)]:
        cells = " | ".join(str(count[column]) for column in COLUMNS)
        lines.append(f"| {file} | {count.total()} | {cells} |")
    if not_run:
        lines += ["", f"Not run: {', '.join(not_run)}."]
    lines += ["", "## Survivors", "", "| where | change | reason |", "|---|---|---|"]
    for file, entries in outcomes.items():
        for entry in entries:
            if entry["outcome"] == "survived":
                change = f"{entry['before']} → {entry['after']}"
                reason = reasons.get(file, {}).get(change, "unguarded")
                cell = change.replace("|", "\\|").replace(" → ", "` → `")
                lines.append(f"| {file}:{entry['line']} | `{cell}` | {reason} |")
    path.write_text("\n".join(lines) + "\n")
