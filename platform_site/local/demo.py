"""The demo tenants: seeded once, their logins kept in a private file."""

import json
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from platform_site.local import folder as files
from platform_site.local.errors import LocalError
from platform_site.local.progress import say

FILE = "logins.json"


def known(folder: Path) -> dict | None:
    """What ``seed_demo`` reported on the first run; None before it."""
    path = folder / FILE
    return json.loads(path.read_text()) if path.exists() else None


def keep(folder: Path, output: str) -> dict:
    """Keep the JSON object that ``seed_demo`` printed, and return it."""
    try:
        report = json.loads(output[output.index("{") :])
    except ValueError:
        raise LocalError(f"manage.py seed_demo printed no JSON object: {output.strip()[:200]!r}") from None
    files.write_private(folder / FILE, json.dumps(report, indent=1))
    return report


def show(report: dict, *, port: int, passwords: bool) -> None:
    """Print where to go, and the passwords if asked."""
    for tenant in report["tenants"]:
        say(f"  {tenant['name']}")
        say(f"    chat      {_at(tenant['chat_url'], port)}")
        say(f"    portal    {_at(tenant['url'], port)}")
        for login in tenant["logins"] if passwords else []:
            say(f"    {login['role']:<9} {login['email']:<34} {login['password']}")
    operator = report["operator"]
    say("  Operator")
    say(f"    admin     {_at(operator['url'], port)}")
    if passwords:
        say(f"    {'login':<9} {operator['email']:<34} {operator['password']}")


def _at(url: str, port: int) -> str:
    """The URL with today's port."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.hostname}:{port}"))
