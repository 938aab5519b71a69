"""config.json as a whole: what a good one becomes, and what a bad one is told, all at once."""

import copy
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from connectorlib import shared_settings as shared
from connectorlib.errors import ConfigurationError
from connectorlib.service.redaction import secrets
from sfconnector.config import load
from sfconnector.settings import ExternalId, Reply, Salesforce
from tests.services.certificates import Authority
from tests.unit import configs

GOOD: dict[str, Any] = {
    "tenant": {
        "salesforce": {
            "client_id": "app",
            "client_secret": "${SF_SECRET}",
            "login_url": "https://acme.my.salesforce.com",
        },
        "amqp": {"host": "127.0.0.1"},
        "api_budget": {"reserve_percent": 20},
        "retry": {"attempts": 3},
    },
    "divisions": {
        "field-service": {
            "salesforce": {"username": "fs@example.com", "password": "${FS_PASSWORD}", "security_token": "${FS_TOKEN}"},
            "source": {"queue": "cases", "exchange": "devices", "routing_keys": ["alarm.#"]},
            "match": {"$routing_key": "alarm.pump.#"},
            "format": {"type": "json"},
            "case": {
                "defaults": {"Origin": "Device", "Priority": "Medium"},
                "mapping": {
                    "Subject": "Pump {device.id}: {alarm|no text}",
                    "Priority": {"path": "severity", "map": {"1": "Low"}, "default": "Medium"},
                    "ContactId": {"first_of": [{"lookup": "Contact", "where": {"Email": "mail"}}, "contact"]},
                    "Asset.Serial_Number__c": "device.serial",
                },
                "required": ["Subject"],
                "external_id": {"field": "Message_Id__c", "value": "$message_id"},
            },
            "batch": {"size": 100},
        },
        "hvac": {
            "salesforce": {"username": "hvac@example.com", "password": "${FS_PASSWORD}"},
            "source": {"queue": "cases"},
            "match": {},
            "case": {
                "mapping": {"Subject": "alarm"},
                "external_id": {"field": "Message_Id__c", "value": "{device.id}:{alarm}:{day}"},
                "rate": 600,
            },
            "reply": {"routing_key": "results"},
        },
    },
}

changed = partial(configs.changed, GOOD)
told = partial(configs.told, load)


@pytest.fixture(autouse=True)
def _secrets(monkeypatch):
    monkeypatch.setenv("SF_SECRET", "hunter21")
    monkeypatch.setenv("FS_PASSWORD", "hunter22")
    monkeypatch.setenv("FS_TOKEN", "hunter23")
    yield
    secrets.clear()


@pytest.fixture
def write(tmp_path):
    return configs.writer(tmp_path / "config.json")


def division(**parts: Any) -> dict[str, Any]:
    """A configuration with one division, of which some parts are said."""
    salesforce = {"client_id": "app", "client_secret": "hunter24", "username": "u", "password": "hunter25"}
    case = {"mapping": {"Subject": "alarm"}, "external_id": {"field": "Key__c", "value": "id"}}
    return {"tenant": {}, "divisions": {"pumps": {"salesforce": salesforce, "case": case, **parts}}}


