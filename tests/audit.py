"""Look the locked packages up among known vulnerabilities: `python -m tests.audit`.

The network may be missing, and so may the service that knows them: that is told, and is no failure.
"""

import json
import subprocess
import sys

SECONDS = 60
COMMAND = (
    *("-m", "pip_audit", "--requirement", "requirements-lock.txt", "--require-hashes"),
    *("--disable-pip", "--timeout", "5", "--progress-spinner", "off", "--format", "json"),
)


def main() -> int:
    """Print what was found; return 1 for a known vulnerability."""
    try:
        done = subprocess.run(
            [sys.executable, *COMMAND], capture_output=True, text=True, timeout=SECONDS
        )
        lines, status = verdict(done.stdout)
    except subprocess.TimeoutExpired:
        lines, status = [f"audit skipped: no answer within {SECONDS} s"], 0
    print(*lines, sep="\n")
    return status


def verdict(report: str) -> tuple[list[str], int]:
    """What pip-audit's JSON report, or what it prints instead, means: lines, and a status."""
    try:
        packages = json.loads(report)["dependencies"]
    except ValueError:
        return ["audit skipped: pip-audit has no report, its service cannot be reached"], 0
    known = [each for each in packages if "skip_reason" not in each]
    if not known:
        return ["audit skipped: its service knows none of the packages here"], 0
    found = [
        f"{each['name']} {each['version']}: {vulnerability['id']}, fixed in "
        f"{', '.join(vulnerability['fix_versions']) or 'no version yet'}"
        for each in known
        for vulnerability in each["vulns"]
    ]
    told = f"audit: {len(known)} of {len(packages)} packages known, {len(found)} vulnerabilities"
    return [*found, told], int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
