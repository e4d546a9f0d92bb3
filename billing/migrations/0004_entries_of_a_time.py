from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("billing", "0003_payments")]

    operations = [
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(fields=["wallet", "created_at", "kind", "held_credits"], name="entries_of_a_time"),
        ),
    ]
