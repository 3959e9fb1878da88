"""Fetching packages of a Debian release with the machine's own apt, without touching the machine's own state.

The mirror, proxies and credentials are those that apt is configured with; lists and packages go to a
private folder. Signatures are verified by the machine's archive keyring.
"""

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from workqueue.broker.errors import Unavailable
from workqueue.warden import get_warden

RELEASES = ("bullseye", "bookworm", "trixie", "forky")
"""Releases that have a RabbitMQ we know, oldest first."""

_SUITES = {*RELEASES, "stable", "testing", "unstable", "sid", "oldstable", "oldoldstable"}
_KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
)
_TRUSTED = Path("/etc/apt/trusted.gpg.d")

# Cleared are the machine's hooks, which would run as part of our fetch and work on the machine's folders.
_CONFIGURATION = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Pre-Install-Pkgs;
#clear DPkg::Post-Invoke;
Dir::State "{home}/state";
Dir::State::status "{home}/status";
Dir::Cache "{home}/cache";
Dir::Etc::SourceList "{home}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
APT::Sandbox::User "";
APT::Install-Recommends "false";
APT::Get::AllowUnauthenticated "false";
APT::Update::Error-Mode "any";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
Acquire::Retries "2";
{more}
"""


@dataclass(frozen=True)
class Package:
    """A package to be fetched, or fetched."""

    name: str
    version: str
    file: Path


class AptError(Exception):
    """apt-get failed; the text is what it said."""


class Apt:
    """apt-get with a folder of its own under `home`."""

    def __init__(self, home: Path) -> None:
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise Unavailable(
                "A Debian release is fetched with apt-get and unpacked with dpkg-deb, and this machine "
                "lacks them. Use `--broker container` (needs a container engine) or "
                "`--broker local` (needs rabbitmq-server)."
            )
        self._home = home
        for folder in ("state/lists/partial", "cache/archives/partial"):
            (home / folder).mkdir(parents=True, exist_ok=True)
        (home / "status").touch()

    def mirrors(self) -> list[str]:
        """Return the base URIs in the machine's sources that may be Debian's, the likeliest first."""
        listed = subprocess.run(
            ["apt-get", "update", "--print-uris", "-o", f"Dir::State={self._home / 'state'}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env=_environment(),
        ).stdout
        suites: dict[str, set[str]] = {}
        for base, suite in re.findall(r"^'(\S+?)/?/dists/(\S+?)/InRelease'", listed, flags=re.MULTILINE):
            suites.setdefault(base, set()).add(suite)

        def is_the_archive(base: str) -> bool:  # others offer packages for Debian, but no updates of it
            return any(suite.endswith("-updates") for suite in suites[base])

        return sorted((base for base in suites if suites[base] & _SUITES), key=is_the_archive, reverse=True)

    def update(self, mirror: str, release: str, keyring: Path | None, report: Callable[[float], None]) -> None:
        """Fetch and verify the lists of `release` (no keyring: by all that apt trusts). Raises `AptError`."""
        options = f" [signed-by={keyring}]" if keyring else ""
        (self._home / "sources.list").write_text(f"deb{options} {mirror} {release} main\n")
        # The testing release is not re-signed while its mirror stands still; its signature is still checked.
        more = 'Acquire::Check-Valid-Until "false";' if release == RELEASES[-1] else ""
        (self._home / "apt.conf").write_text(_CONFIGURATION.format(home=self._home, more=more))
        self._run(["update"], report)

    def find(self, packages: Sequence[str]) -> list[Package]:
        """Return `packages` and all that they depend on. Raises `AptError`."""
        output = self._run(["install", "--download-only", "--print-uris", "--yes", *packages])
        found = []
        for name in re.findall(r"^'\S+' (\S+\.deb) ", output, flags=re.MULTILINE):
            package, version, _ = name.split("_")
            found.append(Package(package, unquote(version), self._home / "cache" / "archives" / name))
        return found

    def fetch(self, packages: Sequence[str], report: Callable[[float], None]) -> None:
        """Fetch `packages` and all that they depend on; continues what was interrupted. Raises `AptError`."""
        self._run(["install", "--download-only", "--yes", *packages], report)

    def keyring(self, report: Callable[[float], None]) -> Path:
        """Return the archive keyring of the release whose lists were fetched last. Raises `AptError`."""
        package = "debian-archive-keyring"
        self.fetch([package], report)
        file = next((self._home / "cache" / "archives").glob(f"{package}_*.deb"))
        folder = file.with_suffix("")
        run = subprocess.run(["dpkg-deb", "-x", file, folder], capture_output=True, text=True, check=False)
        file.unlink()
        for path in _KEYRINGS:
            if (folder / path.relative_to("/")).exists():
                return folder / path.relative_to("/")
        raise AptError(f"{file.name} has no keyring that we know: {run.stderr}")

    def _run(self, arguments: Sequence[str], report: Callable[[float], None] | None = None) -> str:
        """Run apt-get under the warden, so that it ends when we are killed; return what it printed."""
        said = self._home / "said"
        read, write = os.pipe()
        with said.open("wb") as stderr, os.fdopen(read, errors="replace") as output:
            argv = [
                "apt-get",
                "-c",
                str(self._home / "apt.conf"),
                "-qq",
                "-o",
                "APT::Status-Fd=1",
                *arguments,
            ]
            try:
                child = get_warden().spawn(
                    argv, env=_environment(), cwd=self._home, stdout=write, stderr=stderr.fileno()
                )
            finally:
                os.close(write)
            lines = []
            for line in output:
                lines.append(line)
                if report and line.startswith("dlstatus:"):
                    with contextlib.suppress(IndexError, ValueError):
                        report(float(line.split(":")[2]) / 100)
            status = child.wait(timeout=60)
        if status:
            raise AptError(said.read_text(errors="replace").strip())
        return "".join(lines)


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}


def machine_keyring() -> Path | None:
    """Return the machine's Debian archive keyring; None when apt trusts its keys anyway."""
    for keyring in _KEYRINGS:
        if keyring.exists():
            return keyring
    if any(_TRUSTED.glob("debian-archive-*")):
        return None
    raise Unavailable(
        "The keys that Debian's releases are verified by are not on this machine: "
        "install the package debian-archive-keyring."
    )


