"""`bin/up --restart`: asks the running `bin/up` to replace its web processes, and shows what it says.

Both speak through two files in ``run/``: the wish, which is taken away when it is heard, and the answer, a JSON object
a line, which goes on until ``done`` or ``failed``.
"""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from platform_site.local import folder as files
from platform_site.local.errors import LocalError
from platform_site.local.progress import say
from platform_site.local.supervisor import Supervisor
from platform_site.local.web import Web

HEARD_SECONDS = 60  # it may be starting, or bring something back
LOOK_SECONDS = 0.1


def ask(folder: Path, *, is_running: Callable[[], bool]) -> None:
    """Have the web processes replaced; return when all are.

    Raises  LocalError  nothing runs here, or a new process did not get ready
    """
    if not is_running():
        raise LocalError("Nothing runs here. bin/up starts it.")
    try:
        with files.locked(folder / "run" / "asking-restart", wait=False):
            _answer(folder).unlink(missing_ok=True)
            files.write_private(_wish(folder), "")
            for kind, text in _heard(folder, is_running):
                if kind == "failed":
                    raise LocalError(text)
                say(text)
    except BlockingIOError:
        raise LocalError("A restart is under way already.") from None


def obey(supervisor: Supervisor) -> None:
    """If somebody asks for it, replace the web processes one after the other."""
    folder = supervisor.folder
    if not _wish(folder).exists():
        return
    _wish(folder).unlink()
    try:
        for web in [one for one in supervisor.services if isinstance(one, Web)]:
            _tell(folder, "step", f"{web.title}: starting a new process")
            supervisor.renew(web)
            _tell(folder, "step", f"{web.title}: the new one serves, the old one has finished")
        _tell(folder, "done", "All web processes are new.")
    except (LocalError, OSError) as error:  # a full disk, for one
        _tell(folder, "failed", str(error))


def _tell(folder: Path, kind: str, text: str) -> None:
    with _answer(folder).open("a") as answer:
        answer.write(json.dumps([kind, text]) + "\n")


def _heard(folder: Path, is_running: Callable[[], bool]) -> Iterator[tuple[str, str]]:
    """What `bin/up` answers, as it does. Raises LocalError: it does not, or ended."""
    given_up, seen = time.monotonic() + HEARD_SECONDS, 0
    while True:
        lines = _answer(folder).read_text().split("\n")[:-1] if _answer(folder).exists() else []
        for line in lines[seen:]:
            seen += 1
            kind, text = json.loads(line)
            yield kind, text
            if kind == "done":
                return
        if not is_running():
            raise LocalError("bin/up ended meanwhile.")
        if not seen and time.monotonic() > given_up:
            _wish(folder).unlink(missing_ok=True)
            raise LocalError(f"bin/up does not answer within {HEARD_SECONDS} s.")
        time.sleep(LOOK_SECONDS)


def _wish(folder: Path) -> Path:
    return folder / "run" / "restart"


def _answer(folder: Path) -> Path:
    return folder / "run" / "restart.log"