def sharing(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """A configuration with two divisions on one queue."""
    data = division(**{"source": {"queue": "q"}, "match": {"site": "a"}, **first})
    other = division(**{"source": {"queue": "q"}, "match": {}, **second})
    data["divisions"]["fans"] = other["divisions"]["pumps"]
    return data


# -- a good file


def test_a_good_file_becomes_settings(write):
    config = load(write(GOOD))
    first, second = config.divisions
    assert (first.name, second.name) == ("field-service", "hvac")
    assert first.salesforce == Salesforce(
        login_url="https://acme.my.salesforce.com",
        client_id="app",
        client_secret="hunter21",
        username="fs@example.com",
        password="hunter22",
        security_token="hunter23",
    )
    assert first.case.external_id == ExternalId("Message_Id__c", "$message_id")
    assert first.case.required == ("Subject",)
    assert second.reply == Reply("", "results")
    assert config.broker == shared.BrokerSettings()
    assert config.reserve_percent == 20.0
    assert config.monitoring is None


def test_divisions_stand_in_the_order_of_the_file(write):
    data = copy.deepcopy(GOOD)
    data["divisions"]["field-service"]["match"] = {}
    data["divisions"] = {name: data["divisions"][name] for name in ("hvac", "field-service")}
    data["divisions"]["hvac"]["match"] = {"site": "a"}
    assert [each.name for each in load(write(data)).divisions] == ["hvac", "field-service"]


def test_what_is_left_out_has_the_default_of_the_settings(write):
    config = load(write(division()))
    (pumps,) = config.divisions
    assert pumps.source == shared.Source("sfconnector.pumps", prefetch=400)
    assert (pumps.batch, pumps.limits, pumps.retry) == (shared.Batch(200, 200), shared.Limits(), shared.Retry())
    assert (pumps.match, pumps.reply, pumps.priority, pumps.hold_seconds) == (None, None, "normal", 300.0)
    assert (pumps.case.auto_assign, pumps.case.rate, pumps.case.on_unknown) == (True, None, "retry")
    assert (config.reserve_percent, config.logging) == (10.0, shared.Logging())


def test_a_division_wins_over_the_tenant_key_by_key(write):
    data = division(
        batch={"size": 10},
        limits={"depth": 8},
        retry={"max_s": 5},
        hold_seconds=60,
        reply={"routing_key": "mine"},
        salesforce={"username": "u", "password": "hunter25", "api_version": "65.0"},
    )
    data["tenant"] = {
        "salesforce": {"client_id": "app", "client_secret": "hunter24", "api_version": "61.0", "timeout": 30},
        "batch": {"size": 50, "wait_ms": 1000},
        "limits": {"depth": 16, "records": 5},
        "retry": {"attempts": 2, "max_s": 9},
        "hold_seconds": 120,
        "reply": {"exchange": "results", "routing_key": "all", "from_message": True},
    }
    (pumps,) = load(write(data)).divisions
    assert (pumps.salesforce.api_version, pumps.salesforce.timeout) == ("65.0", 30.0)
    assert (pumps.batch, pumps.source.prefetch) == (shared.Batch(10, 1000), 20)
    assert (pumps.limits.depth, pumps.limits.records) == (8, 5)
    assert (pumps.retry.attempts, pumps.retry.max_s) == (2, 5.0)
    assert pumps.hold_seconds == 60.0
    assert pumps.reply == Reply("results", "mine", True)


@pytest.mark.parametrize("place", ["tenant", "division"])
def test_a_file_of_authorities_begins_at_the_configuration(write, tmp_path, monkeypatch, place):
    monkeypatch.chdir("/")
    Authority(tmp_path)
    data = division()
    section = data["tenant"] if place == "tenant" else data["divisions"]["pumps"]
    section["salesforce"] = section.get("salesforce", {}) | {"tls": {"ca": "ca.pem"}}
    (pumps,) = load(write(data)).divisions
    assert pumps.salesforce.tls == shared.HttpTls(str(tmp_path / "ca.pem"))
    section["salesforce"]["tls"] = {"ca": "none.pem"}
    (problem,) = told(write(data))
    where = "tenant" if place == "tenant" else "divisions.pumps"
    assert problem == f"{where}.salesforce.tls.ca: {tmp_path}/none.pem cannot be read: No such file or directory"


def test_without_its_own_word_a_division_is_as_the_tenant_says(write):
    data = division()
    data["tenant"] = {"hold_seconds": 90, "batch": {"size": 7}, "reply": {"routing_key": "all"}}
    (pumps,) = load(write(data)).divisions
    assert (pumps.hold_seconds, pumps.batch.size, pumps.reply) == (90.0, 7, Reply("", "all"))


def test_divisions_of_one_queue_take_messages_in_one_way(write):
    first, second = load(write(GOOD)).divisions
    assert first.source == second.source == shared.Source("cases", "devices", "topic", ("alarm.#",), prefetch=200)
    assert first.batch == second.batch == shared.Batch(100, 200)


def test_a_queue_without_a_name_is_called_after_its_division(write):
    data = division(source={"exchange": "devices", "routing_keys": ["alarm.pump.#"]})
    (pumps,) = load(write(data)).divisions
    assert (pumps.source.queue, pumps.source.exchange) == ("sfconnector.pumps", "devices")


def test_constants_keep_their_types(write):
    data = changed(["divisions", "hvac", "case", "defaults"], {"Weight__c": 1.10, "IsEscalated": True, "Count__c": 3})
    defaults = load(write(data)).divisions[1].case.defaults
    assert defaults == {"Weight__c": Decimal("1.1"), "IsEscalated": True, "Count__c": 3}


def test_the_external_id_may_be_among_the_required_fields(write):
    required = ["subject", "Message_Id__c", "Asset.Serial_Number__c"]
    config = load(write(changed(["divisions", "field-service", "case", "required"], required)))
    assert config.divisions[0].case.required == tuple(required)


def test_hosts_for_tokens_are_names_of_hosts(write):
    data = changed(["tenant", "salesforce", "instance_hosts"], ["gate.acme.example"])
    assert load(write(data)).divisions[0].salesforce.instance_hosts == ("gate.acme.example",)
    (found,) = told(write(changed(["tenant", "salesforce", "instance_hosts"], ["https://gate.acme.example/"])))
    assert "tenant.salesforce.instance_hosts" in found
    assert "expected the name of a host" in found


def test_a_login_url_loses_its_slash(write):
    data = changed(["tenant", "salesforce", "login_url"], "https://acme.my.salesforce.com/")
    assert load(write(data)).divisions[0].salesforce.login_url == "https://acme.my.salesforce.com"


def test_the_repr_of_the_settings_shows_no_secret(write):
    shown = repr(load(write(changed(["tenant", "amqp", "password"], "swordfish"))))
    assert not [secret for secret in ("hunter21", "hunter22", "hunter23", "swordfish") if secret in shown]


def test_where_one_logs_in_is_no_secret_even_if_it_comes_from_the_environment(write, monkeypatch):
    monkeypatch.setenv("LOGIN", "https://acme.my.salesforce.com")
    load(write(changed(["tenant", "salesforce", "login_url"], "${LOGIN}")))
    assert secrets.redact("https://acme.my.salesforce.com hunter21") == "https://acme.my.salesforce.com [secret]"


def test_offline_nothing_is_resolved_and_nothing_complains(write, monkeypatch):
    for name in ("SF_SECRET", "FS_PASSWORD", "FS_TOKEN"):
        monkeypatch.delenv(name)
    data = changed(["divisions", "hvac", "salesforce"], {"auth": "${A}", "username": "u", "private_key": "${KEY}"})
    data["tenant"]["salesforce"] |= {"login_url": "${LOGIN}", "api_version": "${V}"}
    config = load(write(data), resolve_secrets=False)
    assert config.divisions[0].salesforce.password == "${FS_PASSWORD}"


# -- lanes


@pytest.mark.parametrize(
    ("tenant", "own", "lanes", "prefetch"),
    [
        (None, None, shared.Lanes(), 400),
        ({"count": 4}, None, shared.Lanes(4), 1600),
        ({"count": 4, "key": "device.id"}, {"count": 2}, shared.Lanes(2, "device.id"), 800),
        (None, {"key": "$routing_key"}, shared.Lanes(1, "$routing_key"), 400),
    ],
)
def test_lanes_of_a_division_are_as_the_tenant_says_unless_it_says_otherwise(write, tenant, own, lanes, prefetch):
    data = division(**({"lanes": own} if own else {}))
    data["tenant"] = {"lanes": tenant} if tenant else {}
    (pumps,) = load(write(data)).divisions
    assert (pumps.lanes, pumps.source.prefetch) == (lanes, prefetch)


def test_divisions_of_one_queue_have_lanes_of_their_own_and_take_enough_for_all(write):
    first, second = load(write(sharing({"lanes": {"count": 4, "key": "id"}}, {}))).divisions
    assert (first.lanes, second.lanes) == (shared.Lanes(4, "id"), shared.Lanes())
    assert first.source.prefetch == second.source.prefetch == 2 * 200 * 5


def test_lanes_take_no_more_than_the_rate_gets_done_in_time(write):
    data = division(lanes={"count": 4})
    data["divisions"]["pumps"]["case"]["rate"] = 60
    (pumps,) = load(write(data)).divisions
    assert (pumps.batch.size, pumps.source.prefetch) == (60, 300)


# -- the rate


RATES = [
    # rate, hold_seconds, batch.size, prefetch -> size, prefetch
    (1000, 300, None, None, (200, 400)),
    (200, 300, None, None, (200, 400)),
    (60, 300, None, None, (60, 120)),
    (60, 60, None, None, (30, 60)),
    (60, 300, 20, None, (20, 40)),
    (60, 300, 20, 1000, (20, 40)),
    (1, 300, None, None, (1, 2)),
    (1, 60, None, None, (1, 1)),
]


@pytest.mark.parametrize(("rate", "hold", "size", "prefetch", "taken"), RATES)
def test_no_more_is_taken_than_its_rate_gets_done_in_time(write, rate, hold, size, prefetch, taken):
    data = division(hold_seconds=hold)
    data["divisions"]["pumps"]["case"]["rate"] = rate
    if size:
        data["divisions"]["pumps"]["batch"] = {"size": size}
    if prefetch:
        data["divisions"]["pumps"]["source"] = {"prefetch": prefetch}
    (pumps,) = load(write(data)).divisions
    assert (pumps.batch.size, pumps.source.prefetch) == taken


def test_a_batch_of_each_shard_gets_done_in_time_too(write):
    data = division(source={"shards": 8}, hold_seconds=60)
    data["divisions"]["pumps"]["case"]["rate"] = 60
    (pumps,) = load(write(data)).divisions
    assert (pumps.batch.size, pumps.source.prefetch) == (7, 56)


def test_a_batch_that_is_too_large_for_its_rate_is_a_warning_where_it_stands(write):
    data = division(source={"prefetch": 300})
    data["divisions"]["pumps"]["case"]["rate"] = 30
    data["tenant"] = {"batch": {"size": 100}}
    warnings = load(write(data)).warnings
    assert any("tenant.batch.size: 100 is too many for a rate of 30 a minute" in each for each in warnings)
    assert any("divisions.pumps.source.prefetch: 300 is too many for a rate of 30" in each for each in warnings)


def test_the_slowest_rate_of_a_queue_counts(write):
    data = sharing({}, {})
    data["divisions"]["fans"]["case"]["rate"] = 30
    config = load(write(data))
    assert [each.batch.size for each in config.divisions] == [30, 30]
    assert [each.source.prefetch for each in config.divisions] == [60, 60]


# -- all mistakes at once


def test_five_mistakes_are_five_lines_in_the_order_of_the_file(write):
    file = write(
        """{
  "tenant": {
    "salesforce": {"client_id": "app", "client_secret": "${NOT_SET}"},
    "amqp": {"port": "5672"}
  },
  "divisions": {
    "pumps": {
      "salesforce": {"username": "u"},
      "case": {
        "mapping": {"Subject": "{alarm"},
        "trunkate": true
      }
    }
  }
}
"""
    )
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    assert str(caught.value).splitlines() == [
        f"{file}: line 3: tenant.salesforce.client_secret: the environment variable NOT_SET is not set",
        f'{file}: line 4: tenant.amqp.port: expected a whole number, not the text "5672"; write 5672 without quotes',
        f'{file}: line 8: divisions.pumps.salesforce: "password" is missing: of the user, such as ${{SF_PASSWORD}}',
        f"{file}: line 10: divisions.pumps.case.mapping.Subject: the brace at character 1 of '{{alarm' is not closed",
        f'{file}: line 11: divisions.pumps.case.trunkate: unknown key; did you mean "truncate"?',
    ]


T, A, D = ["tenant"], ["tenant", "salesforce"], ["divisions", "field-service"]
S, C, M, X = [*D, "salesforce"], [*D, "case"], [*D, "case", "mapping"], [*D, "case", "external_id"]
at = "divisions.field-service"
SCHEMA_MISTAKES: list[tuple[list[Any], Any, str]] = [
    (["divisions"], {}, "divisions: expected at least 1 key, not an object"),
    (["divisions"], None, '"divisions" is missing: The divisions, by name'),
    (["divisions", " x"], {"case": {}}, 'divisions." x": expected a name of at most 80 characters'),
    (["tenat"], {}, 'tenat: unknown key; did you mean "tenant"?'),
    ([*T, "broker"], {}, "tenant.broker: unknown key"),
    ([*T, "case"], {}, "tenant.case: unknown key"),
    ([*T, "amqp", "hots"], "x", 'tenant.amqp.hots: unknown key; did you mean "host"?'),
    ([*T, "api_budget"], {"reserve_percent": 101}, "tenant.api_budget.reserve_percent: expected at most 100, not 101"),
    ([*D, "batch"], {"size": 201}, f"{at}.batch.size: expected at most 200, not 201"),
    ([*D, "case", "for_each"], "a..b", f"{at}.case.for_each: unexpected"),
    ([*D, "priority"], "urgent", f'{at}.priority: expected "high", "normal" or "low", not the text "urgent"'),
    ([*D, "case"], None, f'{at}: "case" is missing: The fields of a Case, and how it is created'),
    ([*D, "match"], {"site": []}, f"{at}.match.site: expected at least 1 element, not an empty list"),
    ([*D, "match"], {"site": {}}, f"{at}.match.site: expected at least 1 key, not an object"),
    ([*D, "match"], {"site": None}, f"{at}.match.site: expected a pattern, a list of patterns, or operators such as"),
    ([*D, "match"], [], f"{at}.match: expected at least 1 element, not an empty list"),
    ([*D, "match"], "site", f'{at}.match: expected tests such as {{"temperature": {{"gt": 80}}}}, or a list of them'),
    ([*D, "match"], [{"site": {"gtt": 1}}], f'{at}.match[0].site.gtt: unknown key; did you mean "gt"?'),
    ([*D, "accept_when"], {"t": {"gt": "80"}}, f"{at}.accept_when.t.gt: expected a number"),
    ([*D, "ignore_when"], [{"a": "x"}, {"b..c": "x"}], f'{at}.ignore_when[1]."b..c": unexpected'),
    ([*D, "ignore_when"], {"$result.a.b": 1}, f'{at}.ignore_when."$result.a.b": $result is known to dbconnector only'),
    ([*S, "auth"], "jwt_bearer", f'{at}.salesforce.auth: expected "password", "client_credentials" or "jwt"'),
    ([*S, "login_url"], "acme.my.salesforce.com", f"{at}.salesforce.login_url: expected an address that begins with"),
    ([*S, "api_version"], "62", f'{at}.salesforce.api_version: expected a version such as "62.0", not the text "62"'),
    ([*S, "api_version"], 62.0, f"{at}.salesforce.api_version: expected a version such as"),
    ([*S, "timeout"], 0, f"{at}.salesforce.timeout: expected more than 0, not 0"),
    ([*S, "pasword"], "x", f'{at}.salesforce.pasword: unknown key; did you mean "password"?'),
    ([*S, "password"], 12345, f"{at}.salesforce.password: expected a text in double quotes, not a number"),
    (
        [*C, "defaults"],
        {"Origin": None},
        f"{at}.case.defaults.Origin: expected a constant: a text, a number, true or fa",
    ),
    ([*C, "defaults"], {"My Field": "x"}, f'{at}.case.defaults."My Field": expected the API name of a field'),
    ([*C, "defaults"], {"Asset.Id__c": "x"}, f'{at}.case.defaults."Asset.Id__c": expected the API name of a field'),
    (
        [*M, "a.b.c"],
        "x",
        f'{at}.case.mapping."a.b.c": expected the API name of a field, or Relationship.ExternalIdField',
    ),
    ([*M, "Subject"], 5, f"{at}.case.mapping.Subject: expected a path, a template or an object (a constant is"),
    ([*M, "Subject"], {"pth": "x"}, f'{at}.case.mapping.Subject.pth: unknown key; did you mean "path"?'),
    (
        [*M, "X__c"],
        {"lookup": "Contact", "were": {}},
        f'{at}.case.mapping.X__c.were: unknown key; did you mean "where"?',
    ),
    (
        [*M, "X__c"],
        {"lookup": "a b", "where": {"b": "c"}},
        f"{at}.case.mapping.X__c.lookup: expected the API name of an",
    ),
    (
        [*M, "X__c"],
        {"lookup": "Contact", "where": {"Email": "m"}, "missing": "ignore"},
        f'{at}.case.mapping.X__c.missing: expected "skip" or "reject", not the text "ignore"',
    ),
    (
        [*M, "X__c"],
        {"first_of": ["a", {"lookup": "Contact", "where": {}}]},
        f"{at}.case.mapping.X__c.first_of[1].where: expected at least 1 key",
    ),
    ([*X, "mode"], "insert", f'{at}.case.external_id.mode: expected "create_once" or "upsert"'),
    ([*X, "field"], None, f'{at}.case.external_id: "field" is missing: API name of the field'),
    ([*X, "value"], {"path": "a", "lookup": "Contact"}, f"{at}.case.external_id.value.lookup: unknown key"),
    ([*C, "auto_assign"], "yes", f"{at}.case.auto_assign: expected true, false or the id of an assignment rule"),
    ([*C, "rate"], 0, f"{at}.case.rate: expected at least 1, not 0"),
    (
        [*C, "errors"],
        {"unable": "retry"},
        f"{at}.case.errors.unable: expected a Salesforce error code such as UNABLE_TO",
    ),
    (
        [*C, "errors"],
        {"UNABLE_TO_LOCK_ROW": "again"},
        f'{at}.case.errors.UNABLE_TO_LOCK_ROW: expected "reject", "retry"',
    ),
    ([*C, "duplicate_rule"], {"allow": True}, f"{at}.case.duplicate_rule.allow: unknown key"),
    ([*C, "on_unknown"], "ignore", f'{at}.case.on_unknown: expected "retry" or "dead-letter"'),
]
MEANING_MISTAKES: list[tuple[list[Any], Any, str]] = [
    ([*T, "amqp", "host"], "amqp://u:p@h", "tenant.amqp.host: expected only the host"),
    ([*S, "api_version"], "45.0", f'{at}.salesforce.api_version: expected "46.0" or newer'),
    ([*S, "username"], None, f'{at}.salesforce: "username" is missing: the user that creates the Cases'),
    ([*S, "auth"], "jwt", f'{at}.salesforce: "private_key" is missing: PEM text, such as ${{credential:sf-key}}'),
    ([*S, "login_url"], "http://acme.my.salesforce.com", f"{at}.salesforce.login_url: expected https://; http:// only"),
    ([*S, "login_url"], "https://acme.com:x", f"{at}.salesforce.login_url: expected an address such as https://login"),
    ([*S, "login_url"], "https://u:p@acme.com", f"{at}.salesforce.login_url: expected only the address, such as"),
    (
        [*S, "login_url"],
        "https://acme.com/services/oauth2/token",
        f"{at}.salesforce.login_url: expected only the address; ",
    ),
    ([*M, "Subject"], "a..b", f"{at}.case.mapping.Subject: unexpected"),
    ([*M, "Subject"], {"path": "a", "value": 1}, f"{at}.case.mapping.Subject: exactly one of path"),
    ([*M, "Subject"], "$result.a.b", f"{at}.case.mapping.Subject: $result is known to dbconnector only"),
    ([*M, "X__c"], {"lookup": "Contact"}, f"{at}.case.mapping.X__c: "),
    ([*M, "X__c"], {"path": "a", "where": {"A": "b"}}, f"{at}.case.mapping.X__c: unknown key 'where'"),
    ([*M, "subject"], "x", f"{at}.case.mapping.subject: Subject is the same field: Salesforce does not tell capital"),
    ([*M, "message_id__C"], "x", f"{at}.case.mapping.message_id__C: this is the external id, which {at}.case.exter"),
    ([*C, "defaults"], {"Message_Id__c": "x"}, f"{at}.case.defaults.Message_Id__c: this is the external id, which"),
    ([*C, "required"], ["subject", "Reason"], f"{at}.case.required[1]: nothing in mapping or defaults fills Reason"),
    ([*X, "value"], "$mesage_id", f"{at}.case.external_id.value: unknown $mesage_id"),
    ([*D, "match"], {"a..b": "x"}, f'{at}.match."a..b": unexpected'),
    ([*D, "lanes"], {"key": "$result.a.b"}, f"{at}.lanes.key: $result is known to dbconnector only"),
    ([*D, "lanes", "key"], {"lookup": "Contact"}, f"{at}.lanes.key.lookup: unknown key"),
    ([*D, "lanes", "count"], 0, f"{at}.lanes.count: expected at least 1, not 0"),
    ([*T, "lanes"], {"key": "{a"}, "tenant.lanes.key: the brace at character 1 of '{a' is not closed"),
    ([*D, "match"], {"$result.a.b": "x"}, f'{at}.match."$result.a.b": $result is known to dbconnector only'),
    ([*D, "match"], {}, f'{at}.match: fits every message, so none is left for "hvac"; put it last'),
    (
        [*D, "match"],
        None,
        f'{at}: "match" is missing: the queue cases is also that of "hvac"; say which messages are whose',
    ),
    ([*D, "format"], {"type": "delimited"}, f"{at}.format: "),
    ([*D, "source", "queue"], "dead-letter", f"{at}.source.queue: this is the dead-letter queue"),
    (
        ["divisions", "hvac", "hold_seconds"],
        0.05,
        "divisions.hvac.case.rate: 600 a minute makes every message wait longer",
    ),
    (
        ["divisions", "hvac", "reply"],
        {},
        'divisions.hvac.reply: "routing_key" is missing: the queue that replies go to',
    ),
    (
        ["divisions", "hvac", "reply"],
        {"routing_key": "cases"},
        "divisions.hvac.reply.routing_key: this is a source queue h",
    ),
    (
        ["divisions", "hvac", "reply"],
        {"routing_key": "dead-letter"},
        "divisions.hvac.reply.routing_key: replies would lie",
    ),
    (["divisions", "hvac", "reply"], {"routing_key": "{a"}, "divisions.hvac.reply.routing_key: the brace at"),
    (
        ["divisions", "hvac", "reply"],
        {"routing_key": "r.{site}"},
        "divisions.hvac.reply.routing_key: only properties of the message are known here",
    ),
    (
        ["divisions", "hvac", "reply"],
        {"exchange": "devices", "routing_key": "alarm.x"},
        "divisions.hvac.reply.routing_key: replies would come back as messages: a source queue",
    ),
]


@pytest.mark.parametrize(("path", "value", "said"), SCHEMA_MISTAKES + MEANING_MISTAKES)
def test_a_mistake_is_told_once_with_its_path_and_what_to_write(write, path, value, said):
    (found,) = told(write(changed(path, value)))
    assert found.startswith(said)


def test_a_file_without_a_tenant_is_told_so(write):
    data = division()
    del data["tenant"]
    (found,) = told(write(data))
    assert found.startswith('"tenant" is missing: What all divisions share')


def test_a_key_that_was_refused_in_the_tenant_is_not_called_missing_in_each_division(write):
    assert told(write(changed(["tenant", "salesforce", "client_id"], 5))) == [
        "tenant.salesforce.client_id: expected a text in double quotes, not 5"
    ]


def test_a_mistake_of_the_tenant_is_told_once_not_for_each_division(write):
    assert told(write(changed(["tenant", "salesforce", "login_url"], "http://acme.com"))) == [
        "tenant.salesforce.login_url: expected https://; http:// only for this machine (127.0.0.1)"
    ]


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "127.9.9.9", "[::1]:8080"])
def test_on_this_machine_http_is_enough(write, host):
    config = load(write(changed(["tenant", "salesforce", "login_url"], f"http://{host}")))
    assert {division.salesforce.login_url for division in config.divisions} == {f"http://{host}"}


