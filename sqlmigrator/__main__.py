"""`sqlmigrator` and `python -m sqlmigrator`: the console script, with what git knows."""

from __future__ import annotations

import sys

from sqlmigrator import git
from sqlmigrator.core import cli


def main() -> int:
    """Run the console script and return its exit code."""
    return cli.main(first_commits=git.first_commits)


if __name__ == "__main__":
    sys.exit(main())
