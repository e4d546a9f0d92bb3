from django.db import migrations, models

from config.indexes import AddIndexBesideWrites


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("billing", "0003_payments")]

    operations = [
        AddIndexBesideWrites(
            "entry",
            models.Index(fields=["wallet", "created_at", "kind", "held_credits"], name="entries_of_a_time"),
        ),
    ]
