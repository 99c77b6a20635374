"""The Django app."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class SqlMigratorConfig(AppConfig):
    """Registers the system checks and the test-database hook when Django is ready."""

    name = "sqlmigrator"
    verbose_name = _("SQL migrations")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from sqlmigrator import checks, routers, test_databases

        checks.register()
        routers.register()
        test_databases.register()
