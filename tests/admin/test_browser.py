"""Every page in a real browser, with a strict CSP: wide and narrow, light and dark.

The screenshots are in tests/admin/screenshots/, for people to look at; two are in docs/.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_django import Settings

from tests.admin import scenes
from tests.admin.browser import (
    AXE,
    CHROMIUM_FLAGS,
    SCREENSHOTS,
    find_chromium,
    install_axe,
    live_server,
)
from tests.admin.conftest import PASSWORD
from tests.support import Database, Folder

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed here")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed here"),
]

SITE = "/admin/sqlmigrator/"
PAGES = {
    "start": "",
    "overview": "schemamigration/overview/",
    "history": "schemamigration/",
    "conflicts": "schemamigration/conflicts/",
    "attempts": "migrationattempt/",
    "applied": "schemamigration/001/change/",
    "changed": "schemamigration/003/change/",
    "duplicate": "schemamigration/005/change/",
    "failed": "schemamigration/008/change/",
}
# What axe finds in Django's own templates, which we extend and do not replace, as (rule, where):
STOCK = (
    ("link-in-text-block", ".breadcrumbs >"),  # the links of the breadcrumbs are not underlined
    ("label-title-only", "#searchbar"),  # the label of the search is an icon
)
WIDTHS = {"wide": (1280, 900), "narrow": (390, 844)}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The system's browser, started once."""
    # Playwright keeps an event loop running in this thread; Django then refuses synchronous
    # queries, which the tests' own fixtures make.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=find_chromium(), headless=True, args=list(CHROMIUM_FLAGS)
        )
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def server(database: Database, settings: Settings) -> Iterator[str]:
    settings.MIDDLEWARE = ["tests.admin.middleware.strict_csp", *settings.MIDDLEWARE]
    with live_server() as address:
        yield address


@pytest.fixture
def open_page(chromium: Any, server: str) -> Iterator[Callable[..., Any]]:
    """A new page, logged in as boss; what its console and the server complain of fails the test."""
    contexts = []
    complaints: list[str] = []

    def open_one(width: str = "wide", scheme: str = "light", *, listen: bool = True) -> Any:
        x, y = WIDTHS[width]
        context = chromium.new_context(
            viewport={"width": x, "height": y}, color_scheme=scheme, reduced_motion="reduce"
        )
        contexts.append(context)
        page = context.new_page()
        if listen:
            page.on("console", lambda message: complaints.extend(_complaints(message)))
            page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{server}/admin/")
        page.fill("#id_username", "boss")
        page.fill("#id_password", PASSWORD)
        page.click("input[type=submit]")
        page.server = server
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert complaints == []


def _complaints(message: Any) -> Iterator[str]:
    if not message.location["url"].endswith("/favicon.ico"):  # the example project has none
        yield f"{message.type}: {message.text}"


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core."""
    if problem := install_axe():
        pytest.skip(problem)
    return AXE.read_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_in_this_width_and_scheme(
    open_page: Callable[..., Any], database: Database, trouble: Folder, width: str, scheme: str
) -> None:
    scenes.forget_checksum(database, "002")
    SCREENSHOTS.mkdir(exist_ok=True)
    page = open_page(width, scheme)
    for name, path in PAGES.items():
        response = page.goto(page.server + SITE + path)
        assert response.status == 200, name
        assert "default-src 'self'" in response.headers["content-security-policy"]
        # The page itself never scrolls sideways; wide tables and SQL do so in their own box.
        overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert overflow <= 0, name
        page.screenshot(path=SCREENSHOTS / f"{name}-{width}-{scheme}.png", full_page=True)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_long_name_does_not_make_the_page_wider(
    open_page: Callable[..., Any], database: Database, folder: Folder, width: str
) -> None:
    name = "index_customer_orders_by_region_and_created_at_" * 4
    folder.write(f"002_{name.rstrip('_')}.sql", "SELECT 2;\n")
    page = open_page(width, "light")
    page.goto(f"{page.server}{SITE}schemamigration/002/change/")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_the_pictures_of_the_guide(
    open_page: Callable[..., Any], database: Database, trouble: Folder
) -> None:
    scenes.spread_over_months(database)
    SCREENSHOTS.mkdir(exist_ok=True)
    page = open_page()
    for name in ("history", "conflicts"):
        assert page.goto(page.server + SITE + PAGES[name]).ok
        page.evaluate(
            "path => document.querySelectorAll('p').forEach("
            "p => p.firstChild.nodeType === Node.TEXT_NODE && "
            "(p.firstChild.data = p.firstChild.data.replace(path, '/srv/mysite/migrations_sql')))",
            str(trouble.path),
        )
        page.screenshot(path=SCREENSHOTS / f"admin_{name}.png")


@pytest.mark.parametrize(("width", "scheme"), [("wide", "light"), ("narrow", "dark")])
def test_axe_finds_nothing_to_complain_of(
    open_page: Callable[..., Any], axe: str, trouble: Folder, width: str, scheme: str
) -> None:
    page = open_page(width, scheme, listen=False)  # axe itself sets inline styles
    for name, path in PAGES.items():
        page.goto(page.server + SITE + path)
        page.evaluate(axe)
        found = page.evaluate("axe.run(document, {preload: false})")
        assert len(found["passes"]) > 10, name  # it did look
        told = [
            (violation["id"], node["target"], node["failureSummary"])
            for violation in found["violations"]
            for node in violation["nodes"]
            if not any(violation["id"] == r and node["target"][0].startswith(w) for r, w in STOCK)
        ]
        assert told == [], name
