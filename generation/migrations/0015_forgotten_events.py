from django.db import migrations, models


def forget(apps, schema_editor):
    """Let the sweep remove what is still there of generations that were deleted."""
    apps.get_model("generation", "Event").objects.filter(generation__deleted_at__isnull=False).update(is_forgotten=True)


class Migration(migrations.Migration):
    dependencies = [("generation", "0014_fetched_lately_and_deliveries_by_state")]

    operations = [
        migrations.AddField("event", "is_forgotten", models.BooleanField(default=False)),
        migrations.AddIndex(
            "event",
            models.Index(fields=["id"], name="forgotten_events", condition=models.Q(is_forgotten=True)),
        ),
        migrations.RunPython(forget, migrations.RunPython.noop),
    ]
