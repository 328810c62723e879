"""The limited process: lock the door, read the file, write JSON lines."""

import importlib
import json
import os
import sys

from . import jail
from .items import Failure


def main(order: dict) -> None:
    """Carry out one order of `sandbox.run`."""
    try:
        jail.enter(order["limits"], order["parent"])
    except (OSError, ValueError) as error:
        _write({"failure": "broken", "detail": str(error)})
        return
    sys.excepthook = _give_up
    with os.fdopen(order["file"], "rb") as file:
        file.seek(0)
        data = file.read()
    for item in importlib.import_module(order["reader"]).read(data):
        _write(item)
    sys.stdout.flush()


def _give_up(kind: type, error: BaseException, _traceback: object) -> None:
    """The outermost frame: says in a word why, never with the document's text."""
    if isinstance(error, Failure):
        _write({"failure": error.code, "reason": error.reason})
    elif isinstance(error, ImportError):  # a library is missing or cannot run here: not the file's fault
        _write({"failure": "broken", "detail": str(error)})
    elif isinstance(error, MemoryError):
        _write({"failure": "too_large"})
    else:
        _write({"failure": "damaged", "detail": kind.__name__})
    sys.stdout.flush()


def _write(item: dict) -> None:
    sys.stdout.write(json.dumps(item) + "\n")