# -- logging in

FLOWS = [
    ({"auth": "password"}, ["client_id", "client_secret", "username", "password"]),
    ({}, ["client_id", "client_secret", "username", "password"]),
    ({"auth": "client_credentials", "login_url": "https://acme.my.salesforce.com"}, ["client_id", "client_secret"]),
    ({"auth": "client_credentials"}, ["client_id", "client_secret", "login_url"]),
    ({"auth": "jwt"}, ["client_id", "username", "private_key"]),
]


@pytest.mark.parametrize(("section", "needed"), FLOWS)
def test_every_flow_says_what_it_needs(write, section, needed):
    found = told(write(division(salesforce=section)))
    assert [each.partition(":")[0] for each in found] == ["divisions.pumps.salesforce"] * len(needed)
    assert [each.partition('"')[2].partition('"')[0] for each in found] == needed


PEM = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----"
APP = {"client_id": "app", "client_secret": "hunter24", "auth": "client_credentials"}


@pytest.mark.parametrize(
    "section",
    [
        {
            "auth": "jwt",
            "client_id": "app",
            "username": "u",
            "private_key": PEM,
            "audience": "https://test.salesforce.com",
        },
        {**APP, "login_url": "https://acme--uat.sandbox.my.salesforce.com"},
    ],
)
def test_the_flows_that_stay_give_no_warning(write, section):
    assert load(write(division(salesforce=section))).warnings == ()


