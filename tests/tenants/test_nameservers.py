"""tenants.nameservers: what a name server may answer, and what is made of it."""

import pytest

from tenants import nameservers
from tenants.nameservers import NoDnsAnswer, NoRecord
from tests.doubles.dns_server import dns_server
from tests.processes import free_port

NAME = "_atrium.chat.example.com"


@pytest.fixture
def dns(settings):
    with dns_server() as server:
        settings.DNS_SERVERS = [("127.0.0.1", server.port)]
        yield server


def test_each_record_comes_whole_however_it_was_cut(dns):
    long = "atrium-verify=" + 300 * "x"
    dns.txt(NAME, "v=spf1 -all", ["atrium-", "verify=", "a b"], long)
    assert sorted(nameservers.txt(NAME)) == sorted(["v=spf1 -all", "atrium-verify=a b", long])


def test_an_alias_is_followed(dns):
    dns.alias(NAME, "one.example.net")
    dns.alias("one.example.net", "two.example.net")
    dns.txt("two.example.net", "here")
    assert nameservers.txt(NAME) == ["here"]


def test_what_is_certainly_not_there_is_said_so(dns):
    with pytest.raises(NoRecord, match="knows no name"):
        nameservers.txt(NAME)
    dns.exists(NAME)
    with pytest.raises(NoRecord, match="no TXT record"):
        nameservers.txt(NAME)
    dns.alias(NAME, "gone.example.net")
    with pytest.raises(NoRecord, match="knows no name"):
        nameservers.txt(NAME)


def test_what_cannot_be_told_now_is_a_temporary_failure(dns, settings):
    settings.DNS_SECONDS = 0.3
    dns.fails(NAME)
    with pytest.raises(NoDnsAnswer, match="SERVFAIL"):
        nameservers.txt(NAME)
    dns.is_silent(NAME)
    with pytest.raises(NoDnsAnswer, match=r"within 0\.3 seconds"):
        nameservers.txt(NAME)


def test_a_server_that_is_away_leaves_the_question_to_the_next(dns, settings):
    dns.txt(NAME, "here")
    settings.DNS_SERVERS = [("127.0.0.1", free_port()), *settings.DNS_SERVERS]
    settings.DNS_SECONDS = 1
    assert nameservers.txt(NAME) == ["here"]
