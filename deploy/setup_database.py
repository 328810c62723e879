#!/usr/bin/env python
"""Makes an empty PostgreSQL 18 server ready for Atrium, and prints the four addresses that Atrium needs.

    ADMIN_DATABASE_URL=postgresql://postgres:…@host:5432/postgres .venv/bin/python deploy/setup_database.py

It creates four login roles with random passwords and one database; the superuser is used here and nowhere else.
Running it again creates what is missing and gives the roles new passwords: put the new addresses everywhere.
"""

import argparse
import os
import secrets
import sys
from pathlib import Path

import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tenants.bootstrap import ROLES, setup_database  # noqa: E402

ADMIN = "ADMIN_DATABASE_URL"


def main() -> None:
    """Read the command line, set the server up, print lines for the environment file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install", default="atrium", help="prefix of the roles; as INSTALL in the environment")
    parser.add_argument("--database", default="atrium", help="name of the database")
    options = parser.parse_args()
    admin_url = os.environ.get(ADMIN) or sys.exit(f"{ADMIN} is not set: the address of a superuser's login.")
    passwords = {role: secrets.token_urlsafe(24) for role in ROLES}
    try:
        addresses = setup_database(admin_url, install=options.install, database=options.database, passwords=passwords)
    except psycopg.Error as error:
        sys.exit(f"The server could not be set up: {str(error).strip()}")
    lines = {"INSTALL": options.install, **addresses}
    sys.stdout.writelines(f"{name}={value}\n" for name, value in lines.items())


if __name__ == "__main__":
    main()
