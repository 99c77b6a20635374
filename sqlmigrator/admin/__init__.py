"""The admin pages: history, one migration, conflicts, overview, attempts. All read-only.

What they show comes from the runner's plan and from the models; nothing here changes a database
or runs the SQL of a file.
"""

from __future__ import annotations

from django.contrib import admin

from sqlmigrator.admin.attempts import MigrationAttemptAdmin
from sqlmigrator.admin.history import SchemaMigrationAdmin
from sqlmigrator.models import MigrationAttempt, SchemaMigration

admin.site.register(SchemaMigration, SchemaMigrationAdmin)
admin.site.register(MigrationAttempt, MigrationAttemptAdmin)

__all__ = ["MigrationAttemptAdmin", "SchemaMigrationAdmin"]
