"""The command `serve`: its options. The page itself needs the extra `web`."""

import click

from connectorlib.service.bootstrap import needing
from deadletterqueue.options import EXIT_CODES, Connection, connection_options_but_port, stream_option
from deadletterqueue.session import reported


@click.command(epilog=EXIT_CODES)
@click.option(
    "--port", "web_port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="Of the page; 0: any."
)
@click.option(
    "--listen", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Beyond loopback a token is asked for."
)
@click.option(
    "--token-file", type=click.Path(dir_okay=False), help="File with the access token; asked for on loopback too then."
)
@click.option("--allow-host", multiple=True, metavar="NAME", help="A name by which the page is reached; repeatable.")
@click.option(
    "--originals",
    type=click.Path(file_okay=False, exists=True),
    default=".",
    help="Folder for the originals of edited messages.  [here]",
)
@click.option("--from", "source", metavar="QUEUE", help="The dead-letter queue.  [as for list]")
@stream_option
@connection_options_but_port
@click.pass_context
def serve(
    ctx: click.Context,
    connection: Connection,
    web_port: int,
    listen: str,
    token_file: str | None,
    allow_host: tuple[str, ...],
    originals: str,
    source: str | None,
    stream: str | None,
) -> None:
    """Serve the workbench as a page: causes, messages, sending back, editing, purging. Until SIGTERM or Ctrl-C.

    \b
    deadletter-queue serve --vhost plant --port 8090
    deadletter-queue serve --host broker:5673 --vhost plant

    --port is the page's here; the broker's is part of --host. Only this machine reaches the page, unless --listen says
    more. All its users then do: --token-file keeps others out.
    """
    with needing("web", "the page"):
        from deadletterqueue.web.page_server import run_serve  # late: --help does without the extra

    ctx.exit(
        reported(lambda: run_serve(connection, source, stream, listen, web_port, token_file, allow_host, originals))
    )
