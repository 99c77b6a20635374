#!/usr/bin/env python
"""Run Django's commands on the example project."""

import os
import sys


def main() -> int:
    """Run the command in sys.argv; a wrong configuration is one line on stderr and exit code 2."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
    except ImportError:
        print(
            "Django is not installed in this Python environment; "
            "the first line of README.md makes one that has it.",
            file=sys.stderr,
        )
        return 2
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        print(f"Configuration error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
