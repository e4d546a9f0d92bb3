from django.db import migrations

# PostgreSQL takes "cat/dog", "art.com" and "<cat>" for a path, a host and a tag, so signs become spaces: history.Words.
SIGNS = "!\"#$%&''()*+,-./:;<=>?@[\\]^`{|}~"  # as SQL spells it: one quote, twice
CREATE = f"""
CREATE INDEX history_words ON generation_generation
USING gin (to_tsvector('simple'::regconfig, translate(
    'account' || account_id::text || ' ' || (params ->> 'prompt'), '{SIGNS}', repeat(' ', 31))))
WHERE deleted_at IS NULL
"""
CREATE_WITH_SIGNS = """
CREATE INDEX history_words ON generation_generation
USING gin (to_tsvector('simple'::regconfig, 'account' || account_id::text || ' ' || (params ->> 'prompt')))
WHERE deleted_at IS NULL
"""


def replace(by):
    def run(apps, schema_editor):
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute("DROP INDEX history_words")
            schema_editor.execute(by, params=None)

    return run


class Migration(migrations.Migration):

    dependencies = [("generation", "0012_reproductions")]

    operations = [migrations.RunPython(replace(CREATE), replace(CREATE_WITH_SIGNS))]
