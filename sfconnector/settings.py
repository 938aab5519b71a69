"""The configuration of sfconnector as frozen values, after validation. Units are in the names or comments."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from connectorlib.dataclass import dataclass
from connectorlib.shared_settings import (
    Batch,
    BrokerSettings,
    Conditions,
    HttpTls,
    Journal,
    Lanes,
    Limits,
    Logging,
    Monitoring,
    Notify,
    Retry,
    Source,
    Tracing,
)
from sfconnector.alarms.alarm import AlarmRules

#: Salesforce takes at most 200 Cases in one call.
DEFAULT_BATCH = Batch(200, 200)
#: Repeats of an alarm are counted together, so a batch may take its time.
ALARM_BATCH = Batch(200, 5000)
DEFAULT_HOLD_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Salesforce:
    """Log-in and API of a division. Which secrets are needed depends on `auth`."""

    login_url: str = "https://login.salesforce.com"
    auth: str = "password"  # password | client_credentials | jwt
    client_id: str = ""
    client_secret: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    security_token: str = field(default="", repr=False)
    private_key: str | None = field(default=None, repr=False)  # PEM
    audience: str | None = None  # of the JWT; None: the login_url, as far as Salesforce knows it
    api_version: str = "62.0"
    composite: bool = True  # whether the org takes several calls in one
    instance_hosts: tuple[str, ...] = ()  # that a token may be sent to, besides Salesforce's and login_url's
    timeout: float = 120.0  # seconds for one answer; connecting has a shorter limit
    tls: HttpTls = field(default_factory=HttpTls)


@dataclass(frozen=True, slots=True)
class ExternalId:
    """A unique external-id field of Case, which makes a message that is delivered twice one Case."""

    field: str
    value: Any  # value expression
    mode: str = "create_once"  # create_once | upsert
    missing: str = "reject"  # reject | accept


@dataclass(frozen=True, slots=True)
class Severity:
    """How bad an alarm is: `path` yields one of `order`, the lowest first; some have a value of `case_field`."""

    path: Any
    order: tuple[str, ...]
    case_field: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Silence:
    """Messages that only count, from one time to another (seconds since 1970)."""

    match: Any
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class AlarmSettings:
    """One open Case for each alarm. `key`, `at` and `event` are value expressions; durations are seconds."""

    key: Any
    rules: AlarmRules
    at: Any = None
    event: Any = "$message_id"
    #: A condition; None: no message clears an alarm.
    clear_when: Any = None
    object: str = "Alarm__c"
    case_key: str = "Alarm_Key__c"
    case_alarm: str = "Alarm__c"
    severity: Severity | None = None
    #: Templates of comments, by occasion.
    comments: Mapping[str, Any] = field(default_factory=dict)
    #: A condition over the fields of a Case that is never reopened; None: each may be.
    never: Any = None
    silence: tuple[Silence, ...] = ()
    #: Older raises create no Case; 0: however old they are.
    max_age: float = 0.0
    #: How far the time of a device may be off before that of its arrival is taken.
    late: float = 600.0
    #: `one`: no other process reads the queue, whatever it is.
    writers: str | None = None

    @property
    def never_fields(self) -> tuple[str, ...]:
        """The fields of Case that `never` looks at."""
        objects = self.never if isinstance(self.never, list) else [self.never or {}]
        return tuple(dict.fromkeys(name for tests in objects for name in tests))


@dataclass(frozen=True, slots=True)
class CaseSettings:
    """The fields of a Case. `mapping` holds value expressions, by Case field or `Relationship.ExternalIdField`."""

    defaults: Mapping[str, Any] = field(default_factory=dict)
    mapping: Mapping[str, Any] = field(default_factory=dict)
    #: A value expression for a list, each element of which becomes a Case; None: the record becomes one.
    for_each: Any = None
    external_id: ExternalId | None = None
    required: tuple[str, ...] = ()
    #: The field that tells what was left out (`invalid`); None: none.
    note_field: str | None = None
    truncate: bool = False
    on_unknown: str = "retry"  # retry | dead-letter
    auto_assign: bool | str = True  # or the id of an assignment rule
    #: Of Sforce-Duplicate-Rule-Header: allow_save, include_record_details, run_as_current_user.
    duplicate_rule: Mapping[str, bool] = field(default_factory=dict)
    rate: int | None = None  # Cases per minute
    errors: Mapping[str, str] = field(default_factory=dict)  # Salesforce code: kind, or `done`
    alarm: AlarmSettings | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    exchange: str = ""
    routing_key: Any = ""  # text or template
    from_message: bool = False


@dataclass(frozen=True, slots=True)
class Division:
    name: str
    salesforce: Salesforce
    source: Source
    case: CaseSettings
    format: Mapping[str, Any] = field(default_factory=lambda: {"type": "json"})
    #: The condition that selects messages of a shared queue; None: the queue is not shared.
    match: Any = None
    conditions: Conditions = field(default_factory=Conditions)
    priority: str = "normal"  # high | normal | low
    batch: Batch = DEFAULT_BATCH
    #: Calls under way at the same time, and which messages keep their order.
    lanes: Lanes = field(default_factory=Lanes)
    limits: Limits = field(default_factory=Limits)
    retry: Retry = field(default_factory=Retry)
    hold_seconds: float = DEFAULT_HOLD_SECONDS
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class SfConfig:
    file: str
    broker: BrokerSettings
    divisions: tuple[Division, ...]
    reserve_percent: float = 10.0  # of the org's API calls, not for low-priority divisions
    logging: Logging = field(default_factory=Logging)
    monitoring: Monitoring | None = None
    journal: Journal | None = None
    notify: Notify | None = None
    tracing: Tracing | None = None
    #: Probable mistakes; logged at the start.
    warnings: tuple[str, ...] = ()
