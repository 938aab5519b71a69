"""The checks of the shared sections that a schema cannot express, such as those of two values at once.

A value that the schema refused is absent here, so that each mistake of a file is reported once, all at the same time.
"""

import ssl
from collections.abc import Callable, Collection, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path as FilePath
from typing import Any
from urllib.parse import SplitResult, urlsplit

from connectorlib.config import file_modes
from connectorlib.config.document import Document, open_document
from connectorlib.config.json_source import Path
from connectorlib.config.schema import Schema
from connectorlib.config.sections import (
    BUILT_IN_EXCHANGES,
    DEFAULT_ROUTING_KEYS,
    PLAIN_PORT,
    TLS_PORT,
    exchange_type,
    host_texts,
    in_folder,
)
from connectorlib.expressions import (
    Condition,
    Expression,
    Extra,
    compile_condition,
    compile_expression,
    compile_template,
    doubts,
    objects_of,
)
from connectorlib.formats import compile_format
from connectorlib.shared_settings import PREFETCH_BYTES, Batch, DeadLetterSettings, Limits
from connectorlib.values.durations import parse_duration
from connectorlib.values.hosts import is_loopback, parse_host
from connectorlib.values.text import listed

#: Bytes of bodies in flight that are worth a warning.
MUCH_MEMORY = 2 * 1024**3
_MAX_ROUTING_KEY = 255  # bytes, AMQP 0-9-1 shortstr; of names too