def update_from_any(apt: Apt, release: str, report: Callable[[float], None]) -> None:
    """Fetch the lists of `release` from the first mirror that has it. Raises `Unavailable`.

    A release that is signed by keys which the machine's keyring is too old to know is verified by a newer
    keyring, taken from an older release that the machine's keyring, or the newer one, does verify.
    """
    keyring = machine_keyring()
    mirrors = apt.mirrors()
    if not mirrors:
        raise Unavailable(
            f"The apt sources of this machine name no mirror of Debian, so {release} cannot be fetched. "
            "Add one, or use another broker (`--broker container`, `--broker local`, an amqp:// URL)."
        )
    reasons = []
    for mirror in mirrors:
        try:
            _update(apt, mirror, release, keyring, report)
        except AptError as error:
            reasons.append(f"{mirror}: {_last_line(error)}")
        else:
            return
    raise Unavailable(
        f"Debian {release} cannot be fetched from the mirrors in this machine's apt sources:\n  "
        + "\n  ".join(reasons)
        + "\nIs the network up? Has the release been moved to Debian's archive of old releases?"
    )


def _update(apt: Apt, mirror: str, release: str, keyring: Path | None, report: Callable[[float], None]) -> None:
    try:
        apt.update(mirror, release, keyring, report)
    except AptError as error:
        if "NO_PUBKEY" not in str(error) and "Missing key" not in str(error):
            raise
        older = RELEASES[: RELEASES.index(release)]
        if not older:
            raise
        _update(apt, mirror, older[-1], keyring, report)
        apt.update(mirror, release, apt.keyring(report), report)


def _last_line(error: AptError) -> str:
    lines = [line for line in str(error).splitlines() if line.startswith("E:")] or str(error).splitlines()
    return lines[0].removeprefix("E: ") if lines else "apt-get said nothing"
