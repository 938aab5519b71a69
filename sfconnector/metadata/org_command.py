"""`sfconnector org`: options, the folder that it writes, and what it proves."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from connectorlib.errors import Failed
from connectorlib.preflight.check_command import check
from connectorlib.preflight.findings import Group
from connectorlib.service import logs
from connectorlib.service.cli_options import HELP_OPTIONS, config_option, exit_codes
from connectorlib.service.exit_codes import ExitCode
from connectorlib.service.process import exit_code
from connectorlib.shared_settings import Logging
from sfconnector import config as configuration
from sfconnector import preflight
from sfconnector.metadata import org_project, org_proof
from sfconnector.settings import Division, SfConfig

#: Names that Salesforce takes; permission sets have 80 characters at most, and a suffix may come.
_NAME = re.compile(r"[A-Za-z](?:_?[A-Za-z0-9])*")
_MOST_NAME = 40
_MOST_SHOWN = 3


@click.command(
    "org",
    context_settings=HELP_OPTIONS,
    epilog=exit_codes(
        " 0  written, or all as assumed",
        " 1  a file cannot be written, or something differs",
        " 2  usage error, or the folder has other content",
        "69  Salesforce unreachable",
        "77  login or permission refused",
        "78  bad configuration",
    ),
)
@config_option()
@click.option("--out", metavar="DIR", type=click.Path(file_okay=False, path_type=Path), help="The folder to write.")
@click.option("--prove", is_flag=True, help="Test the assumptions about Salesforce on the org.")
@click.option(
    "--division",
    metavar="NAME",
    help="With --prove: the division whose org is used.  [the first with alarm, otherwise the first]",
)
@click.option("--name", default="sfconnector", show_default=True, help="Name of permission set and app.")
@click.option("--email", help="Contact address of the app.  [the first user of the configuration]")
@click.option(
    "--certificate",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Certificate with which the app verifies JWTs (PEM).",
)
@click.option("--force", is_flag=True, help="Overwrite other content; run --prove on an org that is not a sandbox.")
@click.pass_context
def org(
    ctx: click.Context,
    /,
    file: str,
    out: Path | None,
    division: str | None,
    name: str,
    email: str | None,
    certificate: Path | None,
    *,
    prove: bool,
    force: bool,
) -> None:
    """Write what Salesforce needs for a configuration, as a project for the Salesforce CLI (sf), or test assumptions
    about Salesforce on an org.

    \b
    sfconnector org -i config.json --out org
    sfconnector org -i config.json --out org --certificate app.pem
    sfconnector org -i config.json --prove

    A permission set with the objects and fields that the configuration names, and nothing else; an External Client
    App to log in through; for alarms their object, its fields, those of Case, and a list view. It needs no org and
    no secret. The README.md in the folder explains how to deploy it.

    --prove is for a developer org or a sandbox. It makes some twenty Cases, deletes them, and prints a line for each
    assumption: ✔ as assumed, ✘ differs, ! not tried.
    """
    if prove is (out is not None):
        raise click.UsageError("one of --out and --prove is needed")
    if out is None:
        ctx.exit(_prove(file, division, anywhere=force))
    ctx.exit(_write_project(file, out, name, email, certificate, force=force))


def _prove(file: str, division: str | None, *, anywhere: bool) -> ExitCode:
    logs.configure(Logging(level="error"), "sfconnector")  # the findings are printed

    def plan(config: SfConfig, options: object) -> Sequence[Group]:
        chosen = _chosen(config, division)
        return [(chosen.name, lambda: org_proof.findings(chosen, anywhere=anywhere))]

    return check(file, preflight.load, plan, json=False)


def _chosen(config: SfConfig, name: str | None) -> Division:
    if name is None:
        return next((each for each in config.divisions if each.case.alarm is not None), config.divisions[0])
    for each in config.divisions:
        if each.name == name:
            return each
    raise click.BadParameter(f"there is no division {name}", param_hint="--division")


def _write_project(
    file: str, out: Path, name: str, email: str | None, certificate: Path | None, *, force: bool
) -> ExitCode:
    if not _NAME.fullmatch(name) or len(name) > _MOST_NAME:
        text = f"letters, digits and single underscores, a letter first, at most {_MOST_NAME}"
        raise click.BadParameter(text, param_hint="--name")
    try:
        config = configuration.load(file, resolve_secrets=False)
    except Failed as failed:
        click.echo(str(failed), err=True)
        return exit_code(failed.failure)
    try:
        pem = certificate.read_text("utf-8") if certificate else ""
        texts = org_project.files(config, name, email or _email(config), pem)
    except (ValueError, OSError) as error:
        raise click.BadParameter(str(error), param_hint="--certificate") from error
    if not force:
        _refuse_other_content(out, texts)
    _write(out, texts)
    click.echo(f"Written: {len(texts)} files into {out}. {out / 'README.md'} says what to do with them.")
    return ExitCode.DONE


def _email(config: SfConfig) -> str:
    users = map(org_project.username_of, config.divisions)
    found = next((user for user in users if user and "@" in user), None)
    if found is None:
        raise click.UsageError("--email is missing: whom Salesforce writes to about the app")
    return found


def _refuse_other_content(folder: Path, texts: Mapping[str, str]) -> None:
    """Raise UsageError if the folder has anything but what is about to be written."""
    found = sorted(path for path in folder.rglob("*") if not path.is_dir()) if folder.exists() else []
    others = [path for path in found if not _is_same(path, texts.get(path.relative_to(folder).as_posix()))]
    if others:
        shown = ", ".join(map(str, others[:_MOST_SHOWN])) + (", …" if len(others) > _MOST_SHOWN else "")
        raise click.UsageError(f"{folder} has other content: {shown}. --force writes over it; what is left over stays")


def _is_same(path: Path, text: str | None) -> bool:
    try:
        return text is not None and path.read_text("utf-8") == text
    except (OSError, UnicodeDecodeError):
        return False


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    try:
        for name, text in texts.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    except OSError as error:
        raise click.ClickException(f"{error.filename} cannot be written: {error.strerror}") from error
