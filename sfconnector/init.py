"""What `sfconnector init` asks, and the configuration that it makes of the answers. Imports only click and the standard
library before that."""

from typing import TYPE_CHECKING, Any

from connectorlib.init.addresses import address, broker
from connectorlib.init.questions import BROKER, NOTHING, WHERE_SECRETS, Answers, Question, fixed, init_command, source

if TYPE_CHECKING:
    from connectorlib.init.files import Sample, Secret, Start
    from sfconnector.explain import Offline

_SANDBOX = "http://127.0.0.1:8080"
_ORG = "https://acme.my.salesforce.com"
#: A user of the sandbox, see sfconnector/sandbox/demo_data.py.
_SANDBOX_USER = "field-service@example.com"


def _is_sandbox(answers: Answers) -> bool:
    return answers["login_url"].startswith("http://")


def _flow(answers: Answers) -> str:
    return "password" if _is_sandbox(answers) else "jwt"


QUESTIONS = (
    Question("division", "The division, as you call those who work on the Cases", fixed("field-service")),
    Question(
        "login-url",
        f"Salesforce: the My Domain of your org ({_ORG}), or `sfconnector sandbox` on this machine",
        fixed(_SANDBOX),
        check=lambda text: _login_url(text),
    ),
    Question(
        "auth",
        "The OAuth flow; Salesforce is ending password",
        _flow,
        choices=("jwt", "client_credentials", "password"),
    ),
    Question(
        "client-id",
        "The consumer key of the connected app",
        lambda answers: "sandbox-app" if _is_sandbox(answers) else None,
    ),
    Question(
        "username",
        "The user that Cases are created by",
        lambda answers: _SANDBOX_USER if _is_sandbox(answers) else None,
        asked=lambda answers: answers["auth"] != "client_credentials",
    ),
    Question(
        "external-id",
        "A field of Case, External ID and Unique, that keeps a message which comes twice one Case (- for none)",
        fixed("Message_Id__c"),
    ),
    BROKER,
    Question("queue", "The queue to read", lambda answers: f"cases.{answers['division']}"),
    Question("exchange", "The exchange that the messages come from (- for none)", fixed("devices")),
    Question(
        "routing-key",
        "Their routing key, with wildcards",
        fixed("alarm.#"),
        asked=lambda answers: answers["exchange"] != NOTHING,
    ),
    WHERE_SECRETS,
)


def make(answers: Answers) -> "Start":
    """Return the configuration for the answers, and what goes with it."""
    from connectorlib.init.files import Start  # late, see the module

    secrets = _secrets(answers)
    sandbox = ("sfconnector sandbox", "in another terminal: a Salesforce to try with; it forgets all at its end")
    return Start(
        program="sfconnector",
        option="-i",
        configuration=_configuration(answers, secrets),
        opened=_opened,
        secrets=list(secrets.values()),
        where=answers["secrets"],
        run=("", "makes Cases, for ever"),
        unit="sfconnector",
        check_unit="sfconnector-check",
        sample=_sample(answers),
        first=sandbox if _is_sandbox(answers) else None,
    )


def _secrets(answers: Answers) -> "dict[str, Secret]":
    """Return the secrets that the flow needs, by the key that each belongs to."""
    from connectorlib.init.files import Secret  # late, see the module

    def known(text: str) -> str:
        return text if _is_sandbox(answers) else ""

    user = answers.get("username", "")
    needed = {"jwt": ("private_key",), "client_credentials": ("client_secret",)}.get(
        answers["auth"], ("client_secret", "password", "security_token")
    )
    each = {
        "private_key": Secret("SF_KEY", "sf-key", "private key of the app's certificate, PEM", several_lines=True),
        "client_secret": Secret(
            "SF_CLIENT_SECRET", "sf-client-secret", "consumer secret of the app", known("sandbox-secret")
        ),
        "password": Secret("SF_PASSWORD", "sf-password", f"of {user}", known("sandbox-password")),
        "security_token": Secret("SF_SECURITY_TOKEN", "sf-security-token", f"of {user}", known("sandbox-token")),
    }
    found = {key: each[key] for key in needed}
    found["amqp"] = Secret("AMQP_PASSWORD", "amqp", f"of the broker's user {broker(answers['broker'])['username']}")
    return found


