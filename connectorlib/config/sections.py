"""Makes the values of connectorlib.shared_settings of the valid sections that both connectors have. Pure."""

from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from connectorlib.shared_settings import (
    Batch,
    BrokerSettings,
    Conditions,
    DeadLetterSettings,
    Destination,
    HttpTls,
    Journal,
    Lanes,
    Limits,
    Logging,
    Monitoring,
    Retry,
    Source,
    Tls,
    TokenSettings,
    Tracing,
)
from connectorlib.values.durations import parse_duration
from connectorlib.values.hosts import parse_host

Section = Mapping[str, Any]

PLAIN_PORT, TLS_PORT = 5672, 5671

#: The types of the exchanges that every broker has, by name.
BUILT_IN_EXCHANGES = {
    "amq.direct": "direct",
    "amq.fanout": "fanout",
    "amq.headers": "headers",
    "amq.match": "headers",
    "amq.topic": "topic",
    "amq.rabbitmq.trace": "topic",
}
DEFAULT_ROUTING_KEYS: Mapping[str, tuple[str, ...]] = {"topic": ("#",), "fanout": ("",), "headers": ("",)}
#: Keys of `broker` whose values are settings as they are.
_PLAIN_KEYS = ("virtual_host", "auth", "username", "password", "heartbeat", "declare")


def broker_settings(section: Section, folder: FilePath) -> BrokerSettings:
    """Return the settings of `broker` or `amqp`; relative file names start from `folder`."""
    tls = tls_settings(section, folder)
    port = section.get("port", TLS_PORT if tls else PLAIN_PORT)
    plain = {key: section[key] for key in _PLAIN_KEYS if key in section}
    if "vhost" in section:
        plain.setdefault("virtual_host", section["vhost"])
    token = token_settings(section["token"], folder) if "token" in section else None
    if token or section.get("auth") == "external":
        plain = {"username": token.client_id if token else "", "password": "", **plain}
    return BrokerSettings(
        hosts=tuple((name, own or port) for name, own in map(parse_host, host_texts(section))),
        tls=tls,
        token=token,
        dead_letter=DeadLetterSettings(**section.get("dead_letter", {})),
        **plain,
    )


def host_texts(section: Section) -> list[str]:
    host = section.get("host", BrokerSettings().hosts[0][0])
    return [host] if isinstance(host, str) else list(host)


def tls_settings(section: Section, folder: FilePath) -> Tls | None:
    """Return the TLS settings; without the key `tls`, TLS is on if every host's port is 5671."""
    given = section.get("tls")
    if given is None:
        given = all(port == TLS_PORT for port in ports(section))
    if isinstance(given, bool):
        return Tls() if given else None
    files = {key: in_folder(given[key], folder) for key in ("ca", "cert", "key") if key in given}
    return Tls(**{**given, **files})


def token_settings(section: Section, folder: FilePath) -> TokenSettings:
    return TokenSettings(**{**section, "tls": http_tls(section.get("tls", {}), folder)})


def http_tls(section: Section, folder: FilePath) -> HttpTls:
    """Return the settings of `tls` where a server is reached by HTTP."""
    return HttpTls(**{key: in_folder(file, folder) for key, file in section.items()})


def ports(section: Section) -> list[int]:
    """Return the port of each host."""
    return [own or section.get("port", PLAIN_PORT) for _, own in map(parse_host, host_texts(section))]


def in_folder(file: str, folder: FilePath) -> str:
    return str(folder / file)


def exchange_type(section: Section) -> str:
    """Return the type of the exchange of a source or destination."""
    built_in = BUILT_IN_EXCHANGES.get(section.get("exchange", ""))
    return built_in or str(section.get("exchange_type", "topic"))


def source_settings(section: Section, batch: Batch, lanes: Lanes = Lanes()) -> Source:  # noqa: B008 - frozen
    kind = exchange_type(section)
    values = {**section, "exchange_type": kind}
    values["routing_keys"] = tuple(section.get("routing_keys", DEFAULT_ROUTING_KEYS.get(kind, ())))
    prefetch = section.get("prefetch", 2 * batch.size * lanes.count)
    values["prefetch"] = max(prefetch, batch.size * section.get("shards", 0))  # each shard can fill a batch
    return Source(**values)


def destination_settings(section: Section) -> Destination:
    kind = "direct" if section["exchange"] == "" else exchange_type(section)
    return Destination(**{**section, "exchange_type": kind})


def batch_settings(section: Section, default: Batch | None = None) -> Batch:
    default = default or Batch()
    return Batch(size=section.get("size", default.size), wait_ms=section.get("wait_ms", default.wait_ms))


def conditions(section: Section) -> Conditions:
    return Conditions(section.get("accept_when"), section.get("ignore_when"))


def limits(section: Section) -> Limits:
    return Limits(**_with_floats(section, "seconds"))


def retry(section: Section) -> Retry:
    return Retry(**_with_floats(section, "max_s"))


def logging_settings(section: Section, folder: FilePath) -> Logging:
    file = section.get("file")
    return Logging(**{**section, "file": in_folder(file, folder) if file else None})


def monitoring(section: Section | None) -> Monitoring | None:
    """Return None without the section: no port."""
    return None if section is None else Monitoring(**{**section, "others": tuple(section.get("others", ()))})


def journal(section: Section | None) -> Journal | None:
    """Return None without the section: no journal."""
    if section is None:
        return None
    age = {"max_age": parse_duration(section["max_age"])} if "max_age" in section else {}
    return Journal(**{**section, **age})


def tracing(section: Section | None) -> Tracing | None:
    """Return None without the section: no traces."""
    return None if section is None else Tracing(**_with_floats(section, "sample"))


def _with_floats(section: Section, *keys: str) -> dict[str, Any]:
    return {key: float(value) if key in keys else value for key, value in section.items()}


def lines_of(text: str | Sequence[str]) -> str:
    """Return SQL that is one text or a list of lines."""
    return text if isinstance(text, str) else "\n".join(text)
