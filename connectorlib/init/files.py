"""Writes what `init` has put together, after the connector itself has said what it makes of it. Nothing is written over
unless that was asked for."""

import json
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from connectorlib.errors import ConfigurationError, Failed
from connectorlib.expressions import json_text
from connectorlib.preflight import tests_file
from connectorlib.preflight.explanation import Explanation, Given, Offline
from connectorlib.preflight.message_options import made_up
from connectorlib.service.process import ExitCode, exit_code

WIDTH = 110


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret that the configuration refers to by one of three ways. `known`: what it is where that is no secret."""

    variable: str
    #: As the systemd units that come along call it.
    credential: str
    about: str
    known: str = ""
    #: A text of several lines, which no variable of the environment should hold.
    several_lines: bool = False

    def reference(self, where: str) -> str:
        """Return what stands for it in the configuration."""
        if where == "credential":
            return f"${{credential:{self.credential}}}"
        return f"${{file:{self.file}}}" if self.in_file(where) else f"${{{self.variable}}}"

    def in_file(self, where: str) -> bool:
        return where == "file" or (where == "env" and self.several_lines)

    @property
    def file(self) -> str:
        return f"{self.credential}.{'pem' if self.several_lines else 'pw'}"


@dataclass(frozen=True, slots=True)
class Sample:
    """A message that the configuration takes, and others that it rejects: by a sentence, the body."""

    name: str
    body: Mapping[str, Any]
    #: `exchange` and `routing_key`.
    beside: Mapping[str, str] = field(default_factory=dict)
    lookups: Mapping[str, Any] = field(default_factory=dict)
    rejected: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Start:
    """What is to be written, and what to do with it."""

    program: str
    option: str
    configuration: Mapping[str, Any]
    #: Opens the configuration without secrets, and raises Failed if it is wrong.
    opened: Callable[[str], Offline | None]
    secrets: Sequence[Secret]
    where: str
    #: The command that makes it run, and what that does.
    run: tuple[str, str]
    #: The systemd units that do the same.
    unit: str
    check_unit: str
    sample: Sample | None = None
    #: What has to run first, and what that is.
    first: tuple[str, str] | None = None


def refuse_to_overwrite(target: str, *, force: bool) -> None:
    """Raise UsageError if a file is there already, before anything is asked."""
    there = [name for name in (target, message_of(target), tests_file.path_for(target)) if Path(name).exists()]
    if there and not force:
        verb = "is" if len(there) == 1 else "are"
        raise click.UsageError(f"{', '.join(there)} {verb} there already; --force writes over, -c names another file")


def message_of(target: str) -> str:
    """Return where the sample message is: `db.config.message.json`, `config.message.json` of `config.json`."""
    return tests_file.path_for(target).removesuffix(".tests.json") + ".message.json"


def write(start: Start, target: str, *, force: bool) -> ExitCode:
    """Write the files and say what is next; return 78 if the connector refuses what the answers have come to."""
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
    click.echo("\n".join(_said(start, target, list(texts))))
    return ExitCode.DONE


def _texts(start: Start, name: str) -> dict[str, str]:
    """Return the files by name, with the tests as the connector itself fills them in. Raise Failed."""
    texts = {name: laid_out(start.configuration)}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_text(texts[name], "utf-8")
        try:
            offline = start.opened(str(file))
        except ConfigurationError as error:
            raise ConfigurationError(name, error.problems) from None  # the folder is nobody's business
    if start.sample is not None and offline is not None:
        texts[message_of(name)] = laid_out(start.sample.body)
        tests = list(_tests(start.sample, offline))
        note = f"run with `{start.program} test {start.option} {name}`; needs no network and no secret"
        texts[tests_file.path_for(name)] = laid_out({"// what it is": note, "tests": tests})
    return texts


def _tests(sample: Sample, offline: Offline) -> Iterator[dict[str, Any]]:
    """Yield the tests: what each message becomes is what the connector itself makes of it."""
    given: dict[str, Any] = {"lookups": dict(sample.lookups)} if sample.lookups else {}
    for name, body in {sample.name: sample.body, **sample.rejected}.items():
        message = json_text(body).encode()
        delivery = made_up(message, queue=offline.queues("", "")[0], properties={}, **sample.beside)
        explanation = offline.explain(delivery, Given(lookups=sample.lookups))
        yield {"name": name, "message": {**sample.beside, "body": body}, **given, **_outcome(explanation)}


def _outcome(explanation: Explanation) -> dict[str, Any]:
    """Return what has become of a message, by the words of a tests file."""
    if explanation.rejection is not None:
        return {"rejected": explanation.rejection.failure.code}
    found: dict[str, Any] = json.loads(json_text(dict(explanation.data)))
    if "cases" in found:
        (found["case"],) = found.pop("cases")
    return found


def laid_out(value: Any) -> str:
    """Return JSON for a person: what fits into a line, and has no comments in it, stands in one."""
    return _layout(value, "", outermost=True) + "\n"


def _layout(value: Any, indent: str, *, outermost: bool = False, before: int = 0) -> str:
    line = json.dumps(value, ensure_ascii=False)
    fits = len(indent) + before + len(line) <= WIDTH and '"//' not in line and not outermost
    if fits or not isinstance(value, (Mapping, list)) or not value:
        return line
    inner = indent + "  "
    if isinstance(value, Mapping):
        keys = [f"{json.dumps(str(name), ensure_ascii=False)}: " for name in value]
        parts = [key + _layout(each, inner, before=len(key)) for key, each in zip(keys, value.values(), strict=True)]
        return "{\n" + ",\n".join(inner + part for part in parts) + f"\n{indent}}}"
    return "[\n" + ",\n".join(inner + _layout(each, inner) for each in value) + f"\n{indent}]"


def _said(start: Start, target: str, names: Sequence[str]) -> Iterator[str]:
    yield f"Written: {', '.join(names)}"
    yield ""
    yield "Passwords are not in it. Before the next commands:"
    yield from _in_columns([_how_to_give(secret, start, Path(target).parent) for secret in start.secrets])
    if start.first:
        yield from _in_columns([start.first])
    yield ""
    yield "Then:"
    yield from _in_columns(list(_next(start, target)))
    if start.sample is not None:
        yield ""
        yield f"`{_command(start, 'test', target)}` proves it again after each change."


def _next(start: Start, target: str) -> Iterator[tuple[str, str]]:
    """Yield the commands to run next, each with what it does."""
    if start.sample is not None:
        sample = shlex.quote(message_of(target))
        yield f"{_command(start, 'explain', target)} {sample}", "what the sample message would become"
    run, about = start.run
    if start.where == "credential":  # which only a unit has
        yield f"systemctl start {start.check_unit}", "does it fit what is there? See config/systemd"
        yield f"systemctl enable --now {start.unit}", about
    else:
        yield _command(start, "check", target), "does it fit what is there?"
        yield _command(start, run, target), about


def _command(start: Start, command: str, target: str) -> str:
    words = (start.program, command, start.option, shlex.quote(target))
    return " ".join(word for word in words if word)


def _in_columns(lines: Sequence[tuple[str, str]]) -> Iterator[str]:
    width = max(len(command) for command, _ in lines)
    for command, about in lines:
        yield f"  {command:<{width}}   # {about}"


def _how_to_give(secret: Secret, start: Start, folder: Path) -> tuple[str, str]:
    if start.where == "credential":
        return f"LoadCredential={secret.credential}:/path in {start.unit}", secret.about
    if secret.in_file(start.where):
        return f"install -m 600 /dev/stdin {shlex.quote(str(folder / secret.file))}", secret.about
    if secret.known:
        return f"export {secret.variable}={shlex.quote(secret.known)}", secret.about
    return f"read -rs {secret.variable} && export {secret.variable}", secret.about
