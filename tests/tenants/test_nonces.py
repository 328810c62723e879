"""tenants.nonces: what is used once is given once, to whichever thread or process."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

from tenants.nonces import AHEAD, BYTES, nonce


def test_threads_never_get_the_same():
    def draw(_):
        return [nonce() for _ in range(20 * AHEAD)]

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            drawn = [each for some in threads.map(draw, range(8)) for each in some]
    finally:
        sys.setswitchinterval(before)
    assert len(set(drawn)) == len(drawn) == 8 * 20 * AHEAD
    assert {len(each) for each in drawn} == {BYTES}


def test_a_child_gets_others_than_its_parent():
    nonce()
    reader, writer = os.pipe()
    if not (child := os.fork()):
        try:
            os.write(writer, b"".join(nonce() for _ in range(AHEAD)))
        finally:
            os._exit(0)  # whatever happens: a second pytest would go on here
    os.waitpid(child, 0)
    drawn = os.read(reader, AHEAD * BYTES)
    os.close(reader)
    os.close(writer)
    of_child = {drawn[start : start + BYTES] for start in range(0, len(drawn), BYTES)}
    assert len(of_child) == AHEAD
    assert not of_child & {nonce() for _ in range(AHEAD)}
