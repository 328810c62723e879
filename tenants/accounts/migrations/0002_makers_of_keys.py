from django.db import migrations, models

# Who made a key answers for it; the address is all that was kept of them so far
MAKERS = """
update accounts_apikey k set maker_id = u.id from accounts_user u
where u.role <> '' and lower(u.email) = lower(k.created_by)
"""


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="maker_id",
            field=models.UUIDField(blank=True, help_text="User who answers for it; it works while they do", null=True),
        ),
        migrations.RunSQL(MAKERS, migrations.RunSQL.noop),
    ]
