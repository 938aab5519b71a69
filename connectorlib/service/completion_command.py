"""The command `completion`, the same in all programs."""

import click
from click.shell_completion import get_completion_class

from connectorlib.service.cli_options import exit_codes


def completion_command(program: str) -> click.Command:
    """Return the command that prints a script for the shell."""

    @click.command(
        "completion",
        epilog=exit_codes("0  printed", "2  unknown shell"),
        help=f"""Print the shell script that completes the commands, options and files of {program}.

        \b
        source <({program} completion bash)    in ~/.bashrc, for every shell
        {program} completion zsh > ~/.zfunc/_{program}
        {program} completion fish | source

        For zsh the folder has to be in $fpath before compinit runs; for fish put the line into config.fish.
        """,
    )
    @click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
    @click.pass_context
    def completion(ctx: click.Context, shell: str) -> None:
        kind = get_completion_class(shell)
        assert kind is not None
        variable = f"_{program}_complete".replace("-", "_").upper()  # which click looks for
        click.echo(kind(ctx.find_root().command, {}, program, variable).source())

    return completion
