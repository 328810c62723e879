"""Asks the DNS for TXT records. The only module that speaks to name servers."""

from django.conf import settings

from platform_site.errors import NotFound, TemporaryFailure


class NoRecord(NotFound):
    """The DNS says for certain that there is no such record."""

    code = "no_record"


class NoDnsAnswer(TemporaryFailure):
    """The DNS said nothing that can be relied on: there may be a record or not."""

    code = "no_dns_answer"


def txt(name: str) -> list[str]:
    """The TXT records of a name, each with its pieces joined; aliases (CNAME) are followed.

    Takes at most settings.DNS_SECONDS.
    Raises  NoRecord     there is none
            NoDnsAnswer  whether there is one cannot be told now
    """
    import dns.exception
    import dns.resolver

    try:
        answer = _resolver().resolve(f"{name}.", "TXT", search=False)
    except dns.resolver.NXDOMAIN:
        raise NoRecord(f"The DNS knows no name {name}.") from None
    except dns.resolver.NoAnswer:
        raise NoRecord(f"{name} has no TXT record.") from None
    except dns.exception.Timeout:
        raise NoDnsAnswer(f"No name server answered within {settings.DNS_SECONDS:g} seconds.") from None
    except dns.resolver.NoNameservers:
        raise NoDnsAnswer(f"The name servers that should know {name} failed to answer (SERVFAIL or refused).") from None
    except dns.exception.DNSException as error:
        raise NoDnsAnswer(f"{name} could not be looked up: {error}") from None
    return [b"".join(record.strings).decode("utf-8", "replace") for record in answer]


def _resolver():
    from dns.nameserver import Do53Nameserver
    from dns.resolver import Resolver

    resolver = Resolver(configure=not settings.DNS_SERVERS)  # without any of ours, the system's
    if settings.DNS_SERVERS:
        resolver.nameservers = [Do53Nameserver(address, port) for address, port in settings.DNS_SERVERS]
    resolver.lifetime = settings.DNS_SECONDS
    resolver.timeout = settings.DNS_SECONDS / 2  # one silent server leaves time for the next
    return resolver
