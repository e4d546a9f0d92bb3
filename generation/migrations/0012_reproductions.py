from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("generation", "0011_accelerator_seconds")]

    operations = [
        migrations.AddField(
            "generation",
            "reproduces",
            models.ForeignKey(
                "generation.Generation", models.SET_NULL, null=True, blank=True, related_name="reproductions"
            ),
        ),
        migrations.AddField(
            "generation", "largest_difference", models.PositiveSmallIntegerField(null=True, blank=True)
        ),
    ]