def test_a_private_key_that_is_none_is_told_but_not_shown(write):
    section = {"auth": "jwt", "client_id": "app", "username": "u", "private_key": "hunter24"}
    (found,) = told(write(division(salesforce=section)))
    assert found.startswith("divisions.pumps.salesforce.private_key: expected a private key as PEM text")
    assert "hunter24" not in found


@pytest.mark.parametrize("host", ["login.salesforce.com", "test.salesforce.com", "LOGIN.salesforce.com"])
def test_client_credentials_need_the_host_of_the_org(write, host):
    assert told(write(division(salesforce={**APP, "login_url": f"https://{host}"}))) == [
        "divisions.pumps.salesforce.login_url: client_credentials needs the org's My Domain, "
        "such as https://acme.my.salesforce.com"
    ]


# -- divisions that share a queue

DISAGREEMENTS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"source": {"queue": "q", "prefetch": 5}}, {"source": {"queue": "q", "prefetch": 6}}, "source.prefetch"),
    (
        {"source": {"queue": "q", "exchange": "e", "routing_keys": ["a"]}},
        {"source": {"queue": "q", "exchange": "e", "routing_keys": ["b"]}},
        "source.routing_keys",
    ),
    ({"batch": {"size": 5}}, {"batch": {"size": 6}}, "batch.size"),
    ({"retry": {"attempts": 5}}, {"retry": {"attempts": 6}}, "retry.attempts"),
    ({"hold_seconds": 60}, {"hold_seconds": 90}, "hold_seconds"),
]


