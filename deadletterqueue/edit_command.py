"""`edit`: changes dead letters, checks them and sends them back. Each original stays in the queue until the changed
one is confirmed, and is written to a file before that.

No message is held while a person edits: the letters are found again by their identity when they are sent.
"""

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.service.exit_codes import ExitCode
from connectorlib.values.line_diff import differences
from connectorlib.values.text import printable
from deadletterqueue.changes import Edit, compile_changes, compile_text, is_changed, text_of
from deadletterqueue.connector_check import Check, at_queue, open_check
from deadletterqueue.filter import Chosen, decoded, first_life
from deadletterqueue.jsonl import line_of
from deadletterqueue.letter import Letter
from deadletterqueue.options import (
    EXIT_CODES,
    Connection,
    Filters,
    Sending,
    connection_options,
    filter_options,
    json_option,
    sending_options,
)
from deadletterqueue.originals import Originals, new_name
from deadletterqueue.plain_letter import changed, plain_letter
from deadletterqueue.readable_body import indented
from deadletterqueue.replay import Change, Replay
from deadletterqueue.replay_command import options_of, tell
from deadletterqueue.session import Session, letters, open_session, reported
from deadletterqueue.target import Leave
from deadletterqueue.terminal import json_text, progress

#: Letters that can be edited by hand at once.
MOST_BY_HAND = 20
#: Letters whose change a dry run shows.
SHOWN = 3
#: Characters of one line of it.
MAX_LINE = 500


