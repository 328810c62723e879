"""Numbers used once, drawn in advance: they may be public, but no two may ever be the same.

Each draw from the kernel lets go of the interpreter, for which the loop of a busy web process then has to wait.
"""

import os

BYTES = 12  # AES-GCM's nonce
AHEAD = 256

_drawn: list[bytes] = []


def nonce() -> bytes:
    """Twelve random bytes. Nobody else is given the same: ``pop`` takes them away in one step, whatever the thread."""
    while True:
        try:
            return _drawn.pop()
        except IndexError:
            fresh = os.urandom(AHEAD * BYTES)
            _drawn.extend([fresh[start : start + BYTES] for start in range(0, len(fresh), BYTES)])


os.register_at_fork(after_in_child=_drawn.clear)  # the parent goes on to use them