@pytest.mark.parametrize(("first", "second", "where"), DISAGREEMENTS)
def test_divisions_of_one_queue_must_not_contradict_each_other(write, first, second, where):
    text = 'differs from what "pumps" says, which has the same queue: say it once'
    found = [each for each in told(write(sharing(first, second))) if "differs" in each]
    assert found == [f"divisions.fans.{where}: {text}"]


def test_what_one_division_says_about_the_queue_holds_for_the_others(write):
    first, second = load(write(sharing({"hold_seconds": 60}, {"batch": {"wait_ms": 5}}))).divisions
    assert (first.hold_seconds, second.hold_seconds) == (60.0, 60.0)
    assert (first.batch, second.batch) == (shared.Batch(200, 5), shared.Batch(200, 5))


def test_the_default_name_of_a_queue_may_be_that_of_a_shared_one(write):
    data = sharing({}, {})
    del data["divisions"]["pumps"]["source"]
    data["divisions"]["fans"]["source"] = {"queue": "sfconnector.pumps"}
    assert [each.source.queue for each in load(write(data)).divisions] == ["sfconnector.pumps"] * 2


def test_of_three_divisions_each_needs_a_match(write):
    data = sharing({}, {})
    data["divisions"]["lifts"] = copy.deepcopy(data["divisions"]["fans"])
    del data["divisions"]["lifts"]["match"]
    assert told(write(data)) == [
        'divisions.fans.match: fits every message, so none is left for "lifts"; put it last',
        'divisions.lifts: "match" is missing: the queue q is also that of "pumps", "fans"; '
        "say which messages are whose",
    ]


