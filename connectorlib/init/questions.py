"""The questions of `init`, and the command itself. Every question is an option too."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import click

from connectorlib.init import files
from connectorlib.init.addresses import broker
from connectorlib.init.files import SECRET_SOURCES, Start
from connectorlib.service.cli_options import HELP_OPTIONS, config_option

Answers = Mapping[str, str]

#: The answer to what can be left out.
NOTHING = "-"


class Question(NamedTuple):
    """One question; its name is that of the option."""

    name: str
    text: str
    #: The answer that Enter takes, maybe by the answers so far; None: there is none.
    default: str | Callable[[Answers], str | None] | None
    choices: tuple[str, ...] = ()
    #: Whether it makes sense after the answers so far.
    asked: Callable[[Answers], bool] = lambda answers: True
    #: Raises ValueError for an answer that cannot be right.
    check: Callable[[str], object] = str

    @property
    def key(self) -> str:
        return self.name.replace("-", "_")

    def default_for(self, answers: Answers) -> str | None:
        return self.default(answers) if callable(self.default) else self.default

    def checked(self, value: str) -> str:
        """Return the answer. Raise BadParameter for a wrong one."""
        try:
            self.check(value)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint=f"--{self.name}") from error
        return value

    def option(self) -> Callable[[Any], Any]:
        kind = click.Choice(self.choices) if self.choices else None
        return click.option(f"--{self.name}", type=kind, metavar=None if kind else "TEXT", help=f"{self.text}.")

    def prompt(self, default: str | None) -> str:
        """Ask on the terminal until the answer can be right."""

        def value(text: str) -> str:
            try:
                return self.checked(text)
            except click.BadParameter as error:
                raise click.UsageError(error.message) from error

        kind: Any = click.Choice(self.choices) if self.choices else None
        answer: str = click.prompt(self.text, default=default, type=kind, value_proc=None if kind else value, err=True)
        return answer


BROKER = Question(
    "broker",
    "RabbitMQ, as amqp://USER@HOST[:PORT]/VHOST (amqps: with TLS), without the password",
    "amqp://guest@127.0.0.1/",
    check=broker,
)
SECRETS = Question(
    "secrets",
    "Where the passwords are stored: environment variables, files, or credentials of a systemd unit",
    "env",
    choices=SECRET_SOURCES,
)


def init_command(
    program: str, file: str, questions: Sequence[Question], make: Callable[[Answers], Start]
) -> click.Command:
    """Return the command of a connector; `make` turns the answers into what is to be written."""

    @click.command(
        "init",
        context_settings=HELP_OPTIONS,
        help=f"""Write a commented starter configuration, a sample message, and tests that pass.

        \b
        {program} init                        asks
        {program} init --non-interactive      takes the defaults
        {program} init -c other.json --broker amqps://app@mq.example.com/plant

        There is no question for an option that is given. Passwords are never asked for or written: the configuration
        says where to find them. The output ends with the commands to run next.

        \b
        Exit codes:
           0  written
           1  stopped by Ctrl-C, or a file cannot be written
           2  usage error, or a file exists
          78  the answers do not make a configuration
        """,
    )
    @config_option(required=False, about=f"The file to write.  [{file}]")
    @_options(questions)
    @click.option(
        "--non-interactive", is_flag=True, help="Ask no questions; use the defaults for options that are not given."
    )
    @click.option("--force", is_flag=True, help="Overwrite existing files.")
    @click.pass_context
    def init(ctx: click.Context, /, non_interactive: bool, force: bool, **given: Any) -> None:
        target = given.pop("file") or file
        files.refuse_to_overwrite(target, force=force)
        if not non_interactive and not sys.stdin.isatty():
            raise click.UsageError("no terminal to ask on; --non-interactive uses the defaults")
        answers = answered(questions, given, None if non_interactive else Question.prompt)
        ctx.exit(files.write(make(answers), target, force=force))

    return init


def _options(questions: Sequence[Question]) -> Callable[[Any], Any]:
    def decorate(function: Any) -> Any:
        for question in reversed(questions):
            function = question.option()(function)
        return function

    return decorate


def answered(
    questions: Sequence[Question], given: Mapping[str, str | None], ask: Callable[[Question, str | None], str] | None
) -> Answers:
    """Return all answers: the given ones, else those that `ask` gets, else the defaults. Raise UsageError for a wrong
    one, or one that is missing."""
    answers: dict[str, str] = {}
    for question in questions:
        answer = given.get(question.key)
        if not question.asked(answers):
            if answer is not None:
                raise click.UsageError(f"--{question.name} has no meaning with the other answers")
            continue
        if answer is None:
            default = question.default_for(answers)
            answer = ask(question, default) if ask else default
        if answer is None:
            raise click.UsageError(f"--{question.name} is missing: {question.text}")
        answers[question.key] = question.checked(answer)
    return answers
