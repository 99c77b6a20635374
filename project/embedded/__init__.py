"""Database backend for the embedded PostgreSQL 18: ENGINE = "project.embedded"."""
