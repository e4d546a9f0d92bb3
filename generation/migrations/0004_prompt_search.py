from django.db import migrations

# The words of the prompts, for the history's search; generation/history.py asks with exactly this expression.
CREATE = """
CREATE INDEX history_words ON generation_generation
USING gin (to_tsvector('simple'::regconfig, COALESCE((params ->> 'prompt'), '')))
WHERE deleted_at IS NULL
"""


def create(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(CREATE)


def drop(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP INDEX history_words")


class Migration(migrations.Migration):

    dependencies = [("generation", "0003_history_and_usage")]

    operations = [migrations.RunPython(create, drop)]
