"""Writes the files of `init`, after the connector itself has proved them, and prints the commands to run next. An
existing file is kept unless --force is given."""

import json
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

import click

from connectorlib.dataclass import dataclass
from connectorlib.errors import ConfigurationError, Failed
from connectorlib.init.config_template import laid_out
from connectorlib.preflight import tests_file
from connectorlib.preflight.explanation import Explanation, Given, Offline, RowOffline, together
from connectorlib.preflight.message_options import Envelope
from connectorlib.service.exit_codes import ExitCode
from connectorlib.service.process import exit_code
from connectorlib.values.text import json_text

#: Where secrets are looked up; the configuration holds references only.
SECRET_SOURCES = ("env", "file", "credential")


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret that the configuration refers to, by its name in each of the three places where it can be."""

    variable: str
    #: As in the systemd units of this project.
    credential: str
    about: str
    #: Its value, for a sandbox where it is no secret.
    known: str = ""
    #: A text of several lines, which no environment variable should hold.
    several_lines: bool = False

    def reference(self, source: str) -> str:
        """Return the reference in the configuration."""
        if source == "credential":
            return f"${{credential:{self.credential}}}"
        return f"${{file:{self.file}}}" if self.in_file(source) else f"${{{self.variable}}}"

    def in_file(self, source: str) -> bool:
        return source == "file" or (source == "env" and self.several_lines)

    @property
    def file(self) -> str:
        return f"{self.credential}.{'pem' if self.several_lines else 'pw'}"


@dataclass(frozen=True, slots=True)
class ExampleMessage:
    """A message that the configuration takes, and one without a field, which it rejects."""

    name: str
    body: Mapping[str, Any]
    missing: str
    rejected_name: str
    envelope: Mapping[str, str] = field(default_factory=dict)
    lookups: Mapping[str, Any] = field(default_factory=dict)
    #: Whether it is a row that is published instead.
    is_row: bool = False

    @property
    def kind(self) -> str:
        """The word for it in file names, options and tests files."""
        return "row" if self.is_row else "message"

    def bodies(self) -> dict[str, Mapping[str, Any]]:
        """Return the bodies by the names of their tests."""
        without = {name: value for name, value in self.body.items() if self.is_row or name != self.missing}
        if self.is_row:  # every row has all columns
            without[self.missing] = None
        return {self.name: self.body, self.rejected_name: without}


@dataclass(frozen=True, slots=True)
class Start:
    """What to write, and how to go on."""

    program: str
    option: str
    configuration: Mapping[str, Any]
    #: Opens the configuration without secrets, and raises Failed if it is wrong.
    opened: Callable[[str], Offline | None]
    secrets: Sequence[Secret]
    secret_source: str
    #: The command that runs it, and what that does.
    run: tuple[str, str]
    unit: str
    check_unit: str
    message: ExampleMessage | None = None
    #: The command to run before, and what it does.
    first: tuple[str, str] | None = None

    def command(self, command: str, target: str) -> str:
        return " ".join(word for word in (self.program, command, self.option, shlex.quote(target)) if word)


def refuse_to_overwrite(target: str, *, force: bool) -> None:
    """Raise UsageError if one of the files exists."""
    samples = [sample_path(target, kind) for kind in ("message", "row")]
    existing = [name for name in (target, *samples, tests_file.path_for(target)) if Path(name).exists()]
    if existing and not force:
        verb = "exists" if len(existing) == 1 else "exist"
        raise click.UsageError(f"{', '.join(existing)} {verb}; --force overwrites, -c names another file")


def sample_path(target: str, kind: str) -> str:
    """Return the file of the sample: `db.config.message.json`, `config.message.json` for `config.json`."""
    return f"{tests_file.path_for(target).removesuffix('.tests.json')}.{kind}.json"


def write(start: Start, target: str, *, force: bool) -> ExitCode:
    """Write the files and print what is next; return 78 if the connector refuses the configuration."""
    try:
        texts = _texts(start, Path(target).name)
    except Failed as failed:
        click.echo(str(failed), err=True)
        return exit_code(failed.failure)
    try:
        for name, text in texts.items():
            with Path(target).with_name(name).open("w" if force else "x", encoding="utf-8") as out:
                out.write(text)
    except OSError as error:
        raise click.ClickException(f"{error.filename} cannot be written: {error.strerror}") from error
    click.echo("\n".join(_report(start, target, list(texts))))
    return ExitCode.DONE


def _texts(start: Start, name: str) -> dict[str, str]:
    """Return the texts of the files by name. Raise Failed if the connector refuses the configuration."""
    texts = {name: laid_out(start.configuration)}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_text(texts[name], "utf-8")
        try:
            offline = start.opened(str(file))
        except ConfigurationError as error:
            raise ConfigurationError(name, error.problems) from None  # its path would name the temporary folder
    if start.message is not None and offline is not None:
        texts[sample_path(name, start.message.kind)] = laid_out(start.message.body)
        note = f"run with `{start.program} test {start.option} {name}`; needs no network and no secret"
        tests = list(_tests(start.message, offline))
        texts[tests_file.path_for(name)] = laid_out({"// what it is": note, "tests": tests})
    return texts


def _tests(message: ExampleMessage, offline: Offline) -> Iterator[dict[str, Any]]:
    """Yield the tests, with the outcomes that the connector itself gives."""
    given: dict[str, Any] = {"lookups": dict(message.lookups)} if message.lookups else {}
    for name, body in message.bodies().items():
        if message.is_row:
            assert isinstance(offline, RowOffline)
            explanation = together(offline.explain_rows([body]))
            yield {"name": name, "row": body, **_outcome(explanation)}
            continue
        delivery = Envelope(message.envelope.get("exchange"), message.envelope.get("routing_key")).delivery(
            json_text(body).encode(), offline.queues("", "")[0]
        )
        explanation = offline.explain(delivery, Given(lookups=message.lookups))
        yield {"name": name, "message": {**message.envelope, "body": body}, **given, **_outcome(explanation)}


def _outcome(explanation: Explanation) -> dict[str, Any]:
    """Return the outcome in the words of a tests file."""
    if explanation.rejection is not None:
        return {"rejected": explanation.rejection.failure.code}
    found: dict[str, Any] = json.loads(json_text(dict(explanation.data)))
    if "cases" in found:
        (found["case"],) = found.pop("cases")
    if "published" in found:
        found["published"] = {name: found["published"][name] for name in ("exchange", "routing_key", "body")}
    return found


# -- what is printed at the end


def _report(start: Start, target: str, names: Sequence[str]) -> Iterator[str]:
    yield f"Written: {', '.join(names)}"
    yield ""
    yield "The configuration contains no passwords. Set them before the next commands:"
    yield from _in_columns([_how_to_give(secret, start, Path(target).parent) for secret in start.secrets])
    if start.first:
        yield from _in_columns([start.first])
    yield ""
    yield "Then:"
    yield from _in_columns(list(_next_commands(start, target)))
    if start.message is not None:
        yield ""
        yield f"Run `{start.command('test', target)}` after each change."


def _next_commands(start: Start, target: str) -> Iterator[tuple[str, str]]:
    if start.message is not None:
        sample = shlex.quote(sample_path(target, start.message.kind))
        option = "--row " if start.message.is_row else ""
        yield f"{start.command('explain', target)} {option}{sample}", f"what the sample {start.message.kind} becomes"
    run, about = start.run
    if start.secret_source == "credential":  # noqa: S105  # only a unit has credentials
        yield f"systemctl start {start.check_unit}", "check it against the live systems; see config/systemd"
        yield f"systemctl enable --now {start.unit}", about
    else:
        yield start.command("check", target), "check it against the live systems"
        yield start.command(run, target), about


def _in_columns(lines: Sequence[tuple[str, str]]) -> Iterator[str]:
    width = max(len(command) for command, _ in lines)
    for command, about in lines:
        yield f"  {command:<{width}}   # {about}"


def _how_to_give(secret: Secret, start: Start, folder: Path) -> tuple[str, str]:
    if start.secret_source == "credential":  # noqa: S105  # the name of a source
        return f"LoadCredential={secret.credential}:/path in {start.unit}", secret.about
    if secret.in_file(start.secret_source):
        return f"install -m 600 /dev/stdin {shlex.quote(str(folder / secret.file))}", secret.about
    if secret.known:
        return f"export {secret.variable}={shlex.quote(secret.known)}", secret.about
    return f"read -rs {secret.variable} && export {secret.variable}", secret.about
