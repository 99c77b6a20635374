"""Keeps the history out of `dumpdata` and `loaddata`: it belongs to the one database it is in."""

from __future__ import annotations

from typing import Any

from django.db import router


def register() -> None:
    """In front of all routers, because a project's own may answer for every app.

    Not one of router.routers: that list is made anew for override_settings(DATABASE_ROUTERS=…),
    and reading it here would hide what a later app's ready() adds to the setting.
    """
    asked = router.allow_migrate

    def allow_migrate(db: str, app_label: str, **hints: Any) -> bool:
        return app_label != "sqlmigrator" and bool(asked(db, app_label, **hints))

    router.allow_migrate = allow_migrate  # type: ignore[method-assign]
