"""Refuses migrations of the data plane that the release before could not live with.

While a release goes out, its code meets schemas that are not migrated yet, and the code before it schemas that are.
So a release may add; what it stops using, the next one may take away, and the migration's file says so:

    class Migration(migrations.Migration):
        destructive = "0.4 stopped using Message.draft"

Source: docs/development.md, "A migration of the data plane"
"""

from collections.abc import Iterator

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.db.migrations import Migration, operations
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.db.models import NOT_PROVIDED, Field

LABELS = frozenset({*settings.DATA_APPS, *settings.BOTH_APPS})
TAKING = (operations.RemoveField, operations.DeleteModel, operations.RenameField, operations.RenameModel,
          operations.AlterModelTable)  # fmt: skip
# What takes every value that the type before it took
WIDER = {
    "SmallIntegerField": {"IntegerField", "BigIntegerField"},
    "PositiveSmallIntegerField": {"PositiveIntegerField", "PositiveBigIntegerField", "IntegerField", "BigIntegerField"},
    "IntegerField": {"BigIntegerField"},
    "PositiveIntegerField": {"PositiveBigIntegerField", "BigIntegerField"},
    "AutoField": {"BigAutoField"},
    "CharField": {"TextField"},
    "SlugField": {"CharField", "TextField"},
}
HINT = (
    "Leave it for the next release, whose migration names the release that stopped using it: "
    'destructive = "0.4 stopped using …" in the Migration class (docs/development.md).'
)


def check(app_configs=None, **kwargs) -> list[CheckMessage]:
    """Django's system check tenants.E001, over the migrations of our own apps."""
    loader = MigrationLoader(None)
    plan = loader.graph._generate_plan(loader.graph.leaf_nodes(), at_end=True)
    return list(faults([loader.graph.nodes[key] for key in plan]))


def faults(plan: list[Migration], *, labels: frozenset[str] = LABELS) -> Iterator[CheckMessage]:
    """One for each operation that takes something away. ``plan`` is in the order of application."""
    state = ProjectState()
    for migration in plan:
        ours = migration.app_label in labels and not migration.__module__.startswith(("django.", "allauth."))
        excused = bool(getattr(migration, "destructive", "").strip())
        for operation in migration.operations:
            for done in _in_the_database(operation) if ours and not excused else ():
                if why := _fault(done, migration.app_label, state):
                    where = f"{migration.app_label}.{migration.name}"
                    yield Error(f"{where}: {done.describe()}: {why}.", hint=HINT, id="tenants.E001")
            operation.state_forwards(migration.app_label, state)


def _in_the_database(operation) -> list:
    separate = isinstance(operation, operations.SeparateDatabaseAndState)
    return operation.database_operations if separate else [operation]


def _fault(operation, label: str, state: ProjectState) -> str:
    if isinstance(operation, TAKING):
        return "the release before still uses it"
    if isinstance(operation, operations.AddField) and _must_be_filled(operation.field):
        return "the release before cannot fill it; give it null=True or a db_default"
    if isinstance(operation, operations.AlterField):
        before = state.models[label, operation.model_name_lower].fields[operation.name]
        return _narrowing(before, operation.field)
    return ""


def _must_be_filled(field: Field) -> bool:
    return not (field.many_to_many or field.null or field.db_default is not NOT_PROVIDED)


def _narrowing(before: Field, after: Field) -> str:
    """Why the column takes less, or is found less, than before; "" if it is not so."""
    if before.null and not after.null:
        return "rows without a value are refused"
    if after.unique and not before.unique:
        return "equal values are refused"
    if before.db_column != after.db_column:
        return "the column's name changes"
    was, becomes = before.get_internal_type(), after.get_internal_type()
    if was != becomes and becomes not in WIDER.get(was, ()):
        return f"{was} becomes {becomes}"
    return _shorter(before, after)


def _shorter(before: Field, after: Field) -> str:
    for name in ("max_length", "max_digits", "decimal_places"):
        was, becomes = getattr(before, name, None), getattr(after, name, None)
        if becomes is not None and (was is None or becomes < was) and after.get_internal_type() != "TextField":
            return f"{name} is {becomes}, and was {was or 'not limited'}"
    return ""
