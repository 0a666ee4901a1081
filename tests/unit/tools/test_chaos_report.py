"""The report of `make chaos`: what a run tries again is replaced, the rest stays."""

import json
import math
from dataclasses import replace
from pathlib import Path

from chaos.faults import FAULTS, Fault
from chaos.report import Record, Report, summarise
from testing.load_client import Result, Tally

KILL, *_, POISON = FAULTS


def record_of(fault: Fault) -> Record:
    results = [Result(intended=at, images=4, done=at + 0.5) for at in (1.0, 2.0, 3.0)]
    windows = [(1.5, 2.5)] if fault.inject else []
    return summarise(fault, 2.0, Tally(results), windows, retries=1)


def test_latencies_are_told_apart_by_the_fault() -> None:
    record = record_of(KILL)
    assert (record.injections, record.healed_s, record.images) == (1, 1.0, 12)
    assert (record.p99_before_ms, record.p99_during_ms, record.p99_after_ms) == (500, 500, 500)
    assert math.isnan(record_of(POISON).p99_before_ms)


def test_a_later_run_replaces_what_it_tries_again_and_leaves_the_rest(tmp_path: Path) -> None:
    first = Report(tmp_path, {"CPU": "one"})
    first.add("A stub", record_of(POISON))
    first.add("A stub", replace(record_of(KILL), lost=7))
    second = Report(tmp_path, {"CPU": "another"})
    second.add("A stub", record_of(KILL))
    second.add("The model", record_of(KILL))
    document = json.loads((tmp_path / "faults.json").read_text())
    assert document["machine"] == {"CPU": "another"}
    found = document["faults"]
    assert [each["fault"] for each in found["A stub"]] == [KILL.what, POISON.what]
    assert [each["lost"] for each in found["A stub"]] == [0, 0]
    assert found["A stub"][1]["p99_before_ms"] is None
    assert list(found) == ["A stub", "The model"]
    page = (tmp_path / "faults.md").read_text()
    assert page.count(KILL.what) == 2
    assert page.count(POISON.what) == 1
