"""The status document as a page that reloads itself. Pure."""

from collections.abc import Mapping
from typing import Any

from connectorlib.monitoring import status_text
from connectorlib.service import pages

#: Seconds between two loads.
REFRESH_S = 5


def page(status: Mapping[str, Any], last_success: str = "last write") -> str:
    """Return the page as HTML."""
    return (
        pages.environment(__package__)
        .get_template("status.html")
        .render(
            status=status,
            process=[*status_text.about(status), *status_text.connections(status), status_text.dead_letters(status)],
            flows=[
                (
                    f"{flow['name']}: {status_text.state(flow)}",
                    flow["pauses"],
                    status_text.details(flow, status, last_success),
                )
                for flow in status["flows"]
            ],
            refresh_s=REFRESH_S,
        )
    )