# -- what is allowed but looks wrong

WARNINGS: list[tuple[dict[str, Any], list[str]]] = [
    (division(), ["Salesforce ends the username-password flow on 2027-02-20; jwt and client_credentials stay. It is"]),
    (
        division(salesforce={**APP, "login_url": "https://a.com", "username": "u"}),
        ["divisions.pumps.salesforce.username: is not used by auth client_credentials: the app says which user it is"],
    ),
    (
        division(
            salesforce={**APP, "login_url": "https://a.com"},
            case={"mapping": {"Subject": "a"}},
        ),
        ["divisions.pumps.case: without an external_id a message that comes twice may become two Cases"],
    ),
    (
        division(
            salesforce={**APP, "login_url": "https://a.com"},
            case={"mapping": {"Subject": "a"}, "external_id": {"field": "K__c", "value": "$message_id"}},
            source={"exchange": "amq.topic"},
        ),
        ["divisions.pumps.case.external_id.value: MQTT messages have no message id; take a key such as"],
    ),
    (
        division(
            salesforce={**APP, "login_url": "https://a.com"},
            source={"exchange": "devices"},
            reply={"exchange": "devices", "routing_key": "r.{$message_id}"},
        ),
        ["divisions.pumps.reply.routing_key: replies go to an exchange that messages are taken from"],
    ),
    (
        division(salesforce={**APP, "login_url": "https://a.com"}, source={"shards": 8}, lanes={"key": "device.id"}),
        ["divisions.pumps.lanes.key: the shards are divided by the whole routing key"],
    ),
    *(
        (
            division(salesforce={**APP, "login_url": "https://a.com"}, **{name: {"t": ">80"}}),
            [f"divisions.pumps.{name}.t: '>80' is compared as text"],
        )
        for name in ("match", "accept_when", "ignore_when")
    ),
]


