"""The status document as a small page that loads itself anew. Pure; everything in it that is not ours is escaped."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from connectorlib.monitoring import status_text

#: Seconds between two loads.
REFRESH_S = 5

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 60rem; padding: 0 1rem;
  overflow-wrap: anywhere; }
.conclusion { padding: .6rem .9rem; border-radius: .35rem; font-weight: 600; color: #000; background: #cdeccf; }
.wrong .conclusion { background: #f6c9c5; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.05rem; margin-bottom: .3rem; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-weight: 500; width: 10rem; vertical-align: top; padding-right: 1rem; }
pre { white-space: pre-wrap; padding: .5rem; border-left: .25rem solid #c0392b; margin: .4rem 0; }
footer { margin-top: 1.5rem; font-size: .85rem; opacity: .75; }
"""


def page(status: Mapping[str, Any]) -> str:
    """Return the page as HTML."""
    title = escape(f"{status['connector']} {status['name']}")
    flows = "".join(_flow(flow, status) for flow in status["flows"])
    return f"""<!DOCTYPE html>
<html lang="en" class="{"wrong" if status["exit"] else "right"}">
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="{REFRESH_S}">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<link rel="stylesheet" href="/style.css">
</head>
<body>
<h1>{title}</h1>
<p class="conclusion" role="status">{escape(status["conclusion"])}</p>
{_table([*status_text.about(status), *status_text.connections(status), status_text.dead_letters(status)])}
{flows}
<footer>As of {escape(status["time"])}. This page loads itself every {REFRESH_S} seconds.
<a href="/status">JSON</a> <a href="/metrics">metrics</a></footer>
</body>
</html>
"""


def _flow(flow: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    pauses = "".join(f"<pre>{escape(pause['line'])}</pre>" for pause in flow["pauses"])
    heading = escape(f"{flow['name']}: {status_text.state(flow)}")
    return f"<h2>{heading}</h2>{pauses}{_table(status_text.details(flow, status))}"


def _table(lines: Iterable[status_text.Line]) -> str:
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>\n" for name, text in lines)
    return f"<table>\n{rows}</table>"
