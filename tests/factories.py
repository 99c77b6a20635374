"""Factories. A test states the values that it relies on; everything else comes from here."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import factory
from factory.django import DjangoModelFactory

from sqlmigrator.core.files import MigrationFile
from sqlmigrator.core.history import AppliedRecord

APPLIED_AT = datetime(2025, 10, 10, 14, 2, tzinfo=UTC)


def _checksum(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


class MigrationFileFactory(factory.Factory):
    """A file of a plan: number=3 or version="0003" decides both. Nothing is on the disk."""

    class Meta:
        model = MigrationFile

    number = factory.Sequence(lambda n: n + 1)
    version = factory.LazyAttribute(lambda file: f"{file.number:03d}")
    name = factory.LazyAttribute(lambda file: f"migration_{file.number}")
    directory = Path()
    filename = factory.LazyAttribute(lambda file: f"{file.version}_{file.name}.sql")
    checksum = factory.LazyAttribute(lambda file: _checksum(file.name))
    text_checksum = factory.SelfAttribute("checksum")

    @classmethod
    def _adjust_kwargs(cls, **kwargs: object) -> dict[str, object]:
        return kwargs | {"number": int(str(kwargs["version"]))}


class AppliedRecordFactory(factory.Factory):
    """A row of schema_migrations as a value; by default that of MigrationFileFactory's file."""

    class Meta:
        model = AppliedRecord

    class Params:
        by_hand = factory.Trait(checksum=None, execution_time_ms=0, applied_by="manual")

    number = factory.Sequence(lambda n: n + 1)
    version = factory.LazyAttribute(lambda row: f"{row.number:03d}")
    name = factory.LazyAttribute(lambda row: f"migration_{row.number}")
    applied_at = APPLIED_AT
    checksum = factory.LazyAttribute(lambda row: _checksum(row.name))
    execution_time_ms = 12
    applied_by = "deploy@example"

    @classmethod
    def of(cls, file: MigrationFile, **changes: object) -> AppliedRecord:
        """Return the row that applying `file` leaves."""
        same = {key: getattr(file, key) for key in ("number", "version", "name", "checksum")}
        record: AppliedRecord = cls(**(same | changes))
        return record


class SchemaMigrationFactory(DjangoModelFactory):
    """A row of schema_migrations in the database; the table must be there."""

    class Meta:
        model = "sqlmigrator.SchemaMigration"
        django_get_or_create = ("version",)

    class Params:
        by_hand = factory.Trait(checksum=None, execution_time_ms=0, applied_by="manual")

    version = factory.Sequence(lambda n: f"{n + 1:03d}")
    name = factory.LazyAttribute(lambda row: f"migration_{row.version}")
    applied_at = APPLIED_AT
    checksum = factory.LazyAttribute(lambda row: _checksum(row.name))
    execution_time_ms = 12
    applied_by = "deploy@example"
