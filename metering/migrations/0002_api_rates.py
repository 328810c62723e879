from django.core.validators import MinValueValidator
from django.db import migrations, models

RATES = [("free", 60, None), ("pro", 600, 300), ("enterprise", 6_000, 3_000)]  # code, of the tenant, with one key


def set_rates(apps, schema_editor):
    plans = apps.get_model("metering", "Plan").objects.using(schema_editor.connection.alias)
    for code, of_tenant, of_key in RATES:
        plans.filter(code=code).update(api_requests_per_minute=of_tenant, api_requests_per_minute_of_key=of_key)


class Migration(migrations.Migration):
    dependencies = [
        ("metering", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="plan",
            name="api_requests_per_minute",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Of all the tenant's keys together. Empty: what API_REQUESTS_PER_MINUTE says",
                null=True,
                validators=[MinValueValidator(1)],
                verbose_name="API requests a minute",
            ),
        ),
        migrations.AddField(
            model_name="plan",
            name="api_requests_per_minute_of_key",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="So that one program in a loop leaves room for the others. Empty: as many as the tenant has",
                null=True,
                validators=[MinValueValidator(1)],
                verbose_name="API requests a minute with one key",
            ),
        ),
        migrations.RunPython(set_rates, migrations.RunPython.noop),
    ]
