"""What `init` asks, and the command itself, alike in both connectors. Every question is an option too. Imports only
click and the standard library before the command runs."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from connectorlib.init.addresses import broker
from connectorlib.service.cli_options import HELP_OPTIONS, config_option

if TYPE_CHECKING:
    from connectorlib.init.files import Start

Answers = Mapping[str, str]

#: The answer to what can be left out.
NOTHING = "-"
#: Where a secret is looked up: what the configuration holds is never more than a reference to it.
SECRETS = ("env", "file", "credential")


class Question(NamedTuple):
    """One thing to know. The name is that of the option."""

    name: str
    text: str
    #: What Enter takes, by what was answered before; None: something has to be said.
    default: Callable[[Answers], str | None]
    choices: tuple[str, ...] = ()
    #: Whether it makes sense after what was answered before.
    asked: Callable[[Answers], bool] = lambda answers: True
    #: Raises ValueError for what cannot be meant.
    check: Callable[[str], object] = str

    @property
    def key(self) -> str:
        return self.name.replace("-", "_")

    def checked(self, value: str) -> str:
        """Return the answer. Raise BadParameter for a wrong one."""
        try:
            self.check(value)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint=f"--{self.name}") from error
        return value


def fixed(text: str) -> Callable[[Answers], str]:
    """Return the default of a question that is always the same."""
    return lambda answers: text


BROKER = Question(
    "broker",
    "RabbitMQ, as amqp://USER@HOST[:PORT]/VHOST (amqps: with TLS), without the password",
    fixed("amqp://guest@127.0.0.1/"),
    check=broker,
)
WHERE_SECRETS = Question(
    "secrets",
    "Where the passwords are: variables of the environment, files, or credentials of a systemd unit",
    fixed("env"),
    choices=SECRETS,
)


def init_command(
    program: str, file: str, questions: Sequence[Question], make: "Callable[[Answers], Start]"
) -> click.Command:
    """Return the command of a connector; `make` turns the answers into what is to be written."""

    @click.command(
        "init",
        context_settings=HELP_OPTIONS,
        help=f"""Write a commented configuration to start from, a sample message, and tests that pass.

        \b
        {program} init                        asks
        {program} init --non-interactive      takes the defaults
        {program} init -c other.json --broker amqps://app@mq.example.com/plant

        What an option says is not asked. Passwords are not asked and not written: the configuration says where they
        will be found. It ends with the commands to run next.

        \b
        Exit codes:
           0  written
           1  stopped by Ctrl-C, or a file cannot be written
           2  wrong usage, or a file is there already
          78  the answers do not make a configuration
        """,
    )
    @config_option(required=False, about=f"The file to write.  [{file}]")
    @_options(questions)
    @click.option("--non-interactive", is_flag=True, help="Ask nothing: take the defaults of what is not given.")
    @click.option("--force", is_flag=True, help="Write over files that are there.")
    @click.pass_context
    def init(ctx: click.Context, /, non_interactive: bool, force: bool, **given: Any) -> None:
        from connectorlib.init import files  # late, see the module

        target = given.pop("file") or file
        files.refuse_to_overwrite(target, force=force)
        if not non_interactive and not sys.stdin.isatty():
            raise click.UsageError("there is no terminal to ask on: --non-interactive takes the defaults")
        answers = answered(questions, given, None if non_interactive else _asked)
        ctx.exit(files.write(make(answers), target, force=force))

    return init


def source(answers: Answers) -> dict[str, Any]:
    """Return the source section for the answers to `queue`, `exchange` and `routing-key`."""
    found: dict[str, Any] = {"queue": answers["queue"]}
    if answers["exchange"] == NOTHING:
        return found
    return {**found, "exchange": answers["exchange"], "routing_keys": [answers["routing_key"]]}


def answered(
    questions: Sequence[Question], given: Mapping[str, str | None], ask: Callable[[Question, str | None], str] | None
) -> Answers:
    """Return all answers: what is given, else what `ask` finds out, else the default. Raise UsageError for a wrong one,
    or one that is missing."""
    answers: dict[str, str] = {}
    for question in questions:
        said = given.get(question.key)
        if not question.asked(answers):
            if said is not None:
                raise click.UsageError(f"--{question.name} has no meaning beside the other answers")
            continue
        default = question.default(answers)
        if said is None:
            said = ask(question, default) if ask else default
        if said is None:
            raise click.UsageError(f"--{question.name} is missing: {question.text}")
        answers[question.key] = question.checked(said)
    return answers


def _options(questions: Sequence[Question]) -> Callable[[Any], Any]:
    def decorate(command: Any) -> Any:
        for question in reversed(questions):
            kind = click.Choice(question.choices) if question.choices else None
            metavar = None if question.choices else "TEXT"
            add = click.option(f"--{question.name}", type=kind, metavar=metavar, help=f"{question.text}.")
            command = add(command)
        return command

    return decorate


def _asked(question: Question, default: str | None) -> str:
    """Ask on the terminal until the answer can be meant."""

    def value(text: str) -> str:
        try:
            return question.checked(text)
        except click.BadParameter as error:
            raise click.UsageError(error.message) from error

    kind: Any = click.Choice(question.choices) if question.choices else None
    answer: str = click.prompt(question.text, default=default, type=kind, value_proc=None if kind else value, err=True)
    return answer
