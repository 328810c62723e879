"""How quickly a web process answers the front's question whether it may get a certificate for a host.

    python -m tests.load.certificates [--times 1000] [--domains 5000]

known    a proved domain among many, asked again and again
unknown  a made-up name each time
flood    made-up names as fast as four callers can ask
reading  the first answer after what the process knew became too old, which reads all names
"""

import argparse
import io
import os
import statistics
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from uuid import uuid4

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")
CALLERS = 4
MARK = "bench-certificate-"
HOST = {"host": "127.0.0.1"}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--domains", type=int, default=5000)
    options = parser.parse_args()
    django.setup()

    import httpx
    from django.core.management import call_command

    from tenants import certificates
    from tests.conftest import web_process

    call_command("deploy", stdout=io.StringIO())
    domain = proved_domain(options.domains)
    with web_process() as port, httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=HOST) as client:
        for _ in range(20):
            asked(client, domain)
        report("known", [asked(client, domain) for _ in range(options.times)])
        report("unknown", [asked(client, made_up()) for _ in range(options.times)])
        with ThreadPoolExecutor(CALLERS) as pool:
            names = [made_up() for _ in range(options.times)]
            report(f"flood, {CALLERS} callers", list(pool.map(asked, repeat(client), names)))
        report("reading", [asked(client, domain, after=certificates.KEPT_SECONDS) for _ in range(5)])


def asked(client, name: str, *, after: float = 0) -> tuple[float, int]:
    """Milliseconds and status of one answer; asked ``after`` seconds."""
    time.sleep(after)
    begun = time.perf_counter()
    status = client.get("/tls/may-issue", params={"domain": name}).status_code
    return 1000 * (time.perf_counter() - begun), status


def report(what: str, answers: list[tuple[float, int]]) -> None:
    """One line."""
    took = sorted(milliseconds for milliseconds, _ in answers)
    p99 = took[int(len(took) * 0.99)]
    statuses = ", ".join(f"{number} x {status}" for status, number in sorted(Counter(s for _, s in answers).items()))
    print(f"{what:<24} median {statistics.median(took):.2f} ms, p99 {p99:.2f} ms: {statuses}")  # noqa: T201


def made_up() -> str:
    """A name that nobody has."""
    return f"{uuid4().hex}.example.com"


def proved_domain(number: int) -> str:
    """One of so many domains of a fresh tenant; those of a run before are removed."""
    from django.utils import timezone

    from tenants import provisioning
    from tenants.context import acting_for_platform
    from tenants.models import Domain

    name = f"bench-{uuid4().hex[:8]}"
    tenant = provisioning.create(name=name, slug=name, vertical="healthcare", plan="pro", by="a benchmark")
    with acting_for_platform("benchmark"):
        Domain.objects.filter(domain__startswith=MARK).delete()
        Domain.objects.bulk_create(
            Domain(domain=f"{MARK}{n}.example.com", tenant=tenant, verified_at=timezone.now(), is_primary=False)
            for n in range(number)
        )
    return f"{MARK}{number // 2}.example.com"


if __name__ == "__main__":
    main()
