"""Signals: sent after the commit or the rollback they tell of; a receiver's error stops nothing.

`migration_applied`: database (alias), applied (sqlmigrator.results.Applied).
`migration_failed`: database, failure (sqlmigrator.results.Failure).
`run_finished`: database, result (sqlmigrator.results.ApplyResult); also after a failure.
"""

from __future__ import annotations

from django.dispatch import Signal

migration_applied = Signal()
migration_failed = Signal()
run_finished = Signal()