@pytest.mark.parametrize(("data", "said"), WARNINGS)
def test_what_looks_wrong_is_a_warning(write, data, said):
    warnings = load(write(data)).warnings
    assert len(warnings) == len(said)
    assert all(text in warning and warning.startswith("line ") for text, warning in zip(said, warnings, strict=True))


def test_the_end_of_passwords_is_told_once_and_names_the_divisions(write):
    found = [each for each in load(write(GOOD)).warnings if "username-password" in each]
    assert [each.rpartition(". ")[2] for each in found] == ["It is used by field-service, hvac"]


def test_a_shared_queue_is_told_once(write):
    (found,) = [each for each in load(write(GOOD)).warnings if "share the queue" in each]
    assert "divisions.field-service.source: field-service, hvac share the queue cases" in found


def test_divisions_that_share_an_app_share_its_user(write):
    data = sharing(
        {"salesforce": {**APP, "login_url": "https://a.com"}}, {"salesforce": {**APP, "login_url": "https://a.com"}}
    )
    assert any("the same app as pumps, so the same user" in each for each in load(write(data)).warnings)


# -- nothing breaks it


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(junk=configs.nonsense(GOOD))
def test_any_nonsense_is_either_taken_or_told_and_shows_no_secret(write, junk):
    try:
        config = load(write(configs.spoilt(GOOD, junk)))
    except ConfigurationError as error:
        problems = str(error)
    else:
        problems = "\n".join(config.warnings) or "none"
    assert problems
    assert not [secret for secret in ("hunter21", "hunter22", "hunter23") if secret in problems]