class Review:
    """Collects the mistakes (`problem`) and the doubtful values (`warn`) of one document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.warnings: list[str] = []
        self._found: list[tuple[Path, str]] = []

    def problem(self, path: Path, text: str) -> None:
        """Add a problem with a value, unless a part of that value was refused already."""
        if not any(refused[: len(path)] == path for refused in self.document.refused):
            self._found.append((path, text))

    def missing(self, path: Path, key: str, why: str) -> None:
        """Add that a key is missing, unless its value was refused."""
        if (*path, key) not in self.document.refused:
            self._found.append((path, f'"{key}" is missing{why}'))

    def warn(self, path: Path, text: str) -> None:
        self.warnings.append(str(self.document.problem(path, text)))

    def attempt(self, path: Path, compile: Callable[[], Any]) -> Any:
        """Return what `compile` returns; for a ValueError add a problem and return None."""
        try:
            return compile()
        except ValueError as error:
            self.problem(path, str(error))
            return None

    def duration(self, *path: str | int) -> None:
        """Add a problem for a text that is not a duration."""
        value = self.get(*path)
        if isinstance(value, str) and path not in self.document.pending:
            self.attempt(path, lambda: parse_duration(value))

    def section(self, *path: str | int) -> Mapping[str, Any]:
        """Return the object at a path, else an empty one."""
        value = self.get(*path)
        return value if isinstance(value, dict) else {}

    def get(self, *path: str | int) -> Any:
        """Return the value at a path, else None."""
        node: Any = self.document.data
        for key in path:
            try:
                node = node[key]
            except (LookupError, TypeError):  # missing, or not an object
                return None
        return node

    def finish(self) -> None:
        """Raise ConfigurationError if there are problems."""
        self.document.fail(self.document.problem(path, text) for path, text in self._found)


def reviewed(
    path: str | FilePath,
    schema: Schema,
    review: Callable[[Review], None],
    *,
    resolve_secrets: bool | Collection[str] = True,
    text: str | None = None,
) -> tuple[Document, tuple[str, ...]]:
    """Return the document of a file and the warnings, after the checks of its schema and of `review`. Raise
    ConfigurationError with all problems.

    With `resolve_secrets=False` references stay as written, for commands that work offline. It may also name the
    sections whose references are needed. `text`: what would be in the file.
    """
    document = open_document(path, schema, resolve_secrets=resolve_secrets, text=text)
    found = Review(document)
    _review_secrets(found)
    if resolve_secrets and "tracing" in document.data and not _has_opentelemetry():
        found.problem(("tracing",), "needs OpenTelemetry: pip install 'amqp-connectors[otel]'")
    found.duration("journal", "max_age")
    review(found)
    found.finish()
    return document, tuple(dict.fromkeys(found.warnings))


def _review_secrets(review: Review) -> None:
    """Warn of passwords in a file that others can read; a secret file that others can read is an error."""
    for path in review.document.literals:
        file = review.document.file_of(path)
        if not file_modes.is_open(file):
            continue
        keep = "or write ${file:/path}, ${credential:name} or ${NAME} instead"
        review.warn(path, f"a secret in a file that is not private: {file_modes.advice(file)}, {keep}")


def _has_opentelemetry() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:  # a parent package is missing
        return False


# -- the broker


def review_broker(review: Review, path: Path) -> None:
    section = review.section(*path)
    found = [_review_host(review, path, section, at, text) for at, text in enumerate(host_texts(section))]
    if None not in found:
        _review_tls(review, path, section, {port for port in found if port})
    if section.get("auth") == "external":
        _review_external(review, path, section)
    if isinstance(section.get("token"), dict):
        _review_token(review, path, section)
    for key in ("exchange", "queue"):
        if str(section.get("dead_letter", {}).get(key, "")).startswith("amq."):
            review.problem((*path, "dead_letter", key), "names that begin with amq. are reserved by the broker")
    if len({section[key] for key in ("virtual_host", "vhost") if key in section}) > 1:
        review.problem((*path, "vhost"), "differs from virtual_host; remove one of the two")
    if section.get("heartbeat", 20) < 5:
        review.warn((*path, "heartbeat"), "below 5 seconds, a busy network is mistaken for a dead connection")


def _review_host(review: Review, path: Path, section: Mapping[str, Any], at: int, text: str) -> int | None:
    """Return the port of a host, 0 if it has none, None if the host is wrong."""
    where: Path = (*path, "host", at) if isinstance(section.get("host"), list) else (*path, "host")
    host = review.attempt(where, lambda: parse_host(text))
    return None if host is None else host[1] or section.get("port", 0)


def _review_tls(review: Review, path: Path, section: Mapping[str, Any], ports: set[int]) -> None:
    tls = section.get("tls")
    if tls is None and TLS_PORT in ports and len(ports | {section.get("port", TLS_PORT)}) > 1:
        review.missing(path, "tls", f": some hosts have port {TLS_PORT}, others not; say true or false")
    if tls is False and ports == {TLS_PORT}:
        review.warn((*path, "tls"), f"off, although {TLS_PORT} is the port for TLS")
    if (tls is True or isinstance(tls, dict)) and ports == {PLAIN_PORT}:
        review.warn((*path, "tls"), f"on, although {PLAIN_PORT} is the port without TLS")
    if isinstance(tls, dict):
        _review_tls_files(review, (*path, "tls"), tls)


def _review_external(review: Review, path: Path, section: Mapping[str, Any]) -> None:
    tls = section.get("tls")
    if not isinstance(tls, dict):
        review.missing(path, "tls", ': "auth": "external" logs in with the certificate that tls.cert names')
    elif "cert" not in tls:
        review.missing((*path, "tls"), "cert", ': "auth": "external" logs in with it')
    for key, other in (("username", "password"), ("password", "username")):
        if key in section and other not in section:
            review.missing(path, other, f': with "auth": "external", {key} is for the management API, which needs both')


def _review_token(review: Review, path: Path, section: Mapping[str, Any]) -> None:
    for key in ("password", "username"):
        if key in section:
            review.problem((*path, key), "the token is used to log in; remove this")
    if section.get("auth") == "external":
        review.problem((*path, "token"), 'no token with "auth": "external", where the certificate is the login')
    token, here = section["token"], (*path, "token")
    if "url" in token:
        review_address(review, (*here, "url"), token["url"], "https://login.example.com/oauth2/token")
    if "ca" in token.get("tls", {}):
        review_ca(review, (*here, "tls", "ca"), token["tls"]["ca"])


def review_address(review: Review, path: Path, url: str, example: str) -> SplitResult | None:
    """Return the parts of an address to which secrets are sent; add a problem and return None if it is not one. It is
    not quoted, for it may come from a secret."""
    if path in review.document.pending:
        return None
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for a bad port
    except ValueError:
        review.problem(path, f"expected an address such as {example}")
        return None
    if not parts.hostname or parts.username is not None or parts.fragment:
        review.problem(path, f"expected only the address, such as {example}")
    elif parts.scheme == "http" and not is_loopback(parts.hostname):
        review.problem(path, "expected https://; http:// only for this machine (127.0.0.1)")
    else:
        return parts
    return None


def _review_tls_files(review: Review, path: Path, tls: Mapping[str, Any]) -> None:
    if "key" in tls and "cert" not in tls:
        review.missing(path, "cert", ": a key needs its certificate")
    if tls.get("verify") is False:
        review.warn(
            (*path, "verify"),
            "the broker's certificate is not verified: anyone on the network path can read everything",
        )
    if "ca" in tls:
        review_ca(review, (*path, "ca"), tls["ca"])
    for key in ("cert", "key"):
        if key in tls:
            review_file(review, (*path, key), tls[key])
    private = "key" if "key" in tls else "cert"  # a certificate's file may hold its key too
    if private in tls:
        file = in_folder(tls[private], review.document.folder)
        if file_modes.holds_key(file) and file_modes.is_open(file):
            review.problem((*path, private), f"a private key in a file that is not private: {file_modes.advice(file)}")


def review_ca(review: Review, path: Path, file: str) -> None:
    """Add a problem for a file that cannot be read, or is not one of certificates."""
    name = in_folder(file, review.document.folder)
    if review_file(review, path, file):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(name)
        except ssl.SSLError:
            review.problem(path, f"{name} holds no certificates as PEM text, which begins with -----BEGIN CERTIFICATE")


def review_file(review: Review, path: Path, file: str) -> bool:
    """Return whether a file can be read; add a problem if it cannot."""
    name = in_folder(file, review.document.folder)
    try:
        with open(name, "rb", opener=file_modes.regular):
            return True
    except OSError as error:
        review.problem(path, f"{name} cannot be read: {error.strerror}")
        return False


# -- source and destination


def review_source(review: Review, path: Path, dead_letter: DeadLetterSettings, batch: Batch, limits: Limits) -> None:
    """Check one source, whose dead letters must not come back to it."""
    section = review.section(*path)
    _review_exchange(review, path, section)
    _review_bindings(review, path, section)
    _review_arguments(review, path, section)
    if section.get("shards"):
        _review_shards(review, path, section)
    if section.get("queue") == dead_letter.queue:
        review.problem(
            (*path, "queue"), "this is the dead-letter queue: dead letters would be consumed in an endless loop"
        )
    if section.get("exchange") == dead_letter.exchange:
        review.problem(
            (*path, "exchange"), "this is the dead-letter exchange: dead letters would be consumed in an endless loop"
        )
    prefetch = section.get("prefetch", 2 * batch.size)
    most = max(section.get("prefetch_bytes", PREFETCH_BYTES), limits.body_bytes)
    if most > MUCH_MEMORY:
        text = f"bodies may take {most / 1024**3:.0f} GiB of memory; lower it, or limits.body_bytes if that is larger"
        review.warn((*path, "prefetch_bytes"), text)
    if prefetch < batch.size:
        text = f"{prefetch} is less than batch.size, so a batch is never full; the default is 2 × batch.size"
        review.warn((*path, "prefetch"), text)


def review_destination(review: Review, path: Path, dead_letter: DeadLetterSettings) -> None:
    section = review.section(*path)
    _review_exchange(review, path, section)
    key = section.get("routing_key", "")
    if section.get("exchange") == "amq.topic" and "/" in key:
        review.problem((*path, "routing_key"), f"{mqtt_hint(key)} here; MQTT adds the slashes itself")
    if section.get("exchange") == "" and not key:
        review.missing(path, "routing_key", ": with the default exchange it is the name of the queue")
    if section.get("exchange") == dead_letter.exchange:
        review.warn((*path, "exchange"), "this is the dead-letter exchange: rows would be mistaken for dead letters")


def _review_exchange(review: Review, path: Path, section: Mapping[str, Any]) -> None:
    built_in = BUILT_IN_EXCHANGES.get(section.get("exchange", ""))
    given = section.get("exchange_type")
    if built_in and given and given != built_in:
        review.problem((*path, "exchange_type"), f"{section['exchange']} is a {built_in} exchange on every broker")


def _review_bindings(review: Review, path: Path, section: Mapping[str, Any]) -> None:
    keys = section.get("routing_keys")
    exchange, kind = section.get("exchange"), exchange_type(section)
    if exchange is None:
        for key in ("routing_keys", "exchange_type"):
            if key in section:
                review.missing(path, "exchange", f': "{key}" belongs to the exchange that the queue is bound to')
        return
    if keys is None and kind not in DEFAULT_ROUTING_KEYS:
        review.missing(path, "routing_keys", f': a {kind} exchange needs it, such as ["{section.get("queue")}"]')
    for at, key in enumerate(keys or ()):
        where: Path = (*path, "routing_keys", at)
        if len(key.encode("utf-8", "replace")) > _MAX_ROUTING_KEY:
            review.problem(where, f"expected at most {_MAX_ROUTING_KEY} bytes in UTF-8")
        if exchange == "amq.topic" and ("/" in key or "+" in key):
            review.problem(where, f"{mqtt_hint(key)} here")


def mqtt_hint(key: str) -> str:
    """Return the routing key for an MQTT topic: `MQTT devices/+/temp is devices.*.temp`."""
    words = ["*" if word == "+" else word for word in key.split("/")]
    return f"MQTT {key} is {'.'.join(words)}"


def _review_arguments(review: Review, path: Path, section: Mapping[str, Any]) -> None:
    arguments = section.get("arguments", {})
    where = (*path, "arguments")
    if "x-queue-type" in arguments:
        review.problem((*where, "x-queue-type"), 'set the type of the queue in "type", not here')
    limit = arguments.get("x-delivery-limit", 0)
    if isinstance(limit, int) and limit < 0:
        # RabbitMQ 3.10 accepts -1 and drops every message when it is requeued first.
        text = "must not be negative: older brokers accept that and drop every redelivered message; use a large number"
        review.problem((*where, "x-delivery-limit"), text)


def _review_shards(review: Review, path: Path, section: Mapping[str, Any]) -> None:
    if section.get("type", "quorum") != "quorum":
        review.problem((*path, "type"), "shards are quorum queues")
    single = "x-single-active-consumer"
    if section.get("arguments", {}).get(single, True) is not True:
        review.problem((*path, "arguments", single), "each shard has a single active consumer")
    if len(section.get("queue", "").encode("utf-8", "replace")) > _MAX_ROUTING_KEY - len(".shards"):
        review.problem((*path, "queue"), "too long: the names of the shards and their exchange begin with it")


def review_shard_key(review: Review, path: Path, key: Any, source: Mapping[str, Any]) -> None:
    """Compare the key of the lanes, which is found at `path`, with what the shards of a source are divided by."""
    if "shards" in source and key not in (None, "$routing_key"):
        text = (
            "the shards are divided by the whole routing key, and this is another key: it keeps its order only where "
            "devices publish with it as routing key, or an exchange puts it there; if so, write $routing_key"
        )
        review.warn(path, text)


# -- formats and expressions


def review_format(review: Review, path: Path, limits: Limits) -> None:
    section = review.section(*path)
    if "type" in section:
        review.attempt(path, lambda: compile_format(section, limits))


def review_expression(
    review: Review, path: Path, spec: Any, extra: Mapping[str, Extra] | None = None
) -> Expression | None:
    """Return the compiled expression; add a problem and return None if it is wrong."""
    compiled: Expression | None = review.attempt(path, lambda: compile_expression(spec, extra=extra))
    return compiled


def review_template(review: Review, path: Path, text: Any) -> Expression | None:
    compiled: Expression | None = review.attempt(path, lambda: compile_template(text))
    return compiled


def review_condition(review: Review, path: Path, results: str = "") -> list[tuple[Path, Expression]]:
    """Check a condition such as `when` or `match`; return its expressions and where each is. `results`: why none of
    them may use `$result`."""
    spec = review.get(*path)
    found = []
    for position, tests in enumerate(objects_of(spec)):
        where = path if tests is spec else (*path, position)
        for text, wanted in tests.items() if isinstance(tests, dict) else ():
            compiled: Condition | None = review.attempt((*where, text), partial(compile_condition, {text: wanted}))
            found += [((*where, text), each) for each in compiled.expressions] if compiled else []
            if compiled and (doubt := doubts(wanted)):
                review.warn((*where, text), doubt)
    for where, expression in found if results else ():
        if expression.uses_results:
            review.problem(where, results)
    return found


def review_key(review: Review, path: Path, exchange: str | None) -> None:
    """Check the expression that identifies a message; `exchange` is the one of its source."""
    key = review.get(*path)
    compiled = None if key is None else review_expression(review, path, key)
    if compiled is None:
        return
    if compiled.uses_results:
        review.problem(path, f"$result is not available when the key is evaluated: {listed(compiled.uses_results)}")
    if exchange == "amq.topic" and compiled.paths == ("$message_id",):
        text = "MQTT messages have no message id; take a key such as {$routing_key}@{at}"
        review.warn(path, text)
