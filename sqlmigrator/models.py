"""The two tables and the view as unmanaged models: sqlmigrator's own SQL makes them.

`schema_migrations` has `version` as its key, because a table made by hand may have no `id`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from django.db import models
from django.utils.translation import gettext_lazy as _

_TIMES: Final = (datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC))


class _Moment(models.DateTimeField):  # type: ignore[type-arg]
    """A time as Python can hold it: the column may be a date, and its value infinite."""

    def select_format(self, compiler: Any, sql: str, params: Any) -> tuple[str, Any]:
        usable = f"{sql} BETWEEN '0001-01-02' AND '9999-12-30'"
        return f"CASE WHEN {usable} THEN {sql}::timestamptz END", (*params, *params)


class _Rows(models.QuerySet["SchemaMigration"]):
    def datetimes(self, field_name: str, *args: Any, **kwargs: Any) -> Any:
        """The years, months or days of the times that Python can hold."""
        held = self.filter(**{f"{field_name}__range": _TIMES})
        return super(_Rows, held).datetimes(field_name, *args, **kwargs)


class SchemaMigration(models.Model):
    """A migration that is fully applied."""

    version = models.CharField(_("version"), max_length=255, primary_key=True)
    name = models.CharField(_("name"), max_length=255)
    applied_at = _Moment(_("applied at"))
    checksum = models.CharField(_("checksum"), max_length=64, null=True)
    execution_time_ms = models.BigIntegerField(_("duration (ms)"), null=True)
    applied_by = models.CharField(_("applied by"), max_length=255, null=True)

    objects = _Rows.as_manager()

    class Meta:
        managed = False
        db_table = "schema_migrations"
        verbose_name = _("applied migration")
        verbose_name_plural = _("applied migrations")

    def __str__(self) -> str:
        return f"{self.version}_{self.name}"


class MigrationStatus(models.Model):
    """A row of the view migration_status: an applied migration and its age."""

    version = models.CharField(_("version"), max_length=255, primary_key=True)
    name = models.CharField(_("name"), max_length=255)
    applied_at = _Moment(_("applied at"))
    checksum = models.CharField(_("checksum"), max_length=64, null=True)
    execution_time_ms = models.BigIntegerField(_("duration (ms)"), null=True)
    applied_by = models.CharField(_("applied by"), max_length=255, null=True)
    age_category = models.CharField(_("age"), max_length=20)

    class Meta:
        managed = False
        db_table = "migration_status"
        verbose_name = _("migration status")
        verbose_name_plural = _("migration status")

    def __str__(self) -> str:
        return f"{self.version}_{self.name}"


class MigrationAttempt(models.Model):
    """A row of the journal: one attempt to apply, roll back, mark or renumber."""

    id = models.BigAutoField(primary_key=True)
    version = models.CharField(_("version"), max_length=255)
    name = models.CharField(_("name"), max_length=255)
    checksum = models.CharField(_("checksum"), max_length=64, null=True)
    action = models.CharField(_("action"), max_length=20)
    state = models.CharField(_("state"), max_length=20)
    statement_done = models.IntegerField(_("statements done"))
    statement_total = models.IntegerField(_("statements"))
    started_at = models.DateTimeField(_("started at"))
    finished_at = models.DateTimeField(_("finished at"), null=True)
    execution_time_ms = models.BigIntegerField(_("duration (ms)"), null=True)
    applied_by = models.CharField(_("applied by"), max_length=255, null=True)
    backend_pid = models.IntegerField(_("server process"), null=True)
    sqlstate = models.CharField(_("SQLSTATE"), max_length=5, null=True)
    error = models.TextField(_("error"), null=True)
    line = models.IntegerField(_("line"), null=True)
    reason = models.TextField(_("reason"), null=True)

    class Meta:
        managed = False
        db_table = "schema_migrations_log"
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")

    def __str__(self) -> str:
        return f"{self.version}_{self.name}: {self.action}, {self.state}"
