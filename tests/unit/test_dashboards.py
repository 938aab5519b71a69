"""The Grafana dashboard and the alert rules ask for nothing that the connectors do not export."""

import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from connectorlib.messages import DONE
from connectorlib.monitoring.metrics import PREFIX, Metrics
from tests.unit.test_monitoring import DOWN, Pumped, delivery, monitor_of

CONFIG = Path(__file__).resolve().parents[2] / "config"
DASHBOARD = json.loads((CONFIG / "grafana" / "connectors.json").read_text())
RULES = yaml.safe_load((CONFIG / "prometheus" / "alerts.yml").read_text())["groups"][0]["rules"]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = {f"{panel['title']} {target['refId']}": target["expr"] for panel in PANELS for target in panel["targets"]}
QUERIES |= {f"variable {each['name']}": each["query"] for each in DASHBOARD["templating"]["list"][1:]}
QUERIES |= {rule["alert"]: rule["expr"] for rule in RULES}
#: What Prometheus itself adds to every series.
FROM_PROMETHEUS = {"instance", "job"}


@pytest.fixture(scope="module")
def exported():
    """The labels of every series that a connector can export, by its name."""
    flow = Pumped()
    monitor = monitor_of(flow, used=1)
    flow.died("22001")
    flow.wait.note(DOWN)
    flow.stats.batch([delivery(1)], [DONE], 0.1)
    found = {"up": FROM_PROMETHEUS}
    for family in text_string_to_metric_families(Metrics(monitor).write("")[1].decode()):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, FROM_PROMETHEUS) | set(sample.labels)
    monitor.broker.stop()
    return found


def metrics_of(query):
    """The names in a query that are neither functions, nor labels, nor words of the language."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]|\b(by|on|ignoring|group_left) ?\([^)]*\)', " ", query)
    names = set(re.findall(r"\b[a-z_]\w*\b(?! ?\()", bare))
    return names - {"or", "and", "unless", "offset", "sum", "max", "min", "count", "h", "instance", "flow"}


def labels_of(query):
    """The labels that a query chooses by or groups by."""
    chosen = re.findall(r'(\w+) ?(?:=~|!~|!=|=)"', query)
    grouped = re.findall(r"\b(?:by|on|ignoring) ?\(([^)]*)\)", query)
    return {*chosen, *(label.strip() for group in grouped for label in group.split(","))}


@pytest.mark.parametrize("where", QUERIES)
def test_every_metric_and_label_of_a_query_is_exported(where, exported):
    query = QUERIES[where]
    names = metrics_of(query)
    assert names
    assert names - exported.keys() == set()
    known = set().union(*(exported[name] for name in names))
    assert labels_of(query) - known == set()
    assert query.count("(") == query.count(")")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_what_an_alert_says_is_of_labels_that_it_has(rule, exported):
    said = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
    assert said
    assert said - set().union(*(exported[name] for name in metrics_of(rule["expr"]))) == set()
    assert rule["labels"]["severity"] in ("warning", "critical")


def test_every_metric_of_ours_is_looked_at(exported):
    asked = set().union(*(metrics_of(query) for query in QUERIES.values()))
    ours = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in exported if name.startswith(PREFIX)}
    assert ours - {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked} == set()


def test_panels_stand_beside_each_other_and_are_numbered():
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert sorted(set(numbers)) == sorted(numbers)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells
