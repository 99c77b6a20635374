"""Settings with nothing but the app: what the admin would import is not there."""

SECRET_KEY = "x"
INSTALLED_APPS = ["sqlmigrator"]
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "x"}}
