"""Keeps the history out of `dumpdata` and `loaddata`: it belongs to the one database it is in."""

from __future__ import annotations

from typing import Any

from django.db import router


class HistoryRouter:
    """Says of sqlmigrator's own models that Django neither makes, dumps nor loads them."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if app_label == "sqlmigrator" else None


def register() -> None:
    """First, because a project's own router may answer for every app."""
    if not any(isinstance(known, HistoryRouter) for known in router.routers):
        router.routers.insert(0, HistoryRouter())
