"""What Prometheus keeps, what alerts and dashboard ask for, and what the runbook explains."""

import json
import re
from typing import Any

import yaml

from testing.service import ROOT

MONITORING = ROOT / "config/monitoring"
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "densenet.json").read_text())
PROMETHEUS: dict[str, Any] = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
(GROUP,) = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
ASKED = set(
    re.findall(r"\bray_[a-z_]+", " ".join([*QUERIES, *(r["expr"] for r in GROUP["rules"])]))
)


def list_kept(job: dict[str, Any]) -> list[str]:
    """The expressions of which one has to match the name of a series that is kept."""
    (rule,) = job["metric_relabel_configs"]
    assert (rule["action"], rule["source_labels"]) == ("keep", ["__name__"])
    kept: list[str] = rule["regex"].split("|")
    return kept


def list_declared() -> set[str]:
    """The metrics of the service, as Prometheus reads them."""
    modules = "".join(path.read_text() for path in (ROOT / "deployments").glob("*/metrics.py"))
    return {f"ray_{name}" for name in re.findall(r'^    "(densenet_\w+)"', modules, re.MULTILINE)}


def test_prometheus_keeps_what_alerts_and_dashboard_ask_for_and_no_more_of_rays() -> None:
    for job in PROMETHEUS["scrape_configs"]:
        kept = list_kept(job)
        assert not {name for name in ASKED if not re.fullmatch("|".join(kept), name)}
        assert {
            each for each in kept if not any(re.fullmatch(each, name) for name in ASKED)
        } == set()


def test_every_metric_of_ours_that_is_asked_for_exists() -> None:
    ours = {re.sub(r"_(bucket|count)$", "", name) for name in ASKED if "densenet" in name}
    assert ours == list_declared()


def test_every_service_is_read_often_enough_for_alerts_and_no_oftener() -> None:
    assert PROMETHEUS["global"]["scrape_interval"] == "15s"
    sources = yaml.safe_load((MONITORING / "datasource.yml").read_text())["datasources"]
    assert [each["jsonData"]["timeInterval"] for each in sources] == ["15s"]
    assert all(job["job_name"].startswith("densenet") for job in PROMETHEUS["scrape_configs"])


def test_the_dashboard_works_with_any_data_source_job_instance_and_application() -> None:
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert variables.keys() == {"datasource", "job", "instance", "application"}
    assert variables["datasource"]["type"] == "datasource"
    uids = re.findall(
        r'"datasource": \{"type": "prometheus", "uid": "([^"]*)"', json.dumps(DASHBOARD)
    )
    assert set(uids) == {"${datasource}"}
    for query in QUERIES:
        series = re.findall(r"\bray_[a-z_]+(\{[^}]*\})?", query)
        assert all('job=~"$job",instance=~"$instance"' in selector for selector in series), query
        ours = re.findall(r"\bray_densenet_[a-z_]+(\{[^}]*\})", query)
        assert all('application=~"$application"' in selector for selector in ours), query


def test_every_panel_has_a_place_of_its_own() -> None:
    cells = [
        (column, row)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for column in range(place["x"], place["x"] + place["w"])
        for row in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_every_alert_has_a_row_in_the_runbook_and_the_dashboard_shows_it() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    (table,) = re.findall(r"^\| alert \|.*?(?=\n\n)", text, re.MULTILINE | re.DOTALL)
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [
        r["alert"] for r in GROUP["rules"]
    ]
    assert {r["annotations"]["runbook"] for r in GROUP["rules"]} == {"docs/operations.md#alerts"}
    (panel,) = [each for each in DASHBOARD["panels"] if each["type"] == "text"]
    assert panel["options"]["content"] == table


def test_every_panel_that_the_runbook_names_exists() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    alerts = text[text.index("## Alerts") : text.index("## Faults")]
    named = set(re.findall(r"(?<!\*)\*([A-Za-z][^*]*)\*(?!\*)", alerts))
    assert named
    assert named <= {panel["title"] for panel in DASHBOARD["panels"]}


def test_alertmanager_has_a_receiver_for_every_route() -> None:
    document = yaml.safe_load((MONITORING / "alertmanager.yml").read_text())
    receivers = {each["name"] for each in document["receivers"]}
    assert document["route"]["receiver"] in receivers
    inhibiting = {
        name
        for rule in document["inhibit_rules"]
        for matcher in rule["source_matchers"] + rule["target_matchers"]
        for name in re.findall(r"Densenet\w+", matcher)
    }
    assert inhibiting <= {rule["alert"] for rule in GROUP["rules"]}
