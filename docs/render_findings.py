"""Write the findings into docs/troubleshooting.md, between its two markers, from the catalogue.

`python docs/render_findings.py` writes; `--check` exits with 1 where the page is not up to date.
"""

import sys
from pathlib import Path

PAGE = Path(__file__).with_name("troubleshooting.md")
START = "<!-- findings: written by render_findings.py -->\n"
END = "<!-- end of findings -->\n"

sys.path.insert(0, str(PAGE.parent.parent))

from sqlmigrator.core.findings import RULES, Rule, Severity  # noqa: E402

TITLES = {
    Severity.ERROR: "Errors: `migrate_apply` applies nothing",
    Severity.WARNING: "Warnings",
}


def render(page: str) -> str:
    """Return the text of the page with its findings as the catalogue has them."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{findings()}{END}{after}"


def findings() -> str:
    """Return a section for each rule, errors first."""
    parts = []
    for severity, title in TITLES.items():
        parts.append(f"### {title}\n\n")
        parts += [section(rule) for rule in RULES if rule.severity is severity]
    return "".join(parts)


def section(rule: Rule) -> str:
    """Return what the page says of one rule."""
    short = rule.id.removeprefix("sqlmigrator.")
    return (
        f"#### {short}: {rule.name} {{ #{short.lower()} }}\n\n"
        f"{rule.condition} {rule.effect}\n\n"
        f"*Way out:* {rule.way_out}\n\n"
    )


def main() -> int:
    """Write or check the page; return the exit code."""
    text = PAGE.read_text(encoding="utf-8")
    rendered = render(text)
    if "--check" in sys.argv[1:]:
        return int(text != rendered)
    PAGE.write_text(rendered, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
