"""The section `notify`: what the schema cannot say of it, and its settings."""

from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

from connectorlib.config.broker_rules import review_address, review_ca
from connectorlib.config.json_source import Path
from connectorlib.config.review import Review
from connectorlib.config.sections import exchange_type, http_tls, in_folder
from connectorlib.shared_settings import Mail, NoticeExchange, Notify, Webhook
from connectorlib.values.durations import parse_duration
from connectorlib.values.hosts import is_loopback

HERE: Path = ("notify",)
CHANNELS = ("webhook", "mail", "exchange")
#: The ports that mail servers have for each `tls`.
PORTS = {"starttls": 587, "tls": 465, "none": 25}
_DURATIONS = ("paused_after", "every")


def review_notify(review: Review) -> None:
    """Check the section of a configuration."""
    if review.get(*HERE) is None:
        return
    section = review.section(*HERE)
    for key in _DURATIONS:
        review.duration(*HERE, key)
    if not any(each in section for each in CHANNELS):
        review.missing(HERE, "webhook", ': name whom to tell, by "webhook", "mail" or "exchange"')
    webhook = review.section(*HERE, "webhook")
    if "url" in webhook:
        review_address(review, (*HERE, "webhook", "url"), webhook["url"], "https://chat.example.com/hooks/…")
    if "ca" in webhook.get("tls", {}):
        review_ca(review, (*HERE, "webhook", "tls", "ca"), webhook["tls"]["ca"])
    _review_mail(review, (*HERE, "mail"), review.section(*HERE, "mail"))


def _review_mail(review: Review, here: Path, mail: Mapping[str, Any]) -> None:
    if "ca" in mail:
        review_ca(review, (*here, "ca"), mail["ca"])
    if ("username" in mail) != ("password" in mail):
        missing = "password" if "username" in mail else "username"
        review.missing(here, missing, ": a login needs both")
    if "password" in mail and mail.get("tls") == "none" and not is_loopback(mail.get("host", "")):
        review.problem((*here, "tls"), "the password would be sent unencrypted; use starttls or tls")


def notify_settings(section: Mapping[str, Any] | None, folder: FilePath) -> Notify | None:
    """Return the settings; None without the section: nobody is told. Relative file names start from `folder`."""
    if section is None:
        return None
    return Notify(
        **{key: _seconds(section[key]) for key in _DURATIONS if key in section},
        webhook=_webhook(section["webhook"], folder) if "webhook" in section else None,
        mail=_mail(section["mail"], folder) if "mail" in section else None,
        exchange=_exchange(section["exchange"]) if "exchange" in section else None,
    )


def _seconds(value: str | float) -> float:
    return parse_duration(value) if isinstance(value, str) else float(value)


def _webhook(section: Mapping[str, Any], folder: FilePath) -> Webhook:
    return Webhook(**{**section, "tls": http_tls(section.get("tls", {}), folder)})


def _mail(section: Mapping[str, Any], folder: FilePath) -> Mail:
    values = {"port": PORTS[section.get("tls", "starttls")], **section}
    to = values["to"]
    values["to"] = (to,) if isinstance(to, str) else tuple(to)
    values["sender"] = values.pop("from")
    if "ca" in values:
        values["ca"] = in_folder(values["ca"], folder)
    return Mail(**values)


def _exchange(section: Mapping[str, Any]) -> NoticeExchange:
    return NoticeExchange(section["exchange"], exchange_type(section), section.get("routing_key", ""))
