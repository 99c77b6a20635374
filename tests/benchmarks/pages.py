"""Times of a page of the admin in a process of its own: `python -m tests.benchmarks.pages FOLDER PAGE`.

Prints milliseconds: of its first request, again, after a row changed, after a file changed.
"""

import os
import sys
import time
from pathlib import Path


def main(folder: str, page: str) -> None:
    os.environ |= {"DJANGO_SETTINGS_MODULE": "project.settings", "DEBUG": "0"}
    import django
    from django.conf import settings

    django.setup()
    settings.SQLMIGRATOR = {"DIRECTORY": Path(folder)}

    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client

    client = Client()
    client.force_login(
        User.objects.get_or_create(username="bench", is_superuser=True, is_staff=True)[0]
    )

    def took(address: str) -> float:
        started = time.perf_counter()
        response = client.get(address)
        assert response.status_code == 200, (address, response.status_code)
        return 1000 * (time.perf_counter() - started)

    took("/admin/")  # Django's own beginnings
    time.sleep(2.1)  # a file that was written within two seconds is not trusted to be the same
    times = [took(page), took(page)]
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE schema_migrations SET applied_by = now()::text WHERE version = '00009'"
        )
    times.append(took(page))
    with Path(folder, "00007_change_7.sql").open("a") as file:
        file.write("-- changed\n")
    times.append(took(page))
    sys.stdout.write(" ".join(f"{each:.1f}" for each in times) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
