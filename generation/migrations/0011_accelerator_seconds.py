from django.db import migrations, models
from django.db.models import F


def all_that_passed(apps, schema_editor):
    apps.get_model("generation", "Generation").objects.update(accelerator_seconds=F("compute_seconds"))


class Migration(migrations.Migration):
    dependencies = [("generation", "0010_summed_days")]

    operations = [
        migrations.AddField("generation", "accelerator_seconds", models.FloatField(default=0)),
        migrations.RunPython(all_that_passed, migrations.RunPython.noop, elidable=True),
    ]
