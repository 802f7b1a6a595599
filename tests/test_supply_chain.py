"""What is installed is pinned, locked by hashes, audited, and has a licence that is listed."""

import json
import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.audit import verdict

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements-lock.txt").read_text()


def requirements():
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if text := line.partition("#")[0].strip():
            yield Requirement(text)


def test_the_lock_has_every_requirement_in_its_version_with_hashes():
    locked = {}
    for block in re.split(r"\n(?=\S)", LOCK):
        pinned = Requirement(block.partition(" \\")[0])
        name = canonicalize_name(pinned.name)
        locked.setdefault(name, set()).add(str(pinned.specifier))
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), pinned
    for each in requirements():
        assert str(each.specifier) in locked[canonicalize_name(each.name)], each


def test_the_lock_names_no_place_to_install_from():
    assert not re.search(r"://|--(?:extra-)?index|--find-links", LOCK)


def test_every_requirement_has_its_licence_listed():
    page = (ROOT / "docs" / "licences.md").read_text()
    cells = (line.split("|")[1:3] for line in page.splitlines() if line.startswith("|"))
    listed = {canonicalize_name(name.strip()): licence.strip() for name, licence in cells}
    for each in requirements():
        assert listed.get(canonicalize_name(each.name)), each


def package(*vulnerabilities, **more):
    found = [{"id": each, "fix_versions": ["2.0"]} for each in vulnerabilities]
    return {"name": "a", "version": "1.0", "vulns": found} | more


def test_an_audit_fails_for_a_vulnerability_alone():
    skipped = {"name": "b", "skip_reason": "not found"}
    lines, status = verdict(json.dumps({"dependencies": [package("CVE-1"), skipped]}))
    assert status == 1
    assert lines == [
        "a 1.0: CVE-1, fixed in 2.0",
        "audit: 1 of 2 packages known, 1 vulnerabilities",
    ]
    assert verdict(json.dumps({"dependencies": [package(), skipped]}))[1] == 0


def test_an_audit_that_learnt_nothing_says_so():
    for report in ("", '{"dependencies": [{"name": "b", "skip_reason": "not found"}]}'):
        lines, status = verdict(report)
        assert status == 0 and len(lines) == 1 and lines[0].startswith("audit skipped: ")
