"""The benchmark's page, JSON and floors, from figures made up."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.floors import TWO_INGRESSES, Floor, check_floors, check_stub_floors
from benchmarks.records import BaselineRecord, Load, Plan, Record
from benchmarks.report import write_report
from benchmarks.run import Run
from testing.latency import Point
from testing.processes import Usage

INF = math.inf
PLAN = Plan(rounds=1, margin_s=1, closed_s=1, open_s=1, concurrency=16, p99_bound_ms=500)
BASELINE = BaselineRecord(
    by_way={"in turn": [40.0, 50.0, 60.0], "overlapped": [70.0, 30.0, 45.0]},
    single_ms=[20.0],
    accuracy=1.0,
)
MIB = 2**20


def make_service() -> Record:
    return Record(
        "service",
        "this service",
        answers=200,
        right=200,
        lone=Load(1, [12.0], [70.0], [{"ingress": 4.0}]),
        singles=Load(1, [45.0], [300.0], [{"ingress": 5.0, "classifier": 30.0}], [0.4]),
        eights=Load(8, [44.0], [900.0], [{"ingress": 30.0, "classifier": 240.0}]),
        sweep={0.1: [Point.of(10, [20.0])], 0.9: [Point.of(40, [90.0])], 1: [Point.of(50, [INF])]},
        memory={"ingress": Usage(1.0, 200 * MIB, 100 * MIB)},
        timings_ms={"saturated": {"parse": 1.0, "total": 300.0}},
        errors=Counter({"TimeoutError": 2}),
    )


def make_peer(name: str, title: str, images_per_s: float, cpu_ms: float) -> Record:
    cpu: list[Mapping[str, float]] = [{"rest": cpu_ms}]
    return Record(
        name,
        title,
        answers=1000,
        right=999,
        lone=Load(1, [images_per_s], [50.0], cpu),
        singles=Load(1, [images_per_s], [500.0], cpu, [0.4]),
        eights=Load(8, [images_per_s], [900.0], cpu),
    )


def make_run(floors: Sequence[Floor] = (), **changes: Any) -> Run:
    run = Run({"CPU": "a CPU"}, {"command": "make bench"}, PLAN, BASELINE, make_records(), floors)
    return replace(run, **changes)


def make_records() -> list[Record]:
    return [
        make_service(),
        make_peer("gunicorn", "Gunicorn", images_per_s=9.0, cpu_ms=140.0),
        make_peer("litserve", "LitServe", images_per_s=30.0, cpu_ms=20.0),
        Record("bentoml", "BentoML", refused="could not be installed: no such version"),
    ]


def verdicts(records: list[Record], scaling: dict[str, Any] | None = None) -> dict[str, str]:
    return {floor.name: floor.verdict for floor in check_floors(BASELINE, records, scaling)}


def test_floors_are_ratios_of_medians_of_one_run() -> None:
    values = {floor.name: floor.value for floor in check_floors(BASELINE, make_records(), None)}
    assert values["throughput over the baseline's"] == pytest.approx(45 / 50)
    assert values["throughput over Gunicorn's with four workers"] == pytest.approx(45 / 9)
    assert values["throughput over the best batching peer's"] == pytest.approx(45 / 30)
    assert values["resident MB of an Ingress replica"] == 200


def test_a_floor_is_met_missed_or_not_measured() -> None:
    found = verdicts(make_records())
    assert found["throughput over the baseline's"] == "met"
    assert found["throughput over Gunicorn's with four workers"] == "met"
    assert found["p99 at 70 % of the knee over the baseline's latency of one image"] == "met"
    assert found["growth of memory over the requests, %"] == "not measured"


def test_growth_and_replicas_are_taken_from_their_own_run() -> None:
    runs = [
        {"classifiers": 1, "ingresses": 1, "images_per_s": [20.0, 10.0, 30.0]},
        {"classifiers": 1, "ingresses": 2, "images_per_s": [21.0, 10.5, 31.0]},
        {"classifiers": 2, "ingresses": 1, "images_per_s": [10.0, 5.0, 12.0]},
    ]
    scaling = {"memory": {"growth_percent": 2.5}, "replicas": runs}
    floors = {floor.name: floor for floor in check_floors(BASELINE, make_records(), scaling)}
    assert floors["growth of memory over the requests, %"].verdict == "missed"
    assert floors["slowdown by more replicas"].value == 2


def test_floors_that_need_an_absent_system_are_not_measured() -> None:
    assert set(verdicts([])) == set(verdicts(make_records()))
    assert set(verdicts([]).values()) == {"not measured"}


def test_stub_floors_compare_cost_rate_and_latency_with_litserve() -> None:
    values = {floor.name: floor.value for floor in check_stub_floors(make_records())}
    assert values["CPU a request over LitServe's"] == pytest.approx(35 / 20)
    assert values["CPU a request of eight over LitServe's"] == pytest.approx(270 / 20)
    assert values["requests/s over LitServe's"] == pytest.approx(45 / 30)
    assert values["lone p50 over LitServe's"] == pytest.approx(70 / 50)


def test_a_second_ingress_costs_what_got_slowest() -> None:
    two = replace(make_service(), name=TWO_INGRESSES, eights=Load(8, [22.0], [900.0], [{}]))
    values = {floor.name: floor.value for floor in check_stub_floors([make_service(), two])}
    name = "cost of a second Ingress: the worst of requests/s, eights/s and lone p50"
    assert values[name] == pytest.approx(2)


def test_the_share_of_the_cpu_is_that_of_the_costliest_process_around_the_replicas() -> None:
    cpu = {"ingress": 5.0, "classifier": 2.0, "haproxy": 1.0, "ray": 2.0}
    service = replace(make_service(), singles=Load(1, [45.0], [300.0], [cpu]))
    values = {floor.name: floor.value for floor in check_stub_floors([service])}
    (share,) = (value for name, value in values.items() if name.startswith("share of the CPU"))
    assert share == pytest.approx(20)


def test_the_memory_of_an_ingress_is_that_of_one_of_them() -> None:
    memory = {"ingress": Usage(1.0, 300 * MIB, 200 * MIB, processes=2)}
    floors = check_stub_floors([replace(make_service(), memory=memory)])
    assert floors[-1].value == 150
    assert floors[-1].verdict == "met"


def test_the_page_has_the_figures_the_refusal_and_the_errors() -> None:
    page = write_report(make_run())
    row = "| this service | 45.0 | 0.90 | 44.0 | 35.0 | 270.0 | 70.0 | 40.0 | 22 / 22 | 49 / 49 | "
    assert row in page
    assert "**BentoML**: could not be installed: no such version" in page
    assert "{'TimeoutError': 2}" in page
    assert "| CPU | a CPU |" in page


def test_a_wrong_answer_in_a_thousand_is_not_rounded_away() -> None:
    assert "| 99.9% |" in write_report(make_run())


def test_the_page_of_a_stub_has_neither_baseline_nor_knee() -> None:
    page = write_report(make_run(baseline=None, plan=replace(PLAN, open_s=0)))
    assert "| this service | 45.0 | 44.0 | 35.0 | 270.0 | 70.0 | 100 | 100% |" in page
    assert "aseline" not in page
    assert "nee" not in page.replace("needed", "")


def test_the_breakdown_has_each_kind_of_process() -> None:
    assert "| ingress | 1 | 5.00 | 14% | 30.00 | 100 | 200 |" in write_report(make_run())


def test_the_json_line_is_strict_and_an_infinite_latency_is_null() -> None:
    floors = [Floor("a floor", math.inf, 5, "most"), *check_floors(BASELINE, make_records(), None)]
    line = json.loads(json.dumps(make_run(floors).as_json(), allow_nan=False))
    service = line["systems"][0]
    assert service["sweep"]["1"][0]["p99_ms"] is None
    assert service["knee"] == 40
    assert service["at_knee"]["1"]["p99_ms"] == 90
    assert service["errors"] == {"TimeoutError": 2}
    assert service["accuracy"] == 1
    assert line["floors"][0] == {
        "name": "a floor",
        "value": None,
        "bound": 5,
        "at": "most",
        "verdict": "missed",
    }