def _configuration(answers: Answers, secrets: "dict[str, Secret]") -> dict[str, Any]:
    given = {key: secret.reference(answers["secrets"]) for key, secret in secrets.items()}
    amqp = {**broker(answers["broker"]), "password": given.pop("amqp")}
    user = {"username": answers["username"]} if "username" in answers else {}
    division = {
        "// salesforce": "the user of this division; every division has one of its own",
        "salesforce": {**user, **{key: text for key, text in given.items() if key != "client_secret"}},
        "// source": "made and bound at the start where it is missing",
        "source": source(answers),
        "format": {"type": "json"},
        "case": _case(answers),
    }
    app = {"client_secret": given["client_secret"]} if "client_secret" in given else {}
    tenant = {
        "// salesforce": "what all divisions share",
        "salesforce": {
            "login_url": answers["login_url"],
            "auth": answers["auth"],
            "client_id": answers["client_id"],
            **app,
        },
        "amqp": {**amqp, "dead_letter": {"exchange": "dead-letter", "queue": "dead-letter"}},
    }
    return {
        "// what it does": "Messages become Cases, division by division. A key that begins with // is a comment.",
        "// editor": "`sfconnector schema > config.schema.json`, and the next line without // completes and checks",
        "//$schema": "config.schema.json",
        "tenant": tenant,
        "divisions": {answers["division"]: division},
        "// monitoring": "status, health and metrics; a port of its own for each process",
        "monitoring": {"host": "127.0.0.1", "port": 9401},
    }


def _case(answers: Answers) -> dict[str, Any]:
    case: dict[str, Any] = {
        "// defaults": "constants; the mapping wins where it yields something",
        "defaults": {"Origin": "Device"},
        "// mapping": "fields of Case: a path into the message, a template with braces, or an object for more",
        "mapping": {
            "Subject": "Device {device.id}: {alarm}",
            "Description": "{description|} Reported at {at|an unknown time}.",
            "Priority": {"path": "severity", "map": {"1": "Low", "2": "Medium", "3": "High"}, "default": "Medium"},
            "SuppliedEmail": "contact.email",
            "// ContactId": "who is found by the address is linked, who is not is left out",
            "ContactId": {"lookup": "Contact", "where": {"Email": "contact.email"}, "missing": "skip"},
        },
        "// required": "a message without these is dead-lettered",
        "required": ["Subject"],
    }
    if answers["external_id"] != NOTHING:
        case["// external_id"] = "one Case for a device, alarm and time, however often the message comes"
        case["external_id"] = {"field": answers["external_id"], "value": "{device.id}:{alarm}:{at}"}
    return case


def _sample(answers: Answers) -> "Sample":
    from connectorlib.init.files import Sample  # late, see the module

    body: dict[str, Any] = {
        "device": {"id": "p-7"},
        "alarm": "overheated",
        "severity": 3,
        "description": "Bearing at 104 °C.",
        "at": "2026-11-24T03:02:11Z",
        "contact": {"email": "ada.field@example.com"},
    }
    beside = {}
    if answers["exchange"] != NOTHING:
        key = answers["routing_key"].replace("#", "p-7").replace("*", "p-7")
        beside = {"exchange": answers["exchange"], "routing_key": key}
    without = {name: value for name, value in body.items() if name != "alarm"}
    return Sample(
        "an alarm becomes a Case",
        body,
        beside,
        lookups={"Contact": "003000000000001AAA"},
        rejected={"a message without an alarm is rejected": without},
    )


def _login_url(text: str) -> None:
    """Raise ValueError for what is no address of Salesforce."""
    its = address(text, _ORG)
    if its.scheme not in ("https", "http") or not its.host or its.name:
        raise ValueError(f"expected an address such as {_ORG}")
    if its.scheme == "http" and its.host not in ("127.0.0.1", "localhost", "::1"):
        raise ValueError("http:// is for a sandbox on this machine only; an org has https://")


def _opened(file: str) -> "Offline":
    from sfconnector.explain import opened  # late, see the module

    return opened(file)


init = init_command("sfconnector", "config.json", QUESTIONS, make)
