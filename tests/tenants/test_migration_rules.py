"""A release may add to a tenant's schema; what it takes away must have been out of use for one release."""

import pytest
from django.core.checks import run_checks
from django.db import migrations, models

from tenants import migration_rules

LABEL = "knowledge"
MADE = migrations.CreateModel(
    "Thing",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("name", models.CharField(max_length=40)),
        ("note", models.CharField(max_length=40, null=True)),
        ("count", models.IntegerField(default=0)),
        ("price", models.DecimalField(max_digits=8, decimal_places=2, default=0)),
    ],
)


def migration(number: int, *operations, destructive: str = "", label: str = LABEL):
    """A migration file as it would be loaded."""
    fields = {"operations": list(operations), "__module__": f"{label}.migrations.{number:04}_test"}
    if destructive:
        fields["destructive"] = destructive
    return type("Migration", (migrations.Migration,), fields)(f"{number:04}_test", label)


def faults(*operations, **options) -> list[str]:
    """What is said of a second migration with these operations."""
    plan = [migration(1, MADE, label=options.get("label", LABEL)), migration(2, *operations, **options)]
    return [fault.msg for fault in migration_rules.faults(plan)]


def alter(name: str, field: models.Field):
    return migrations.AlterField("thing", name, field)


TAKES = [
    migrations.RemoveField("thing", "name"),
    migrations.DeleteModel("Thing"),
    migrations.RenameField("thing", "name", "title"),
    migrations.RenameModel("Thing", "Item"),
    migrations.AlterModelTable("thing", "things"),
    migrations.AddField("thing", "must", models.IntegerField(default=1)),
    migrations.SeparateDatabaseAndState(database_operations=[migrations.RemoveField("thing", "name")]),
    alter("note", models.CharField(max_length=40)),
    alter("name", models.CharField(max_length=30)),
    alter("name", models.CharField(max_length=40, unique=True)),
    alter("name", models.CharField(max_length=40, db_column="title")),
    alter("name", models.IntegerField()),
    alter("count", models.SmallIntegerField(default=0)),
    alter("price", models.DecimalField(max_digits=6, decimal_places=2, default=0)),
]
ADDS = [
    migrations.AddField("thing", "may", models.IntegerField(null=True)),
    migrations.AddField("thing", "filled", models.IntegerField(db_default=1)),
    migrations.CreateModel("Other", [("id", models.BigAutoField(primary_key=True))]),
    migrations.AddIndex("thing", models.Index(fields=["name"], name="thing_name")),
    alter("name", models.CharField(max_length=80)),
    alter("name", models.TextField()),
    alter("name", models.CharField(max_length=40, null=True, help_text="new")),
    alter("count", models.BigIntegerField(default=1)),
]


@pytest.mark.parametrize("operation", TAKES, ids=lambda operation: operation.describe())
def test_what_takes_away_is_refused_unless_the_file_says_who_stopped_using_it(operation):
    (fault,) = faults(operation)
    assert fault.startswith("knowledge.0002_test: ")
    assert faults(operation, destructive="0.4 stopped using it") == []
    assert faults(operation, destructive="  ") != []


@pytest.mark.parametrize("operation", ADDS, ids=lambda operation: operation.describe())
def test_what_adds_or_widens_is_allowed(operation):
    assert faults(operation) == []


def test_the_control_plane_is_migrated_at_once_and_may_do_as_it_likes():
    assert faults(migrations.RemoveField("thing", "name"), label="branding") == []


def test_our_own_migrations_obey_and_the_check_is_one_of_djangos():
    assert [message for message in run_checks(tags=["tenants"]) if message.id == "tenants.E001"] == []
    assert migration_rules.check in _registered()


def _registered() -> set:
    from django.core.checks.registry import registry

    return registry.get_checks(include_deployment_checks=True)
