"""The status document and the history as a page that reloads itself. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from connectorlib.monitoring import history, status_text
from connectorlib.monitoring.history import FlowDrawings
from connectorlib.monitoring.humanize import since
from connectorlib.monitoring.other_connectors import OtherConnector
from connectorlib.service import pages

#: Seconds between two loads.
REFRESH_S = 5


def page(
    status: Mapping[str, Any],
    last_success: str = "last write",
    drawings: Sequence[FlowDrawings] = (),
    *,
    form_token: str | None = None,
    dead_letter_page: str | None = None,
    others: Sequence[OtherConnector] = (),
) -> str:
    """Return the page as HTML. With a form token it has a button that retries what is paused."""
    drawn = {each.flow: each for each in drawings}
    now = datetime.fromisoformat(status["time"])
    return (
        pages.environment(__package__)
        .get_template("status.html")
        .render(
            status=status,
            process=[*status_text.about(status), *status_text.connections(status)],
            dead_letters=status_text.dead_letters(status),
            dead_letter_page=dead_letter_page,
            flows=[
                (
                    f"{flow['name']}: {status_text.state(flow)}",
                    [pause_sentences(pause, now) for pause in flow["pauses"]],
                    status_text.details(flow, status, last_success),
                    drawn.get(flow["name"]),
                )
                for flow in status["flows"]
            ],
            form_token=form_token,
            others=others,
            refresh_s=REFRESH_S,
            width=history.MINUTES,
            height=history.HEIGHT,
            hours=history.HOURS,
        )
    )


def pause_sentences(pause: Mapping[str, Any], now: datetime) -> list[str]:
    """Return what a pause is: since when and why, when the next attempt is due, and what to do."""
    next_try = (
        "It does not retry by itself." if pause["next_try"] == "never" else f"Next attempt in {pause['next_try']}."
    )
    do = str(pause["do"])
    return [
        f"{pause['name']} is paused since {since(pause['since'], now)}: {pause['cause']}, {pause['text']}.",
        next_try,
        f"{do[:1].upper()}{do[1:]}.",
    ]
