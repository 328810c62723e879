#!/usr/bin/env python
"""Atrium's command line."""

import os
import sys


def main():
    """Run one command; a service that does not answer is said in one line, not as a traceback."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")
    os.environ.setdefault("LOG_LEVEL", "WARNING")  # a command's own output says what it did
    from django.core.management import execute_from_command_line

    from platform_site.outage import explained

    with explained():
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
