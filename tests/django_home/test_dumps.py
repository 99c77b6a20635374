"""dumpdata and loaddata of a project leave the history alone: it belongs to its own database."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import router
from pytest_django import Settings

from tests.django_home.site import Site


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    site = make_site().create()
    site.configure('INSTALLED_APPS.remove("shop")')
    assert site.manage("migrate", "-v", "0").code == 0
    return site


def test_a_dump_before_anything_is_applied(site: Site) -> None:
    result = site.manage("dumpdata")
    assert (result.code, result.err) == (0, "")


def test_a_dump_without_the_history_is_loaded_again(site: Site, tmp_path: Path) -> None:
    assert site.manage("migrate_apply", "--to", "001").code == 0
    dump = tmp_path / "dump.json"
    assert site.manage("dumpdata", "-o", str(dump)).code == 0
    assert "contenttypes" in dump.read_text()
    assert '"model": "sqlmigrator' not in dump.read_text()
    assert site.manage("loaddata", str(dump)).code == 0


def test_rows_of_the_history_in_a_dump_are_not_loaded(site: Site, tmp_path: Path) -> None:
    assert site.manage("migrate_apply", "--to", "001").code == 0
    before = site.manage("migrate_status", "--format", "json").out
    dump = tmp_path / "dump.json"
    dump.write_text(
        '[{"model": "sqlmigrator.schemamigration", "pk": "999", "fields": {"name": "forged"}}]'
    )
    site.manage("loaddata", str(dump))
    assert site.manage("migrate_status", "--format", "json").out == before


class _AllowsEverything:
    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool:
        return True


def test_routers_of_a_test_do_not_bring_the_history_into_dumps(settings: Settings) -> None:
    settings.DATABASE_ROUTERS = [_AllowsEverything()]
    assert router.allow_migrate("default", "auth")
    assert not router.allow_migrate("default", "sqlmigrator")
