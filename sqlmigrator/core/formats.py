"""Plans, findings and attempts for machines: JSON documents and GitHub annotations."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlmigrator.core.findings import Finding
from sqlmigrator.core.history import Attempt
from sqlmigrator.core.plan import Entry, Plan, State, interruption

JSON_VERSION: Final = 1


def document(command: str, databases: list[dict[str, Any]]) -> dict[str, Any]:
    """The JSON document of a command; its schema is docs/report.schema.json."""
    return {"version": JSON_VERSION, "command": command, "databases": databases}


def plan_json(database: str | None, plan: Plan) -> dict[str, Any]:
    """A plan as JSON values; times are ISO 8601, durations milliseconds."""
    return {
        "database": database,
        "directory": str(plan.folder.path),
        "ok": not plan.errors,
        "summary": {
            "total": len(plan.entries),
            "applied": len(plan.history.records),
            "pending": plan.count(State.PENDING, State.OUT_OF_ORDER),
            "errors": len(plan.errors),
            "warnings": len(plan.warnings),
        },
        "migrations": [_entry_json(entry) for entry in plan.entries],
        "pending": [entry.filename for entry in plan.pending],
        "findings": [finding_json(finding) for finding in plan.findings],
    }


def _entry_json(entry: Entry) -> dict[str, Any]:
    record, attempt = entry.record, entry.attempt
    interrupted = attempt is not None and attempt.is_interrupted and record is None
    return {
        "version": entry.version,
        "name": entry.name,
        "state": entry.state.value,
        "file": str(entry.file.path) if entry.file else None,
        "applied_at": _iso(record.applied_at) if record else None,
        "applied_by": record.applied_by if record else None,
        "execution_time_ms": record.execution_time_ms if record else None,
        "checksum": record.checksum if record else None,
        "checksum_state": entry.checksum_state.value if entry.checksum_state else None,
        "interrupted": interruption(attempt) if attempt and interrupted else None,
    }


def finding_json(finding: Finding) -> dict[str, Any]:
    """A finding as JSON values."""
    return {
        "id": finding.rule.id,
        "name": finding.rule.name,
        "severity": finding.rule.severity.value,
        "message": finding.message,
        "hint": finding.hint,
        "migration": finding.version,
        "file": finding.file,
        "line": finding.line,
        "column": finding.column,
        "details": list(finding.details),
    }


def attempt_json(attempt: Attempt) -> dict[str, Any]:
    """An attempt of the journal as JSON values."""
    return {
        "id": attempt.id,
        "version": attempt.version,
        "name": attempt.name,
        "action": attempt.action.value,
        "state": attempt.state.value,
        "statement_done": attempt.statement_done,
        "statement_total": attempt.statement_total,
        "started_at": _iso(attempt.started_at),
        "finished_at": _iso(attempt.finished_at),
        "execution_time_ms": attempt.execution_time_ms,
        "applied_by": attempt.applied_by,
        "sqlstate": attempt.sqlstate,
        "error": attempt.error,
        "line": attempt.line,
        "reason": attempt.reason,
    }


def _iso(when: datetime | None) -> str | None:
    return when.isoformat() if when else None


def github_lines(plan: Plan, root: Path) -> Iterator[str]:
    """Workflow commands that annotate the findings; paths are relative to `root`, the repository.

    Escaping as in actions/toolkit: % CR LF in messages, and : and , in properties too.
    """
    for finding in plan.findings:
        properties = []
        files = finding.files or ((finding.file,) if finding.file else ())
        for file in files or (None,):
            properties = [f"title={_property(f'{finding.rule.name} ({finding.rule.id})')}"]
            if file is not None:
                properties.insert(0, f"file={_property(_relative(file, root))}")
                if finding.line is not None and file == finding.file:
                    properties.insert(1, f"line={finding.line}")
                    properties.insert(2, f"col={finding.column or 1}")
            text = "\n".join([finding.message, *finding.details, finding.hint])
            yield f"::{finding.rule.severity} {','.join(properties)}::{_message(text)}"


def repository_root(folder: Path) -> Path:
    """The folder above `folder` that holds .git, else the current one."""
    resolved = folder.resolve()
    for parent in (resolved, *resolved.parents):
        if (parent / ".git").exists():
            return parent
    return Path.cwd()


def _relative(file: str, root: Path) -> str:
    path = Path(file)
    path = path.parent.resolve() / path.name  # a link is annotated where it is, not its target
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
