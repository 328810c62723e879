"""Start the vector service: ``python -m knowledge.embedded --folder DIR --port N``, key in VECTOR_API_KEY."""

import argparse
import fcntl
import logging
import os
import signal
import socket
import sys
from pathlib import Path

import uvicorn

from knowledge.embedded.app import App
from knowledge.embedded.service import Service


def main() -> None:
    """Serve one folder on the loopback address until SIGTERM or SIGINT; then flush and leave."""
    parser = argparse.ArgumentParser(prog="python -m knowledge.embedded", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the collections are kept")
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")
    options = parser.parse_args()
    logging.basicConfig(level="WARNING", format="%(asctime)s %(levelname)s %(name)s %(message)s")
    api_key = os.environ.get("VECTOR_API_KEY") or sys.exit("VECTOR_API_KEY is not set.")
    listener = _listen(options.port)
    held = _lock(options.folder)
    app = App(Service(options.folder), api_key)
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        loop="uvloop",
        lifespan="on",
        access_log=False,
        log_config=None,
        timeout_keep_alive=75,  # longer than any client keeps an idle connection, so that it never races us
        timeout_graceful_shutdown=3,
    )
    for number in (signal.SIGTERM, signal.SIGINT):  # raised again by uvicorn once all is flushed
        signal.signal(number, lambda *_: sys.exit(0))
    with held:
        uvicorn.Server(config).run(sockets=[listener])


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        sys.exit(f"Port {port} cannot be used: {error.strerror}.")
    return listener


def _lock(folder: Path):
    """The lock file, held: two writers would destroy the collections."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"Another vector service uses {folder}.")
    return lock


if __name__ == "__main__":
    main()
