"""Runs management commands in processes of their own."""

import hashlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from platform_site.local import folder as files
from platform_site.local.errors import LocalError
from platform_site.local.processes import ROOT, marked_environment

DEPLOYED = "deployed"  # in the folder: the migrations that its database has


def run(folder: Path, command: str, *, watch: Callable[[], None] = lambda: None) -> str:
    """Run one command to its end; what it printed.

    watch   called again and again meanwhile
    Raises  LocalError with the end of its log
    """
    log = folder / "logs" / f"{command}.log"
    files.make_private(log.parent)
    files.rotate(log)
    printed = log.with_suffix(".out")
    with log.open("ab") as errors, printed.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "manage.py", command],
            cwd=ROOT,
            env=marked_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
        try:
            while child.poll() is None:
                watch()
                time.sleep(0.05)
        finally:
            child.kill()
    text = printed.read_text()
    printed.unlink()
    if child.returncode:
        raise LocalError(f"manage.py {command} failed. The end of {log}:\n{files.tail(log)}")
    return text


def deploy(folder: Path) -> None:
    """Bring the database up to date, and remember up to which migrations."""
    run(folder, "deploy")
    files.write_private(folder / DEPLOYED, _migrations())


def is_deployed(folder: Path) -> bool:
    """Whether the folder's database has every migration there is."""
    path = folder / DEPLOYED
    return path.exists() and path.read_text() == _migrations()


def _migrations() -> str:
    """Changes with any migration, of ours or of a package."""
    digest = hashlib.sha256((ROOT / "requirements.txt").read_bytes())
    for pattern in ("*/migrations/*.py", "*/*/migrations/*.py"):
        for path in sorted(ROOT.glob(pattern)):
            digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()
