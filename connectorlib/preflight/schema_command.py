"""The command `schema`, the same in both connectors."""

import click

from connectorlib.config import bundle, printed, read_schema
from connectorlib.preflight import tests_file
from connectorlib.service.cli_options import exit_codes


def schema_command(program: str, file: str) -> click.Command:
    """Return the command that prints the JSON Schema of a connector's configuration `file`."""
    stem = file.removesuffix(".json")

    @click.command(
        "schema",
        epilog=exit_codes("0  printed", "2  usage error"),
        help=f"""Print the JSON Schema of the configuration, for completion and validation in editors.

        \b
        {program} schema > {stem}.schema.json
        {program} schema --tests > {stem}.tests.schema.json

        A configuration names it in "$schema".
        """,
    )
    @click.option("--tests", is_flag=True, help="Print the schema of a tests file instead.")
    def schema(tests: bool) -> None:
        whole = tests_file.schema(program) if tests else bundle(read_schema(program, f"{stem}.schema.json"))
        click.echo(printed(whole))

    return schema
