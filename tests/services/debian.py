"""A bare Debian in a folder, whose commands run in a namespace of their own, and which systemd can boot."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from scripts import matrix

CONFINED = ("--clear-groups", "--no-new-privs", "--inh-caps=-all")
NSPAWN = ("systemd-nspawn", "--quiet", "--boot", "--console=pipe", "--directory")
#: Moves a process into new control groups: where no systemd runs, nobody else makes one for what it starts.
JOIN = 'for each in $1; do mkdir -p "$each"; echo $$ > "$each/cgroup.procs"; done; shift; exec "$@"'
TRIAL = """[Unit]
After=multi-user.target
[Service]
ExecStart=/bin/sh -x /root/trial
ExecStopPost=systemctl poweroff
StandardError=file:/root/log
"""


class Debian:
    """A bare Debian in a folder; commands run in it as root, or as one of its users."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def command(self, *words: str, user: str = "") -> list[str]:
        enter = ["unshare", "--mount", "bash", "-ec", matrix.ENTER, str(self.folder)]
        confine = ["setpriv", f"--reuid={user}", f"--regid={user}", *CONFINED] if user else []
        return [*enter, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *confine, *words]

    def run(self, *words: str, user: str = "") -> str:
        """Run a command and return what it prints; it has to succeed."""
        done = subprocess.run(self.command(*words, user=user), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def apt(self, *words: str) -> str:
        return self.run("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "--no-install-recommends", *words)

    def boot(self, script: str, limit_s: int = 300) -> None:
        """Let systemd boot it, run a shell script in a unit, and power it off. The script has to succeed."""
        self.path("/root/trial").write_text(f"set -e\n{script}\ntouch /root/succeeded\n")
        self.path("/etc/systemd/system/trial.service").write_text(TRIAL)
        wants = self.path("/etc/systemd/system/multi-user.target.wants")
        wants.mkdir(parents=True, exist_ok=True)
        (wants / "trial.service").symlink_to("../trial.service")
        command = ["timeout", "--kill-after=10", str(limit_s), *NSPAWN, str(self.folder)]
        groups: list[str] = []
        if not Path("/run/systemd/system").exists():
            groups = [f"{each}/{self.folder.name}" for each in hierarchies()]
            command = ["sh", "-c", JOIN, "sh", " ".join(groups), *command, "--register=no", "--keep-unit"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if groups:
            subprocess.run(["find", *groups, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"], check=True)
        (wants / "trial.service").unlink()
        log = self.read("/root/log") if self.path("/root/log").exists() else ""
        assert self.path("/root/succeeded").exists(), done.stdout + done.stderr + log

    def path(self, name: str) -> Path:
        return self.folder / name.lstrip("/")

    def read(self, name: str) -> str:
        return self.path(name).read_text()

    def found(self, pattern: str, *folders: str) -> list[str]:
        """Return the files with a name like the pattern, other than the lists of dpkg."""
        found = [each for folder in folders for each in self.path(folder).rglob(pattern)]
        names = sorted(str(each.relative_to(self.folder)) for each in found)
        return [name for name in names if not name.startswith("var/lib/dpkg/info/")]


def hierarchies() -> Sequence[str]:
    """Return where the control groups of systemd are on a machine without it."""
    found = [each for each in ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified") if Path(each).exists()]
    return found or ["/sys/fs/cgroup"]


def bare(release: str, cache: Path, folder: Path) -> Debian:
    """Copy a bare Debian into a folder and return it; the release is made once, in the cache."""
    leg = matrix.Leg(release, cache / f"bare-{release}")
    cache.mkdir(parents=True, exist_ok=True)
    matrix.make_debian(leg, "http://deb.debian.org/debian", cache / f"bare-{release}.log")
    subprocess.run(["cp", "--archive", leg.folder, folder], check=True)
    found = Debian(folder)
    found.apt("update")
    return found
