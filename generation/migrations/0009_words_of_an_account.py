from django.db import migrations

# The words of the prompts, and one for their account, for the history's search: generation.history.Words.
CREATE = """
CREATE INDEX history_words ON generation_generation
USING gin (to_tsvector('simple'::regconfig, 'account' || account_id::text || ' ' || (params ->> 'prompt')))
WHERE deleted_at IS NULL
"""
CREATE_WITHOUT_ACCOUNT = """
CREATE INDEX history_words ON generation_generation
USING gin (to_tsvector('simple'::regconfig, COALESCE((params ->> 'prompt'), '')))
WHERE deleted_at IS NULL
"""


def replace(by):
    def run(apps, schema_editor):
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute("DROP INDEX history_words")
            schema_editor.execute(by)

    return run


class Migration(migrations.Migration):

    dependencies = [("generation", "0008_retention")]

    operations = [migrations.RunPython(replace(CREATE), replace(CREATE_WITHOUT_ACCOUNT))]
