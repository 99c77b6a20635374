"""Filters of the admin's templates."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext

from sqlmigrator.admin import labels

register = template.Library()
_CODE: Final = re.compile(r"`([^`]+)`")


@register.filter
def code(text: object) -> SafeString:
    """`text` with what stands between backquotes as code: "Run `this`."."""
    parts = _CODE.split(str(text))
    return format_html_join(
        "",
        "{}",
        ((format_html("<code>{}</code>", p) if i % 2 else p,) for i, p in enumerate(parts)),
    )


@register.filter
def ago(when: datetime) -> str:
    """How long ago `when` was: "3 hours ago"."""
    return gettext("%s ago") % timesince(labels.with_zone(when))


@register.filter
def moment(when: datetime | None) -> str:
    """`when` in the site's time zone; Django's own filter leaves UTC where USE_TZ is off."""
    return labels.moment(when) if when else ""
