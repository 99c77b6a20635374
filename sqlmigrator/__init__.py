"""Plain-SQL migrations for PostgreSQL in Django projects."""

__version__ = "0.1.0"
