"""The configuration of both connectors as frozen values, after validation. Units are in the names or comments."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from connectorlib.dataclass import dataclass
from connectorlib.values.backoff import Backoff

PREFETCH_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Tls:
    ca: str | None = None  # file of the CA certificates to trust; None: the system's
    cert: str | None = None
    key: str | None = None
    server_name: str | None = None
    verify: bool = True


@dataclass(frozen=True, slots=True)
class HttpTls:
    ca: str | None = None  # file of CA certificates to trust besides the system's


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """A client of a token server, by OAuth 2 client credentials."""

    url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str | None = None
    tls: HttpTls = field(default_factory=HttpTls)


@dataclass(frozen=True, slots=True)
class DeadLetterSettings:
    exchange: str = "dead-letter"
    queue: str = "dead-letter"


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """How to reach the broker. `hosts` are (host, port) pairs; all are tried in turn, without end."""

    hosts: tuple[tuple[str, int], ...] = (("127.0.0.1", 5672),)
    virtual_host: str = "/"
    auth: str = "plain"  # plain | external
    username: str = "guest"  # with external: of the management API alone, "" without
    password: str = field(default="guest", repr=False)
    token: TokenSettings | None = None  # instead of the password; the user is that of the token
    heartbeat: int = 20  # seconds
    declare: str = "create"  # create | passive | never
    tls: Tls | None = None
    dead_letter: DeadLetterSettings = field(default_factory=DeadLetterSettings)


@dataclass(frozen=True, slots=True)
class Source:
    queue: str
    exchange: str | None = None
    exchange_type: str = "topic"
    routing_keys: tuple[str, ...] = ("#",)
    type: str = "quorum"  # of the queue, when it has to be made: quorum | classic
    arguments: Mapping[str, Any] = field(default_factory=dict)
    prefetch: int = 1000
    prefetch_bytes: int = PREFETCH_BYTES  # of the bodies in hand
    shards: int | None = None  # quorum queues that it is divided into, each with one active consumer
    #: What lets several processes read it at the same time; None: they may. Not in the file: a sink says it whose
    #: messages only one process at a time may have.
    one_reader: str | None = None

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that are consumed: its shards, or itself."""
        return tuple(f"{self.queue}.{number}" for number in range(self.shards or 0)) or (self.queue,)

    @property
    def bound(self) -> str:
        """What is bound to the exchange: the queue, or the exchange that divides the messages among its shards."""
        return f"{self.queue}.shards" if self.shards else self.queue


@dataclass(frozen=True, slots=True)
class Destination:
    """`routing_key`, `content_type`, `message_id`, `body`, … are value expressions as written in the file."""

    exchange: str
    exchange_type: str = "topic"
    routing_key: Any = ""
    content_type: Any = None
    message_id: Any = None
    body: Any = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    correlation_id: Any = None
    priority: Any = None
    expiration: Any = None
    rows: int | str | None = None  # of the query in a message: at most so many, or "all"; None: one, not in a list


@dataclass(frozen=True, slots=True)
class Limits:
    body_bytes: int = 1_048_576
    records: int = 10_000
    depth: int = 64
    seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Retry:
    attempts: int = 5
    first_ms: int = 200
    max_s: float = 30.0
    breaker: int = 10
    flood: int = 100
    #: What another attempt may cure is not given up before, however many attempts that makes. Not in the file: a sink
    #: says it whose attempts are shorter than usual.
    patience_s: float = 0.0

    @property
    def backoff(self) -> Backoff:
        return Backoff(self.first_ms / 1000, self.max_s)


@dataclass(frozen=True, slots=True)
class Batch:
    size: int = 500
    wait_ms: int = 0


@dataclass(frozen=True, slots=True)
class Lanes:
    """`key` is a value expression as written in the file; None: no order is kept beyond that of one lane."""

    count: int = 1
    key: Any = None


@dataclass(frozen=True, slots=True)
class Conditions:
    """Which messages are for a flow: conditions as written in the file; None: all of them."""

    accept_when: Any = None
    ignore_when: Any = None


@dataclass(frozen=True, slots=True)
class Logging:
    level: str = "info"
    format: str = "text"  # text | json
    file: str | None = None


@dataclass(frozen=True, slots=True)
class Tracing:
    endpoint: str = "http://127.0.0.1:4318/v1/traces"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    sample: float = 1.0


@dataclass(frozen=True, slots=True)
class Journal:
    """The stream of what became of each delivery. `max_age` in seconds."""

    stream: str = "connector-journal"
    max_age: float = 7 * 86400.0
    max_bytes: int = 1024**3


@dataclass(frozen=True, slots=True)
class Webhook:
    """`tls`: authorities to trust besides those of the system."""

    url: str = field(repr=False)  # of a chat, it lets anyone post
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls: HttpTls = HttpTls()


@dataclass(frozen=True, slots=True)
class Mail:
    host: str
    sender: str
    to: Sequence[str]
    port: int = 587
    tls: str = "starttls"  # starttls | tls | none
    ca: str | None = None
    username: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class NoticeExchange:
    """An empty routing key stands for `connector.EVENT`."""

    exchange: str
    exchange_type: str = "topic"
    routing_key: str = ""


@dataclass(frozen=True, slots=True)
class Notify:
    """Whom to tell about pauses longer than `paused_after` seconds, and about dead letters once in `every` seconds."""

    paused_after: float = 300.0
    every: float = 900.0
    webhook: Webhook | None = None
    mail: Mail | None = None
    exchange: NoticeExchange | None = None


@dataclass(frozen=True, slots=True)
class Monitoring:
    host: str = "127.0.0.1"
    port: int = 9400
    dead_letter_page: str | None = None
    others: Sequence[str] = ()
