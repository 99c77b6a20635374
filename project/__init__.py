"""The smallest real site that uses sqlmigrator."""
