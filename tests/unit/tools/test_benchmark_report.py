"""The benchmark's page, JSON and floors, from figures made up."""

import json
import math
from collections import Counter
from typing import Any

import pytest

from benchmarks.floors import Floor, check_floors
from benchmarks.records import BaselineRecord, Plan, Record
from benchmarks.report import as_json, write_report
from testing.latency import Point
from testing.processes import Usage

PLAN = Plan(rounds=1, margin_s=1, closed_s=1, open_s=1, concurrency=16, p99_bound_ms=500)
BASELINE = BaselineRecord(
    by_way={"in turn": [40.0, 50.0, 60.0], "overlapped": [70.0, 30.0, 45.0]},
    single_ms=[20.0],
    right=1.0,
)
MIB = 2**20


def make_service() -> Record:
    return Record(
        "service",
        "this service",
        right=1.0,
        singles=[45.0],
        eights=[44.0],
        sweep=[Point(10, (20.0,)), Point(50, (math.inf,))],
        knee=40.0,
        at_knee={0.3: [20.0], 0.7: [math.inf], 1.0: [90.0]},
        cpu_ms_per_image={"ingress": 5.0, "classifier": 30.0},
        memory={"ingress": Usage(1.0, 200 * MIB, 100 * MIB)},
        timings_ms={"saturated": {"parse": 1.0, "total": 300.0}},
        errors=Counter({"TimeoutError": 2}),
        generator_cpu_ms=[0.4],
    )


def make_records() -> list[Record]:
    return [
        make_service(),
        Record("flask", "Flask", singles=[9.0], eights=[9.0]),
        Record("litserve", "LitServe", singles=[30.0], eights=[30.0]),
        Record("bentoml", "BentoML", refused="could not be installed: no such version"),
    ]


def verdicts(records: list[Record], growth: dict[str, Any] | None = None) -> dict[str, str]:
    return {floor.name: floor.verdict for floor in check_floors(BASELINE, records, growth)}


def test_floors_are_ratios_of_medians_of_one_run() -> None:
    values = {floor.name: floor.value for floor in check_floors(BASELINE, make_records(), None)}
    assert values["throughput over the baseline's"] == pytest.approx(45 / 50)
    assert values["throughput over Flask's"] == pytest.approx(45 / 9)
    assert values["throughput over the best batching peer's"] == pytest.approx(45 / 30)
    assert values["resident MB of an ingress replica"] == 200


def test_a_floor_is_met_missed_or_not_measured() -> None:
    found = verdicts(make_records())
    assert found["throughput over the baseline's"] == "met"
    assert found["p99 at 70 % of the knee over the baseline's latency of one image"] == "missed"
    assert found["growth of memory over the requests, %"] == "not measured"


def test_growth_is_taken_from_its_own_run() -> None:
    found = verdicts(make_records(), {"memory": {"growth_percent": 2.5}})
    assert found["growth of memory over the requests, %"] == "missed"


def test_floors_that_need_an_absent_system_are_not_measured() -> None:
    assert set(verdicts([])) == set(verdicts(make_records()))
    assert set(verdicts([]).values()) == {"not measured"}


def test_the_page_has_the_figures_the_refusal_and_the_errors() -> None:
    records = make_records()
    page = write_report({"CPU": "a CPU"}, {}, PLAN, BASELINE, records, [])
    assert "| this service | 45.0 | 0.90 | 44.0 | 40.0 | 20 / 20 | failed / failed |" in page
    assert "**BentoML**: could not be installed: no such version" in page
    assert "{'TimeoutError': 2}" in page
    assert "| CPU | a CPU |" in page


def test_the_json_line_is_strict_and_an_infinite_latency_is_null() -> None:
    records = make_records()
    floors = [Floor("a floor", math.inf, 5, "most"), *check_floors(BASELINE, records, None)]
    found = as_json({}, {}, PLAN, BASELINE, records, floors)
    line = json.loads(json.dumps(found, allow_nan=False))
    service = line["systems"][0]
    assert service["sweep"][1]["p99_ms"] is None
    assert service["at_knee"]["0.3"]["p99_ms"] == 20
    assert service["errors"] == {"TimeoutError": 2}
    assert line["floors"][0] == {
        "name": "a floor",
        "value": None,
        "bound": 5,
        "at": "most",
        "verdict": "missed",
    }
