from django.db import migrations, models

import metering.models


class Migration(migrations.Migration):
    dependencies = [
        ("metering", "0002_api_rates"),
    ]

    operations = [
        migrations.AddField(
            model_name="plan",
            name="model_names",
            field=models.TextField(
                blank=True,
                default="",
                help_text="One a line, as litellm names them, beside the recommended one. "
                "Empty: what TENANT_MODELS says",
                validators=[metering.models.check_models],
                verbose_name="models that tenants may choose",
            ),
        ),
    ]
