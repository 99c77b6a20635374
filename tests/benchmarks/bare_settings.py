"""The example project without sqlmigrator: what Django alone costs."""

from project.settings import *  # noqa: F403
from project.settings import INSTALLED_APPS as _APPS

INSTALLED_APPS = [app for app in _APPS if app != "sqlmigrator"]
