"""Values of data rows are on no page, whatever the server said of them."""

import pytest
from django.test import Client

from sqlmigrator.results import MigrationFailed
from sqlmigrator.runner import MigrationRunner
from tests.support import Database, Folder

SITE = "/admin/sqlmigrator/"
VALUE = "hunter2"


def test_a_value_in_an_error_is_not_shown(boss: Client, database: Database, folder: Folder) -> None:
    database.execute(f"CREATE TABLE t (v text); INSERT INTO t VALUES ('{VALUE}'), ('{VALUE}')")
    folder.with_tracking().write("002_unique.sql", "ALTER TABLE t ADD UNIQUE (v);\n")
    with pytest.raises(MigrationFailed):
        MigrationRunner().apply()
    for page in (
        "migrationattempt/",
        "schemamigration/",
        "schemamigration/overview/",
        "schemamigration/conflicts/",
        "schemamigration/002/change/",
    ):
        response = boss.get(SITE + page, follow=True)
        assert VALUE not in response.content.decode()
    attempts = boss.get(f"{SITE}migrationattempt/").content.decode()
    assert "could not create unique index" in attempts
