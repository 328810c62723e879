"""Processes and services killed under running answers:

    python -m tests.load.kills [--kills 50] [--valkey-kills 20] [--flushes 20] [--postgres-restarts 5]
                               [--drops 2000] [--double-sends 500] [--stops 50] [--drains 1]

Needs nothing: starts services of its own. Measures, checks and prints in tests/load/killing.py. Exit status 1 if an
answer was lost, doubled or wrong, if the counters differ from the ledger, or if a log holds a traceback; then the logs
are kept.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from platform_site.local import environment, services
from platform_site.local.processes import ROOT, marked_environment


def main() -> int:
    """Run on services of our own."""
    folder = Path(tempfile.mkdtemp(prefix="atrium-kills-"))
    try:
        fresh = environment.new_secrets() | {"DEBUG": "true"} | services.start_all(folder, durable=False)
        command = [sys.executable, "-m", "tests.load.killing", *sys.argv[1:]]
        status = subprocess.run(command, cwd=ROOT, env=os.environ | marked_environment(folder) | fresh).returncode
    finally:
        services.stop_all(folder)
    if status:
        print(f"logs: {folder}")
    else:
        shutil.rmtree(folder)
    return status


if __name__ == "__main__":
    sys.exit(main())
