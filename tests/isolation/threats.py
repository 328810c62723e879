"""The threat cases A1 to A24, some of B and H, fault rows R14 and R15: what is tried in each, and what still waits.

The tests bear the number in their names (``test_a1_...``), wherever they stand; test_threats.py looks for them.
"""

from typing import NamedTuple


class Case(NamedTuple):
    """``waits``: the part that cannot be tried yet, and for what; "" when all of it is."""

    number: str
    tried: str
    waits: str = ""


CASES = (
    Case("a1", "Every kind of caller asks every route by every method with ids of strangers, in path, query and body.",
         "exports and bulk calls wait until there are any"),
    Case("a2", "Hosts are spelled in all ways, forwarded, doubled and made up.",
         "the road through a proxy is tried where a proxy is part of the product"),
    Case("a3", "Headers, cookies, query and body name another tenant."),
    Case("a4", "Sessions of each host are shown at all others, with users of one key."),
    Case("a5", "A key is used at another host, with a forged tenant, and beside a session."),
    Case("a6", "Every frame names a conversation of another tenant or visitor."),
    Case("a7", "Channel groups, Valkey and cache are asked for names that both tenants use."),
    Case("a8", "One process with warm caches serves the pages of three tenants in turn."),
    Case("a9", "Reads are cancelled midway while others wait for the same connections."),
    Case("a10", "Work of several tenants is interleaved on threads, loops, pools, and during moves."),
    Case("a11", "Messages reach the broker with a wrong, an unknown or no tenant, and as anything but JSON."),
    Case("a12", "A task fails midway in a process that another tenant's task uses next."),
    Case("a13", "Searches, counts and deletions reach for points of another collection, with equal vectors."),
    Case("a14", "The same question is asked at two tenants in turn.",
         "a cache of answers waits until there is one: nothing keeps answers today"),
    Case("a15", "A tenant with a database of its own is looked for elsewhere, by other aliases, and while it moves."),
    Case("a16", "Row security, roles and grants are tried as the run-time login and read from the catalogues."),
    Case("a17", "Stored paths are guessed, and lead out of the folder.",
         "signed links and a media host wait until files are served"),
    Case("a18", "Pages, lists and counts are compared before and after a stranger is filled; its names are taken.",
         "autocomplete and timing wait for a quiet machine and for doors that complete"),
    Case("a19", "The admin is asked for at tenants' hosts, and every route of the operators' host by tenants' people."),
    Case("a20", "Every writing route is sent fields that are not the caller's to set.",
         "template imports wait until there are any"),
    Case("a21", "Names and addresses that could be mistaken, are too long, or are reserved."),
    Case("a22", "Logs, mails and queue are searched for what belongs to others.",
         "metrics, traces and webhooks wait until there are any"),
    Case("a23", "Every command acts for the platform; tools and doors call the same verbs.",
         "tools of tenants and an MCP endpoint wait until there are any"),
    Case("a24", "No route takes a tenant from its caller."),
    Case("b2", "Passwords are guessed at one tenant and asked for at the next.",
         "equal times of wrong names and wrong passwords wait for a quiet machine"),
    Case("b3", "Reset links are used twice, elsewhere, and after a forged host."),
    Case("b8", "Conversations and tickets of other visitors are named.", "the widget's tokens wait for the widget"),
    Case("h1", "Headers and bodies come in drops, or not at all."),
    Case("h2", "Frames and messages are too large, fragmented without end, compressed."),
    Case("h3", "Messages, frames and pings flood; sockets are opened by the thousand; peers leave, or read nothing."),
    Case("h7", "Addresses are forged and changed within a network; methods and processes alternate; Valkey is away.",
         "the widget's door waits for the widget"),
    Case("r14", "The fleet's migration is killed in the middle of a tenant, and fails for one of many."),
    Case("r15", "Provisioning is killed at every statement, opening a database and moving at every step."),
)  # fmt: skip
