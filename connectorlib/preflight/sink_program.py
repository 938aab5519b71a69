"""A whole program around one sink: the commands `run`, `check`, `status`, `schema` and `completion`."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import click

from connectorlib.config.schema import Schema, printed
from connectorlib.config.sink_config import SinkConfig, load_sink_config, sink_schema
from connectorlib.monitoring.monitor import ConnectionFacts
from connectorlib.monitoring.status_command import status_command
from connectorlib.pipeline.flood import Brake
from connectorlib.pipeline.message_sink import MessageSink
from connectorlib.pipeline.run_sink import Program, SinkFlow, run_sink
from connectorlib.pipeline.sink import probed
from connectorlib.preflight import check_broker, check_command, check_notices
from connectorlib.preflight.check_command import CheckOptions
from connectorlib.preflight.findings import Finding, Group, failed, good
from connectorlib.service import logs
from connectorlib.service.bootstrap import loading_logs, running
from connectorlib.service.cli_options import HELP_OPTIONS, config_option
from connectorlib.service.completion_command import completion_command
from connectorlib.service.exit_codes import ExitCode
from connectorlib.service.lazy_group import LazyGroup
from connectorlib.service.process import reported
from connectorlib.service.reload import Reloading, Term
from connectorlib.shared_settings import Logging
from connectorlib.version import VERSION

logger = logging.getLogger(__name__)

#: Given the sink's own section of the configuration, returns the sink.
OpenSink = Callable[[Mapping[str, Any]], MessageSink]


def sink_program(name: str, about: str, *, section: str, schema: Schema, open_sink: OpenSink) -> click.Group:
    """Return the command line of a program that brings the messages of a queue to a sink.

    `about` is its help. `section` is the sink's own section of the configuration, and `schema` the JSON Schema of it.
    """
    load = partial(load_sink_config, section=section, schema=schema)

    @click.version_option(package_name="amqp-connectors", prog_name=name)
    @click.group(name, cls=LazyGroup, lazy={}, help=about, context_settings=HELP_OPTIONS)
    def main() -> None: ...

    @main.command(short_help="Bring every message of the queue to the target, until SIGTERM.")
    @config_option()
    @click.pass_context
    def run(ctx: click.Context, file: str) -> None:
        with running(name) as life:
            work = partial(_run, name, open_sink)
            ctx.exit(reported(lambda: Reloading(file, life, loading_logs(load, name)).run(work)))

    @main.command(short_help="Check the configuration against the live broker and target.")
    @config_option()
    @check_command.notify_option
    @click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
    @click.pass_context
    def check(ctx: click.Context, file: str, notify: bool, as_json: bool) -> None:
        logs.configure(Logging(level="error"), name)  # the findings are printed
        plan: check_command.Planner[SinkConfig] = partial(_plan, name, open_sink)
        ctx.exit(check_command.check(file, load, plan, CheckOptions(test_notice=notify), json=as_json))

    @main.command("schema", short_help="Print the JSON Schema of the configuration.")
    def print_schema() -> None:
        click.echo(printed(sink_schema(section, schema)))

    main.add_command(status_command(name, f"{name}.json"))
    main.add_command(completion_command(name))
    return main


def _run(program: str, open_sink: OpenSink, config: SinkConfig, term: Term) -> ExitCode:
    @contextmanager
    def flows(broker: object) -> Iterator[Sequence[SinkFlow]]:
        with closing(open_sink(config.settings)) as sink:
            sink.brake = Brake(config.retry.flood)
            logs.event(logger, logging.INFO, "started", version=VERSION, name=config.name)
            yield [_flow(config, sink)]

    identity = Program(program, config.name, f"{program} {config.name}")
    counts = run_sink(config, identity, flows, term)
    logs.event(logger, logging.INFO, "stopped", name=config.name, **counts[config.name])
    return ExitCode.DONE


def _flow(config: SinkConfig, sink: MessageSink) -> SinkFlow:
    target = ConnectionFacts(
        sink.target, lambda: sink.connected_since, lambda: sink.opened, lambda: sink.about, stuck=sink.stuck
    )
    return SinkFlow(
        name=config.name,
        sinks=[sink],
        source=config.source,
        batch=config.batch,
        retry=config.retry,
        hold_seconds=config.hold_seconds,
        connections=[target],
        metrics=sink.metrics,
        hints=sink.hint,
    )


def _plan(program: str, open_sink: OpenSink, config: SinkConfig, options: CheckOptions) -> Sequence[Group]:
    needs = check_broker.Needs(
        config.broker,
        f"{program} {config.name}",
        (config.source,),
        journal=config.journal,
        notify=config.notify,
        file=config.file,
    )
    return [
        ("broker", lambda: check_broker.findings(needs)),
        ("target", lambda: _findings(open_sink, config)),
        *check_notices.groups(config.notify, config.broker, program, config.name, test=options.test_notice),
    ]


def _findings(open_sink: OpenSink, config: SinkConfig) -> Iterator[Finding]:
    with closing(open_sink(config.settings)) as sink:
        failure = probed(sink.probe)
        yield good(sink.target, sink.about or "answers") if failure is None else failed(sink.target, failure)
