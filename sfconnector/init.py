"""What `sfconnector init` asks, and how the answers fill its template."""

from dataclasses import replace

from connectorlib.init.addresses import address, broker
from connectorlib.init.config_template import fill, read_template
from connectorlib.init.files import ExampleMessage, Secret, Start
from connectorlib.init.questions import BROKER, NOTHING, SECRETS, Answers, Question, init_command
from sfconnector.explain import opened

_SANDBOX = "http://127.0.0.1:8080"
_ORG = "https://acme.my.salesforce.com"
#: A user of the sandbox, see sfconnector/sandbox/demo_data.py.
_SANDBOX_USER = "field-service@example.com"
_START_SANDBOX = (
    "sfconnector sandbox",
    "in another terminal: a local Salesforce to try with; it keeps nothing when it stops",
)
#: The variables of the secrets that each OAuth flow needs.
_FLOWS = {
    "jwt": ("SF_KEY",),
    "client_credentials": ("SF_CLIENT_SECRET",),
    "password": ("SF_CLIENT_SECRET", "SF_PASSWORD", "SF_SECURITY_TOKEN"),
}


#: The section `alarm`, for the sample message.
_ALARM = {
    "key": "{device.id}:{alarm}",
    "at": "at",
    "clear_when": {"state": ["ok", "cleared"]},
    "repeat": {"comment": "{$count} times, last {at|at an unknown time}"},
    "clear": {"after": "2m", "comment": "cleared"},
}


def _is_per_alarm(answers: Answers) -> bool:
    return answers["one_case_per"] == "alarm"


def _is_sandbox(answers: Answers) -> bool:
    return answers["login_url"].startswith("http://")


QUESTIONS = (
    Question("division", "Name of the division: the team that works on the Cases", "field-service"),
    Question(
        "login-url",
        f"Salesforce: the My Domain of your org ({_ORG}), or `sfconnector sandbox` on this machine",
        _SANDBOX,
        check=lambda text: _check_login_url(text),
    ),
    Question(
        "auth",
        "The OAuth flow; Salesforce is ending password",
        lambda answers: "password" if _is_sandbox(answers) else "jwt",
        choices=("jwt", "client_credentials", "password"),
    ),
    Question(
        "client-id",
        "The consumer key of the connected app",
        lambda answers: "sandbox-app" if _is_sandbox(answers) else None,
    ),
    Question(
        "username",
        "The user that creates the Cases",
        lambda answers: _SANDBOX_USER if _is_sandbox(answers) else None,
        asked=lambda answers: answers["auth"] != "client_credentials",
    ),
    Question(
        "one-case-per",
        "Create one Case for each message, or for each alarm and count its repeats",
        "message",
        choices=("message", "alarm"),
    ),
    Question(
        "external-id",
        "A field of Case, External ID and Unique, so that a message delivered twice is one Case (- for none)",
        "Message_Id__c",
        asked=lambda answers: not _is_per_alarm(answers),
    ),
    BROKER,
    Question("queue", "The queue to read", lambda answers: f"cases.{answers['division']}"),
    Question("exchange", "The exchange that the messages come from (- for none)", "devices"),
    Question(
        "routing-key",
        "Routing key of the messages, with wildcards",
        "alarm.#",
        asked=lambda answers: answers["exchange"] != NOTHING,
    ),
    SECRETS,
)


def make(answers: Answers) -> Start:
    """Return the configuration for the answers, and what goes with it."""
    secrets, bound, user = _secrets(answers), answers["exchange"] != NOTHING, broker(answers["broker"])
    external_id = {"field": answers.get("external_id"), "value": "{device.id}:{alarm}:{at}"}
    values = {
        **user,
        "broker_user": user["username"],
        **{secret.variable: secret.reference(answers["secrets"]) for secret in secrets},
        **{key: answers[key] for key in ("login_url", "auth", "client_id", "division", "queue")},
        "username": answers.get("username"),
        "exchange": answers["exchange"] if bound else None,
        "routing_keys": [answers["routing_key"]] if bound else None,
        "external_id": external_id if answers.get("external_id", NOTHING) != NOTHING else None,
        "alarm": _ALARM if _is_per_alarm(answers) else None,
    }
    return Start(
        program="sfconnector",
        option="-i",
        configuration=fill(read_template("sfconnector", "config.json"), values),
        opened=opened,
        secrets=secrets,
        secret_source=answers["secrets"],
        run=("", "creates Cases until stopped"),
        unit="sfconnector",
        check_unit="sfconnector-check",
        message=_message(answers),
        first=_START_SANDBOX if _is_sandbox(answers) else None,
    )


def _secrets(answers: Answers) -> list[Secret]:
    user = answers.get("username", "")
    every = (
        Secret("SF_KEY", "sf-key", "private key of the app's certificate, PEM", several_lines=True),
        Secret("SF_CLIENT_SECRET", "sf-client-secret", "consumer secret of the app", "sandbox-secret"),
        Secret("SF_PASSWORD", "sf-password", f"of {user}", "sandbox-password"),
        Secret("SF_SECURITY_TOKEN", "sf-security-token", f"of {user}", "sandbox-token"),
    )
    needed = [each for each in every if each.variable in _FLOWS[answers["auth"]]]
    if not _is_sandbox(answers):
        needed = [replace(each, known="") for each in needed]
    return [*needed, Secret("AMQP_PASSWORD", "amqp", f"of the broker's user {broker(answers['broker'])['username']}")]


def _message(answers: Answers) -> ExampleMessage:
    envelope = {}
    if answers["exchange"] != NOTHING:
        key = answers["routing_key"].replace("#", "p-7").replace("*", "p-7")
        envelope = {"exchange": answers["exchange"], "routing_key": key}
    return ExampleMessage(
        "an alarm becomes a Case",
        read_template("sfconnector", "message.json"),
        "alarm",
        "a message without an alarm is rejected",
        envelope,
        lookups={"Contact": "003000000000001AAA"},
    )


def _check_login_url(text: str) -> None:
    """Raise ValueError for what cannot be an address of Salesforce."""
    parts = address(text, _ORG)
    if parts.scheme not in ("https", "http") or not parts.host or parts.name:
        raise ValueError(f"expected an address such as {_ORG}")
    if parts.scheme == "http" and parts.host not in ("127.0.0.1", "localhost", "::1"):
        raise ValueError("http:// is for a sandbox on this machine only; an org has https://")


init = init_command("sfconnector", "config.json", QUESTIONS, make)
