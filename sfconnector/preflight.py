"""The checks of `check` in Salesforce, for each division: log-in, API version, mapped fields, lookups, API calls left.
Changes nothing; each division logs in once."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial

from connectorlib.errors import NEVER, Failed, Failure, Kind
from connectorlib.expressions import compile_expression
from connectorlib.messages import Delivery
from connectorlib.preflight import certificates, check_broker, check_notices
from connectorlib.preflight.check_command import CheckOptions, check_command
from connectorlib.preflight.check_topology import Sending
from connectorlib.preflight.findings import Finding, Group, bad, failed, good, odd
from connectorlib.preflight.sample import Sample
from connectorlib.service.http_client import advice, host_of, proxy_of
from connectorlib.values.text import did_you_mean
from sfconnector import config as configuration
from sfconnector import mapping_check
from sfconnector.explain import Offline
from sfconnector.login_rules import END_OF_PASSWORDS
from sfconnector.lookup import Answers, Lookup, Lookups
from sfconnector.mapping import CaseMapper, Decoded
from sfconnector.mapping_check import warnings
from sfconnector.salesforce.client import CASE, Client
from sfconnector.salesforce.describe import Described
from sfconnector.salesforce.login import TokenProvider
from sfconnector.settings import Division, SfConfig

_DO = {
    Kind.UNAVAILABLE: "is login_url right, does a firewall let it through, is HTTPS_PROXY missing?",
    Kind.REFUSED: "correct the login",
}
#: Codes of what never got an answer; with any other one Salesforce has answered, so address and network are right.
_UNANSWERED = frozenset({"unreachable", "timeout", "no-answer"})
_AWAY = "Salesforce answers, but is not there for this now: status.salesforce.com says more; try again later"
_LOCKS = "correct the login before anything retries: too many bad logins lock the user"
#: So many API versions end on one day.
_RETIRED_AT_A_TIME = 10
#: Types whose values are not quoted in a query.
_BARE = frozenset({"boolean", "int", "long", "double", "currency", "percent", "date", "datetime"})


def load(file: str) -> SfConfig:
    """Return the configuration, without the warnings that are findings here."""
    config = configuration.load(file)
    return replace(config, warnings=tuple(each for each in config.warnings if END_OF_PASSWORDS not in each))


def plan(config: SfConfig, options: CheckOptions) -> Sequence[Group]:
    """Return the groups of checks: the broker, each division, the sample, the channels of `notify`."""
    sample = options.sample
    replies = [division for division in config.divisions if division.reply is not None]
    needs = check_broker.Needs(
        config.broker,
        "sfconnector",
        tuple(division.source for division in config.divisions),
        tuple(Sending(f"reply of {each.name}", each.reply.exchange) for each in replies if each.reply is not None),
        config.journal,
        config.notify,
        config.file,
    )
    offline = Offline(config)
    deliveries = sample.deliveries(offline) if sample else []
    groups: list[Group] = [("broker", lambda: check_broker.findings(needs, options.management_url))]
    for division in config.divisions:
        group = partial(
            findings, config, division, sample, [each for each in deliveries if _is_for(offline, division, each)]
        )
        groups.append((division.name, group))
    if sample is not None:
        lost = [each for each in deliveries if not any(_is_for(offline, it, each) for it in config.divisions)]
        groups.append(("sample", lambda: [sample.finding(offline, each, offline.explain(each)) for each in lost]))
    return [
        *groups,
        *check_notices.groups(config.notify, config.broker, "sfconnector", "sfconnector", test=options.test_notice),
    ]


def _is_for(offline: Offline, division: Division, delivery: Delivery) -> bool:
    try:
        return offline.division_of(delivery).name == division.name
    except (Failed, LookupError):
        return False


def findings(
    config: SfConfig, division: Division, sample: Sample | None = None, deliveries: Iterable[Delivery] = ()
) -> Iterator[Finding]:
    """Yield the findings for one division. Raise Failed if Salesforce stops answering."""
    name = division.name
    yield from _end_of_passwords(division)
    yield from _key_certificate(division)
    tokens = TokenProvider(division.salesforce, name)
    with closing(Client(division.salesforce, name, tokens, division.case.errors)) as client:
        about = f"login of {name}"
        try:
            token = client.log_in()
        except Failed as error:
            yield failed(about, error.failure, what_to_do(error.failure))
            return
        user = division.salesforce.username or f"user {token.user_id}"
        proxy = proxy_of(token.instance_url)
        through = f" through the proxy {host_of(proxy)}" if proxy else ""
        yield good(about, f"{user} at {token.instance_url}{through} (this was one login)")
        version = _version(client, division)
        yield version
        if version.kind is not None:
            return
        described = Described(client.describe(CASE))
        yield from _mapping(client, division, described)
        mapper = CaseMapper(division.case, division.format, division.limits)
        yield from _lookups(client, division, mapper.lookups)
        yield _limits(client, config, name)
        yield from _lanes(division)
        if sample is not None:
            yield from _sample(config, division, client, described, sample, deliveries)


# -- the log-in


def what_to_do(failure: Failure) -> str:
    """Return what a person can do about a log-in that failed."""
    if failure.retry_after == NEVER:
        return _LOCKS
    if of_the_way := advice(failure.code):
        return of_the_way
    if failure.kind is Kind.UNAVAILABLE and failure.code not in _UNANSWERED:
        return _AWAY
    return _DO.get(failure.kind, "correct the division's salesforce section")


def _end_of_passwords(division: Division, today: date | None = None) -> Iterator[Finding]:
    if division.salesforce.auth != "password":
        return
    about, do = f"auth of {division.name}", "change auth to jwt or client_credentials"
    left = (date.fromisoformat(END_OF_PASSWORDS) - (today or datetime.now(UTC).date())).days
    if left > 0:
        yield odd(about, f"Salesforce ends the username-password flow on {END_OF_PASSWORDS}, in {left} days", do)
    else:
        yield odd(about, f"Salesforce has ended the username-password flow on {END_OF_PASSWORDS}", do)


def _key_certificate(division: Division) -> Iterator[Finding]:
    """Check the certificate, which is often in the file of the key."""
    end = certificates.in_pem(division.salesforce.private_key or "")
    if end is not None:
        do = "make a new key and certificate, and upload the certificate to the connected app"
        yield certificates.finding(f"certificate of {division.name}", end, do)


def _version(client: Client, division: Division) -> Finding:
    about, version = f"API of {division.name}", division.salesforce.api_version
    known = client.versions()
    if not known:
        return good(about, f"version {version}; the org does not say which it has")
    if version in known:
        return version_in_use(about, version, known)
    text = f"the org has no version {version}, only {known[0]} to {known[-1]}"
    return bad(about, text, "correct api_version", Kind.CONFIGURATION)


def version_in_use(about: str, version: str, known: Sequence[str]) -> Finding:
    """Return the finding for an API version that the org has; `known` are all of them, oldest first. Salesforce retires
    the oldest ones, ten at a time, years after it has announced that (REST API guide, API End-of-Life Policy)."""
    text = f"version {version}; the org has {known[0]} to {known[-1]}"
    if len(known) > _RETIRED_AT_A_TIME and version in known[:_RETIRED_AT_A_TIME]:
        return odd(about, f"{text}, and Salesforce retires the oldest first", f"set api_version to {known[-1]}")
    return good(about, text)


def _limits(client: Client, config: SfConfig, name: str) -> Finding:
    about, usage = f"API calls of {name}", client.limits()
    if usage.maximum <= 0:
        return odd(about, "the org does not say how many are left", "let the user view the setup")
    left = max(0, usage.maximum - usage.used)
    text = f"{left:,} of {usage.maximum:,} left in 24 hours"
    if not left:
        return odd(about, f"{text}: calls are made until Salesforce refuses one", "see who uses them up, or buy more")
    if usage.left_percent < config.reserve_percent:
        return odd(about, f"{text}: divisions of low priority are paused", "see who uses them up")
    return good(about, text)


def _lanes(division: Division) -> Iterator[Finding]:
    lanes = division.lanes
    if lanes.count > 1 or lanes.key is not None:
        order = "in no order" if lanes.key is None else f"in the order of each {compile_expression(lanes.key).text}"
        calls = f"{lanes.count} calls at a time" if lanes.count > 1 else "one call at a time"
        yield good(f"lanes of {division.name}", f"{calls}, {order}")


# -- the mapping


def _mapping(client: Client, division: Division, described: Described) -> Iterator[Finding]:
    about = f"case of {division.name}"

    def related(name: str) -> Described:
        return Described(client.describe(name))

    problems = mapping_check.check(division.case, described, related)
    do = "correct the mapping, or the field in Salesforce"
    yield from (bad(about, problem, do, Kind.CONFIGURATION) for problem in problems)
    yield from (odd(about, warning) for warning in warnings(division.case, described))
    if problems:
        return
    fields = len({*division.case.mapping, *division.case.defaults})
    yield good(about, f"all {fields} fields are there and may be filled" if fields > 1 else "its field may be filled")
    if division.case.external_id is not None:
        yield good(about, f"{division.case.external_id.field} is a unique external id")
    if division.case.alarm is not None:
        yield good(about, f"{division.case.alarm.object} and its fields are there for the alarms")


def _lookups(client: Client, division: Division, lookups: Sequence[Lookup]) -> Iterator[Finding]:
    known: dict[str, Described | Failure] = {}
    for lookup in lookups:
        name = lookup.search.sobject
        about = f"lookup of {division.name}"
        if name not in known:
            known[name] = _described(client, name)
        answer = known[name]
        if isinstance(answer, Failure):
            yield bad(about, f"{name}: {answer.code} {answer.text}", "correct lookup", Kind.CONFIGURATION)
            continue
        problems = list(_lookup_problems(lookup, answer))
        yield from (bad(about, problem, "correct the lookup", Kind.CONFIGURATION) for problem in problems)
        if not problems:
            yield good(about, f"{lookup.place.removeprefix('lookup ')} may be asked for")


def _described(client: Client, name: str) -> Described | Failure:
    try:
        return Described(client.describe(name))
    except Failed as error:
        if error.failure.kind not in (Kind.CONFIGURATION, Kind.REJECT):
            raise
        return error.failure


def _lookup_problems(lookup: Lookup, described: Described) -> Iterator[str]:
    names = [field.name for field in described.fields]
    for name, _, bare in lookup.where:
        first, dot, _ = name.partition(".")
        field = described.relationship(first) if dot else described.field(first)
        if field is None:
            yield f"{described.name} has no {'relationship' if dot else 'field'} {first}{did_you_mean(first, names)}"
        elif not dot and field.type in _BARE and not bare:
            yield f'{described.name}.{name} is of type {field.type}: its value in "where" needs a "type"'
    first, dot, _ = lookup.field.partition(".")
    if (described.relationship(first) if dot else described.field(first)) is None:
        yield f"{described.name} has no {'relationship' if dot else 'field'} {first}{did_you_mean(first, names)}"


# -- the sample


def _sample(
    config: SfConfig,
    division: Division,
    client: Client,
    described: Described,
    sample: Sample,
    deliveries: Iterable[Delivery],
) -> Iterator[Finding]:
    """Map the sample with the org's fields and lookups."""
    mapper = CaseMapper(division.case, division.format, division.limits, described)
    offline = Offline(config, {division.name: mapper})
    lookups = Lookups()

    def fetch(mapper: CaseMapper, records: Sequence[Decoded]) -> Answers:
        return lookups.fetch(client, mapper.wanted(records))

    for delivery in deliveries:
        yield sample.finding(offline, delivery, offline.explain(delivery, fetch=fetch))


check = check_command(
    "sfconnector",
    "config.json",
    systems="broker and Salesforce",
    remark="Each division logs in once, which Salesforce's login history shows.",
    load=load,
    plan=plan,
)
