from collections import Counter, defaultdict
from datetime import UTC

from django.db import migrations, models
from django.db.models import Max, Sum
from django.db.models.functions import TruncDate

COUNTS = ("succeeded", "failed", "canceled", "images", "blanked_images", "credits")


def count_blanked_images(apps, schema_editor):
    UsageDay = apps.get_model("generation", "UsageDay")
    last = apps.get_model("generation", "SummedDay").objects.aggregate(day=Max("day"))["day"]
    parts = (
        apps.get_model("generation", "Generation")
        .objects.filter(blanked_images__gt=0)
        .annotate(day=TruncDate("finished_at", tzinfo=UTC))
        .values("account_id", "day", "api_key_id", "model")
        .annotate(count=Sum("blanked_images"))
        .order_by()
    )
    for part in parts.iterator():
        count = part.pop("count")
        # Of keys that are gone there may be several rows for one part: their sum counts.
        row = UsageDay.objects.filter(**part).order_by("-images", "id").first() if last and part["day"] <= last else None
        if row:
            row.blanked_images = count
            row.save(update_fields=["blanked_images"])


def add_up(apps, schema_editor):
    counts, latencies = defaultdict(Counter), defaultdict(Counter)
    rows = apps.get_model("generation", "UsageDay").objects.values_list("day", "model", "latencies", *COUNTS)
    for day, model, buckets, *numbers in rows.iterator():
        counts[day, model].update(dict(zip(COUNTS, numbers)))
        latencies[day, model].update(buckets)
    SiteDay = apps.get_model("generation", "SiteDay")
    SiteDay.objects.bulk_create(
        [
            SiteDay(day=day, model=model, latencies=latencies[day, model], **numbers)
            for (day, model), numbers in counts.items()
        ],
        batch_size=1000,
    )


class Migration(migrations.Migration):

    dependencies = [("generation", "0015_forgotten_events")]

    operations = [
        migrations.AddField(
            model_name="usageday",
            name="blanked_images",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.CreateModel(
            name="SiteDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("model", models.CharField(blank=True, max_length=200)),
                ("succeeded", models.PositiveIntegerField(default=0)),
                ("failed", models.PositiveIntegerField(default=0)),
                ("canceled", models.PositiveIntegerField(default=0)),
                ("images", models.PositiveIntegerField(default=0)),
                ("blanked_images", models.PositiveIntegerField(default=0)),
                ("credits", models.PositiveBigIntegerField(default=0)),
                ("latencies", models.JSONField(default=dict)),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("day", "model"), name="one_sum_a_day_and_model")],
            },
        ),
        migrations.RunPython(count_blanked_images, migrations.RunPython.noop),
        migrations.RunPython(add_up, migrations.RunPython.noop),
    ]
