"""The table of faults in the docs is the one that tests/faces/test_faults.py sees happen."""

from __future__ import annotations

from tests.faces.fault_cases import BEGIN, END, PAGE, table


def test_the_table_of_faults_is_the_one_the_tests_see() -> None:
    shown = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    assert shown.strip() == table().strip(), "python -m tests.faces.fault_cases writes it anew"
