"""Each threat case has a test that bears its number."""

import re
from pathlib import Path

from tests.isolation.threats import CASES

ROOT = Path(__file__).resolve().parents[1]
NAME = re.compile(r"^\s*(?:async )?def (test_(?:[abhr]\d+_)+\w+)", re.MULTILINE)


def numbered() -> set[str]:
    """The numbers that names of tests bear."""
    names = [name for file in ROOT.rglob("test_*.py") for name in NAME.findall(file.read_text())]
    return {number for name in names for number in re.findall(r"(?<=_)[abhr]\d+(?=_)", name)}


def test_every_case_has_a_test_of_its_number():
    assert [case.number for case in CASES if case.number not in numbered()] == []


def test_no_case_is_missing():
    assert {case.number for case in CASES} >= {f"a{number}" for number in range(1, 25)} | {"r14", "r15"}
    assert all(case.tried for case in CASES)
