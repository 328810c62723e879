"""Changes who works for a tenant and as what. Rules that hold for everybody stand here, once."""

from uuid import UUID

from platform_site.errors import BadInput, Conflict, NotFound, Refused
from tenants.accounts import invitations, roles
from tenants.accounts.models import Invitation, User
from tenants.models import AuditEvent
from tenants.transactions import atomic

OWNER = "owner"


def invite(*, email: str, role: str, by: User) -> str:
    """Invite somebody; return the link. Only owners make owners. Raises Refused, BadInput, NotMailed."""
    _may_give(by, role)
    try:
        link = invitations.invite(email=email, role=role, by=by.email)
    except invitations.NotMailed:  # it stands all the same
        _record(by, "team.invited", email=email, role=role)
        raise
    _record(by, "team.invited", email=email, role=role)
    return link


def withdraw(invitation_id: UUID, *, by: User) -> None:
    """From now on the invitation's link is refused. Raises NotFound when it is not open."""
    withdrawn, _ = Invitation.objects.filter(pk=invitation_id, accepted_at=None).delete()
    if not withdrawn:
        raise NotFound
    _record(by, "team.invitation_withdrawn", invitation=str(invitation_id))


def change_role(user_id: UUID, role: str, *, by: User) -> User:
    """Give a colleague another role. Only owners make or unmake owners, and one owner always stays.

    Raises  NotFound, Refused, Conflict, BadInput
    """
    with atomic():
        person = _colleague(user_id, by)
        _may_give(by, role)
        if person.role == OWNER and role != OWNER:
            _another_owner_than(person)
        person.role = role
        person.save(update_fields=["role"])
        if role != OWNER:
            _withdraw_all_of(person, role=OWNER)
    _record(by, "team.role_changed", person=person.email, role=role)
    return person


def switch(user_id: UUID, *, on: bool, by: User) -> User:
    """Let a colleague sign in, or no longer; open sessions end at their next request. Raises as ``change_role``."""
    with atomic():
        person = _colleague(user_id, by)
        if person.role == OWNER and not on:
            _another_owner_than(person)
        person.is_active = on
        person.save(update_fields=["is_active"])
        if not on:
            _withdraw_all_of(person)
    _record(by, "team.switched_on" if on else "team.switched_off", person=person.email)
    return person


def _colleague(user_id: UUID, by: User) -> User:
    """Locked. All owners are locked with them, so two owners cannot unmake each other at once."""
    owners = list(User.objects.select_for_update().filter(role=OWNER).order_by("pk"))
    person = next((owner for owner in owners if owner.pk == user_id), None)
    person = person or User.objects.select_for_update().filter(pk=user_id).exclude(role="").first()
    if person is None:
        raise NotFound
    if person.pk == by.pk:
        raise Refused("You cannot change your own account. Ask a colleague who manages the team.")
    if person.role == OWNER and by.role != OWNER:
        raise Refused("Only owners can change an owner.")
    return person


def _may_give(by: User, role: str) -> None:
    if role not in roles.RIGHTS:
        raise BadInput("Choose a role.")
    if role == OWNER and by.role != OWNER:
        raise Refused("Only owners can make somebody an owner.")


def _withdraw_all_of(person: User, **which) -> None:
    """A link that somebody keeps for later must not outlive their right to give it."""
    Invitation.objects.filter(invited_by=person.email, accepted_at=None, **which).delete()


def _another_owner_than(person: User) -> None:
    if not User.objects.filter(role=OWNER, is_active=True).exclude(pk=person.pk).exists():
        raise Conflict("This is the only owner. Make somebody else an owner first.")


def _record(by: User, action: str, **details) -> None:
    AuditEvent.objects.create(actor=by.email, action=action, details=details)