@dataclass(frozen=True, slots=True)
class Changes:
    """What to change, as given on the command line; nothing means in an editor."""

    sets: tuple[str, ...]
    unsets: tuple[str, ...]
    patch: str | None
    #: The file for the originals; None: a new one for each run.
    originals: str | None

    @property
    def by_hand(self) -> bool:
        return not self.sets and not self.unsets and self.patch is None

    def edit(self) -> Edit:
        """Return the change. Raise click.UsageError for what makes no sense."""
        try:
            patch = None if self.patch is None else Path(self.patch).read_text(encoding="utf-8")
            edit = compile_changes(patch, self.sets, self.unsets)
        except OSError as error:
            raise click.UsageError(f"--patch {self.patch} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        return lambda letter: changed(letter, edit)


#: Given a text, returns it as edited by a person.
Write = Callable[[str], str]
Ask = Callable[[str], bool]


def run_edit(
    connection: Connection,
    filters: Filters,
    sending: Sending,
    changes: Changes,
    position: int | None,
    *,
    ask: Ask,
    as_json: bool,
) -> ExitCode:
    """Change letters, send them back and print a report. `ask` decides whether to edit once more."""
    chosen, edit = filters.chooser(), changes.edit()
    check = at_queue(open_check(connection.file) if connection.file else None, sending.to_queue)
    options = options_of(sending, filters.limit, None)
    with open_session(connection, filters.source) as session:
        if position is not None or changes.by_hand:
            originals = _looked_up(session, chosen, filters.limit, position)
            if changes.by_hand:
                wanted = _by_hand(originals, check, in_editor, ask)
            else:
                wanted = {identity(each): checked(edit, check) for each in originals}
            if not wanted:
                print(f"nothing was changed in {session.queue}", file=sys.stderr)
                return ExitCode.NOTHING
            chosen, change = _these(wanted)
            options = replace(options, limit=len(originals))
        else:
            change = checked(edit, check)
        with _kept(changes.originals, connection) as keep, progress("sending") as show:
            showing = _Showing(change) if sending.dry_run and not as_json else change
            replay = Replay(session, chosen, options, change=showing, save=keep, show=show)
            try:
                replay.run()
            except BaseException:  # Ctrl-C too: what was sent until then has to be reported
                tell(replay.report, session.queue, dry_run=options.dry_run, as_json=as_json)
                raise
        return tell(replay.report, session.queue, dry_run=options.dry_run, as_json=as_json)


def identity(letter: Letter) -> str:
    """Return a hash of a letter that is the same each time it is browsed: of everything except the broker's counts and
    the order of the headers."""
    return hashlib.sha256(json.dumps(line_of(letter.delivery), sort_keys=True).encode()).hexdigest()


def checked(edit: Edit, check: Check | None) -> Change:
    """Return a change that leaves a letter if it cannot be edited, or would be dead-lettered again."""

    def change(letter: Letter) -> Letter | Leave:
        try:
            new = edit(letter)
        except ValueError as error:
            return Leave(str(error))
        if not is_changed(letter, new):
            return Leave("the change has no effect")
        found = problems(letter, new, check)
        return Leave(f"it would be dead-lettered again: {found[0]}") if found else new

    return change


def problems(original: Letter, new: Letter, check: Check | None) -> list[str]:
    """Return what would keep a changed letter from being processed: by the connector's own check, or, without one for
    its queue, that it is JSON or XML and cannot be read."""
    found = None if check is None else check(first_life(new))
    if found is not None:
        return found
    try:
        decoded(new.delivery)
    except Failed as failed:
        kind = (new.delivery.properties.content_type or "").partition(";")[0].strip().lower()
        if kind.endswith(("json", "xml")) or _readable(original):
            return [str(failed)]
    return []


def _readable(letter: Letter) -> bool:
    try:
        decoded(letter.delivery)
    except Failed:
        return False
    return True


def _looked_up(session: Session, chosen: Chosen, limit: int | None, position: int | None) -> list[Letter]:
    """Return the chosen letters. Raise Failed if they are too many to edit by hand."""
    most = limit if limit is not None else MOST_BY_HAND
    found: list[Letter] = []
    with session.browse(limit=position) as walk, progress("looking") as show:
        for at, letter in enumerate(letters(walk), 1):
            show(at, walk.total)
            if (position is None or at == position) and chosen(letter):
                found.append(letter)
                if len(found) > most:
                    break
    if walk.taken:
        raise Failed(Failure(Kind.UNAVAILABLE, "incomplete", walk.shortfall, "edit"))
    if limit is None and len(found) > most:
        text = f"more than {most} are meant: choose fewer, give --limit, or change all with --set, --unset or --patch"
        raise Failed(Failure(Kind.REJECT, "too-many", text, "edit"))
    return found[:most]


def _these(wanted: dict[str, Change]) -> tuple[Chosen, Change]:
    """Return the filter for these letters, and a change that applies to each the one given for it."""
    return lambda letter: identity(letter) in wanted, lambda letter: wanted[identity(letter)](letter)


# -- by hand


def _by_hand(originals: list[Letter], check: Check | None, write: Write, ask: Ask) -> dict[str, Change]:
    """Have each letter edited; return the changes of those that were changed, by identity."""
    wanted: dict[str, Change] = {}
    for same, letter in {identity(each): each for each in originals}.items():
        new = _edited(letter, check, write, ask)
        if new is not None:
            wanted[same] = partial(_instead, new)
    return wanted


def _instead(new: Letter, _: Letter) -> Letter:
    return new


def _edited(letter: Letter, check: Check | None, write: Write, ask: Ask) -> Letter | None:
    """Have one letter edited until it is valid; return None if it is to stay as it is."""
    text = text_of(plain_letter(letter))
    while True:
        text = write(text)
        try:
            new = changed(letter, partial(compile_text, text))
            found = problems(letter, new, check) if is_changed(letter, new) else []
        except ValueError as error:
            found = [str(error)]
        else:
            if not found:
                return new if is_changed(letter, new) else None
        print(f"not sent: {printable(found[0])}", file=sys.stderr)
        if not ask("Edit it once more?"):
            return None


def in_editor(text: str) -> str:
    """Open a text in $VISUAL or $EDITOR; return the edited text. Raise Failed if the editor does not start."""
    if not (sys.stdin.isatty() or os.environ.get("VISUAL") or os.environ.get("EDITOR")):
        text = "there is no terminal to edit at: give --set, --unset or --patch, or an EDITOR that needs none"
        raise Failed(Failure(Kind.CONFIGURATION, "configuration", text))
    descriptor, name = tempfile.mkstemp(prefix="deadletter-", suffix=".txt")  # for its owner only
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        try:
            click.edit(filename=name)
        except click.ClickException as error:
            raise Failed(Failure(Kind.CONFIGURATION, "configuration", error.format_message())) from error
        with open(name, encoding="utf-8", newline="") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise Failed(Failure(Kind.CONFIGURATION, "configuration", f"the editor wrote no UTF-8: {error}")) from error
    finally:
        Path(name).unlink(missing_ok=True)


# -- the originals


@contextmanager
def _kept(file: str | None, connection: Connection) -> Iterator[Callable[[Letter], None]]:
    """Return a function that appends an original to a file for `import`; at the end, say where they are."""
    with closing(Originals(file or new_name())) as originals:
        try:
            yield originals.keep
        finally:
            if originals.written:
                back = connection.command("import", originals.name)
                print(f"the originals are in {originals.name}; `{back}` puts them back", file=sys.stderr)


class _Showing:
    """A change that prints a diff of the first few letters."""

    def __init__(self, change: Change) -> None:
        self._change = change
        self._left = SHOWN

    def __call__(self, letter: Letter) -> Letter | Leave:
        new = self._change(letter)
        if not isinstance(new, Leave) and self._left:
            self._left -= 1
            before, after = (as_lines(plain_letter(each)) for each in (letter, new))
            for line in differences(before, after, ("as it is", "as it would be sent")):
                print(printable(line) if len(line) <= MAX_LINE else printable(line[:MAX_LINE]) + "…")
        return new


def as_lines(letter: Letter) -> list[str]:
    """Return properties, own headers and the body, to be compared line by line."""
    line = line_of(letter.delivery)
    body = indented(line["body"]) if "body" in line else line["body_base64"]
    own = {name: value for name, value in line["headers"].items() if not name.startswith(("dead-", "x-"))}
    return [*(f"{name}: {json_text(value)}" for name, value in (line["properties"] | own).items()), *body.splitlines()]


@click.command(epilog=EXIT_CODES)
@click.argument("position", type=click.IntRange(min=1), required=False)
@filter_options
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="PATH=VALUE",
    help="device.id=p-7 in JSON or XML, '$headers.NAME=…', '$message_id=…'; repeatable.",
)
@click.option(
    "--unset",
    "unsets",
    multiple=True,
    metavar="PATH",
    help="Remove what is at this path: device.unit, '$headers.NAME', '$reply_to'; repeatable.",
)
@click.option("--patch", type=click.Path(dir_okay=False), help="A file with a JSON Patch (RFC 6902) for each body.")
@click.option(
    "--originals",
    type=click.Path(dir_okay=False),
    help="Append the originals to this file.  [originals-TIME.jsonl, here]",
)
@sending_options
@json_option
@connection_options
@click.pass_context
def edit(
    ctx: click.Context,
    /,
    connection: Connection,
    filters: Filters,
    sending: Sending,
    position: int | None,
    as_json: bool,
    **changes: Any,
) -> None:
    """Change dead letters and send them back: the one at POSITION of `list`, or those that the filters select.

    \b
    deadletter-queue edit 3        in $EDITOR, headers and all
    deadletter-queue edit --where code=22001 --set device.id=p-7 --dry-run
    deadletter-queue edit --where code=22001 --patch fix.json -c db.config

    Given a connector's configuration with -c, a changed message is decoded and mapped as the connector would, without
    its database or Salesforce, before it is sent; otherwise JSON and XML have to be well-formed. A message that would
    fail again stays as it is. A compressed body is edited decompressed, and then sent uncompressed. The originals leave
    the queue when the new messages are confirmed, and are kept in a file that `import` reads.
    """

    def ask(question: str) -> bool:
        return sys.stdin.isatty() and click.confirm(question, default=True, err=True)

    given = Changes(**changes)
    ctx.exit(reported(lambda: run_edit(connection, filters, sending, given, position, ask=ask, as_json=as_json)))
