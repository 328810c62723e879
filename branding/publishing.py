"""Changes a tenant's brand, and says who did."""

from functools import partial

from django.core.exceptions import ValidationError
from django.db import router, transaction

from branding import brands
from branding.models import Branding
from platform_site.errors import BadInput, Conflict, NotFound
from tenants.models import AuditEvent
from tenants.transactions import atomic_control

EDITABLE = ("name", "colour", "wallpaper", "radius", "font", "powered_by_visible")


def save(branding: Branding | None = None, *, by: str, based_on: int | None = None, **fields) -> Branding:
    """Save the brand, count its revision up, and let every page show it within some seconds.

    branding  whose; the current tenant's when omitted. In platform work it must be given.
    based_on  the revision that the editor saw
    fields    some of EDITABLE; what is the same as before changes nothing
    Raises    BadInput  a value cannot be used; details: fields
              Conflict  somebody has saved since ``based_on``; details: by, at
    """
    with atomic_control(Branding):
        row = _locked(branding)
        if based_on is not None and based_on != row.revision:
            raise Conflict("Somebody has saved the brand since you opened it.", **_last_change(row))
        changed = {name: [getattr(row, name), value] for name, value in fields.items() if getattr(row, name) != value}
        if changed:
            _store(row, {name: new for name, (_, new) in changed.items()})
            AuditEvent.objects.create(
                tenant_id=row.tenant_id, actor=by, action="branding.saved", details={"changed": changed}
            )
        forget = partial(brands.forget, row.tenant_id)
        transaction.on_commit(forget, using=router.db_for_write(Branding))
    return row


def _locked(branding: Branding | None) -> Branding:
    rows = Branding.objects.select_for_update()
    row = rows.filter(pk=branding.pk).first() if branding else rows.first()
    if row is None:
        raise NotFound
    return row


def _store(row: Branding, new: dict) -> None:
    for name, value in new.items():
        setattr(row, name, value)
    row.revision += 1
    try:
        row.full_clean(exclude=["tenant"])
    except ValidationError as error:
        raise BadInput("Not saved: " + " ".join(error.messages), fields=error.message_dict) from None
    row.save(update_fields=[*new, "revision", "updated_at"])


def _last_change(row: Branding) -> dict:
    event = AuditEvent.objects.filter(tenant_id=row.tenant_id, action="branding.saved").order_by("-at").first()
    return {"by": event.actor, "at": event.at.isoformat()} if event else {}
