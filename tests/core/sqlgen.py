"""Random SQL scripts, from well-formed to hopeless, for comparing the lexer with the server's.

Every script is valid UTF-8 without NUL bytes and without a vertical tab (white space only since
PostgreSQL 16); `COPY … FROM STDIN` is left out, because its data is psql's business.
"""

import random
from collections.abc import Callable

WORDS = (
    *("a", "b", "x", "e", "E", "n", "N", "u", "U", "B", "t", "f1", "_x", "é", "名前", "Aa", "x_1"),
    *("a$", "a$b", "a$$b$", "x$1", "e$", "$1", "begin", "end", "atomic", "case", "when", "then"),
    *("else", "as", "select", "from", "where", "function", "procedure", "language", "or"),
    *("replace", "stdin"),
)
QUOTED = (
    '"a;b"',
    '"a""b"',
    '"--"',
    '"/*"',
    '"\'"',
    '"$$"',
    '"E"',
    '""";"',
    '"é😀;"',
    'U&"d;\\0061"',
)
BLANKS = (" ", " ", " ", "\n", "\t", "\r\n", "\r", "\f", "  ", " -- c;'\"$$(\n", "--\n", "--é;\r")
BLOCK_COMMENTS = (
    "/**/",
    "/***/",
    "/*;*/",
    "/* ' */",
    '/* " $$ ( */',
    "/* /* ; */ */",
    "/*/**/*/",
    "/*/*/ */*/",
    "/*//*;*/**/",
    "/* -- */",
    "/* é😀 */",
)
STRINGS = (
    "''",
    "'a'",
    "';'",
    "'a''b'",
    "''''",
    "'\\'",
    "'--'",
    "'/*'",
    "'$$'",
    "'(' ",
    "'\n'",
    "'é;😀'",
    "E''",
    "E'\\''",
    "e'\\\\'",
    "E';\\';'",
    "E'a''b'",
    "E'\\\\'\n'\\''",
    "E'a' -- c'\n  '\\';'",
    "'a'\n'b;'",
    "'a' --x\n--y\n'\\'",
    "U&'d\\0061t;'",
    "u&'!0061' UESCAPE '!'",
    "B'01'",
    "b'0;'",
    "X'1F'",
    "x'0a'",
    "N'a;'",
    "n'\\'",
    "$$;$$",
    "$$$$",
    "$a$ $$ ; $b$ $a$",
    "$a$$a;$a$",
    "$é$;$é$",
    "$_1$ ' $_1$",
    "$$ /* $$",
    "$x$ $x;$y$ $$ $x$",
    "$$\n\\;\n$$",
)
PLAIN_STRINGS = [text for text in STRINGS if text.startswith("'")]
RULE_TABLE = "sqlgen_rules"  # must exist where harmless() statements run
NUMBERS = ("0", "1", "42", "1.5", ".5", "1.", "1e5", "1.5e-3", "$1", "$12")
OPERATORS = ("+", "-", "*", "/", "||", "=", "<>", "@>", "->", "#>>", "%", "&&", "~", "!~*", "|/")
# What breaks splitters when it stands alone, is doubled, or is missing.
SPECIAL = (
    *"'\"$;()-*/\\eE\n\r ,.:[]%&@#!~<>=|^?+`{}",
    *("''", "$$", "$a$", "--", "/*", "*/", "E'", "e'\\'", "U&'", "\\;", ";;", "$1$", "é", "😀"),
    *(" begin atomic ", " end ", ";end;", " case ", " create function ", " as ", "1e", "$$E'"),
)


class ScriptGenerator:
    """An endless supply of scripts; the same seed gives the same scripts."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._pick = self._random.choice
        self._statements: tuple[Callable[[], str], ...] = (
            self._select,
            self._select,
            self._select,
            self._insert,
            self._create_table,
            self._rule,
            self._function,
            self._atomic,
            self._atomic,
            self._do,
            self._procedure,
            self._utility,
        )

    def script(self) -> bytes:
        """A script of any kind: half are damaged, a tenth is a soup of tokens."""
        kind = self._random.random()
        if kind < 0.1:
            return self._soup().encode()
        text = self.well_formed()
        return (text if kind < 0.5 else self._damage(text)).encode()

    def well_formed(self) -> str:
        """Statements that each parse, with comments, empty statements and no final `;` at times."""
        parts = [self._blank() if self._random.random() < 0.3 else ""]
        for _ in range(self._random.randint(1, 4)):
            parts += [self._pick(self._statements)(), self._maybe_blank(), ";", self._between()]
        if self._random.random() < 0.2:
            parts = parts[:-2]
        return "".join(parts)

    def harmless(self) -> list[str]:
        """Statements that run on any database and answer with exactly one result each."""
        return [self._harmless_statement(index) for index in range(self._random.randint(1, 6))]

    def join(self, statements: list[str]) -> str:
        """One script of `statements`, with whatever may stand between them."""
        text = "".join(statement + ";" + self._between() for statement in statements)
        return text if self._random.random() < 0.8 else text.rstrip(" ;\n\r\t\f")

    def _between(self) -> str:
        return "".join(
            self._pick((self._blank, self._blank, lambda: ";"))()
            for _ in range(self._random.randint(0, 3))
        )

    def _blank(self) -> str:
        return self._pick(BLANKS if self._random.random() < 0.8 else BLOCK_COMMENTS)

    def _maybe_blank(self) -> str:
        return self._blank() if self._random.random() < 0.3 else ""

    def _join(self, *parts: str) -> str:
        return "".join(part + self._space() for part in parts)

    def _space(self) -> str:
        """White space, now and then with comments; never nothing."""
        blank = self._pick(BLANKS)
        comment = self._pick(BLOCK_COMMENTS) if self._random.random() < 0.1 else ""
        return " " + comment + blank if self._random.random() < 0.3 else " "

    def _name(self) -> str:
        if self._random.random() < 0.3:
            return self._pick(QUOTED)
        return self._pick(("a", "x", "e", "E1", "a$", "a$b", "a$$b$", "e$", "é", "名前", "begin"))

    def _label(self) -> str:
        return self._pick((self._name(), "end", "case", "atomic", "begin", "function", "stdin"))

    def _operand(self, depth: int = 0) -> str:
        kind = self._random.random()
        if kind < 0.45:
            return self._pick(STRINGS)
        if kind < 0.6:
            return self._pick(NUMBERS)
        if kind < 0.75:
            return self._name() + self._pick(("", "", ".end", ".case", ". begin"))
        if depth > 2:
            return "NULL"
        inner = self._expression(depth + 1)
        if kind < 0.85:
            return f"({inner})"
        if kind < 0.95:
            other = self._expression(depth + 1)
            return f"case{self._space()}when {inner} then {other}{self._space()}end"
        return f"f({inner}, {self._expression(depth + 1)})"

    def _expression(self, depth: int = 0) -> str:
        text = self._operand(depth)
        for _ in range(self._random.randint(0, 2)):
            operator = self._pick(OPERATORS) + self._pick(("", " ", "/*;*/", "--;\n"))
            text += f" {operator} {self._operand(depth)}"
        return text

    def _select(self) -> str:
        columns = []
        for _ in range(self._random.randint(1, 3)):
            label = self._pick(("", "", "", f" as {self._label()}", f" {self._label()}"))
            columns.append(self._expression() + label)
        tail = self._pick(("", "", " from a", " from a where true", " order by 1", " limit 1"))
        return self._join("select", ("," + self._maybe_blank()).join(columns)) + tail

    def _insert(self) -> str:
        rows = ",".join(f"({self._expression()})" for _ in range(self._random.randint(1, 3)))
        return self._join("insert", "into", self._name(), "values", rows)

    def _create_table(self) -> str:
        column = f"{self._name()} int default ({self._expression()})"
        return self._join("create", "table", self._name(), f"({column}, {self._name()} text)")

    def _rule(self) -> str:
        body = ";".join(
            self._pick((self._select, self._insert))() for _ in range(self._random.randint(1, 3))
        )
        do = self._pick((f"({body})", f"({body};)", f"( {body} ; ; )"))
        head = self._pick(("create rule", "CREATE OR REPLACE RULE"))
        return self._join(head, self._name(), "as on insert to a do also", do)

    def _create(self, what: str) -> str:
        return self._join(*self._pick((("create",), ("CREATE", "or", "Replace")))) + what

    def _function(self) -> str:
        body = self._pick([text for text in STRINGS if text[0] in "$'Ee"])
        head = self._create(self._join("function", f"{self._name()}(a int, b text default ';')"))
        return self._join(head, "returns int language sql as", body)

    def _procedure(self) -> str:
        head = self._create(self._join("procedure", f"{self._name()}()"))
        return self._join(head, "language", "plpgsql", "as", "$p$ begin commit; end; $p$")

    def _do(self) -> str:
        language = self._pick(("", "language plpgsql"))
        return self._join("do", language, "$$ begin if true then null; end if; end $$")

    def _atomic(self) -> str:
        inside = "".join(
            self._pick((self._select, self._insert))() + self._maybe_blank() + ";"
            for _ in range(self._random.randint(0, 3))
        )
        inside += self._pick(("", "", ";", "return 1;", f"return {self._expression()};"))
        kind = self._pick(("function", "procedure", "function"))
        returns = "returns int" if kind == "function" else ""
        head = self._create(self._join(kind, f"{self._name()}(a int default (1))", returns))
        return self._join(head, "language sql", "begin", "atomic") + inside + "end"

    def _utility(self) -> str:
        return self._pick(
            (
                "begin",
                "commit",
                "end",
                "start transaction isolation level serializable",
                "savepoint end",
                "rollback to savepoint a",
                "copy a from 'f;'",
                "copy (select 1) to stdout with (format csv, quote '\"')",
                f"comment on table a is {self._pick(PLAIN_STRINGS)}",
                "create view function as select begin atomic, 1 case, 2 end from begin",
                "create or replace view procedure as select 1 end",
                "create schema s create table t (a int) create view v as select 1",
                "create trigger t before insert on a for each row execute function end()",
                "set search_path to '', public",
                "alter table a add check (b > 0), add c int default 1",
                "prepare transaction as select 1",
                "create index concurrently on a (b) where c = ';'",
                "explain (analyze) select 1",
                "listen a",
                "create operator + (function = f, leftarg = int)",
                "create type t as enum ('a;', 'b''')",
                "grant select on a to b",
                "create policy p on a using (b = ';')",
                "vacuum a",
            )
        )

    def _harmless_statement(self, index: int) -> str:
        literal = self._pick([text for text in STRINGS if text != "b'0;'"])
        label = self._pick((*(text for text in QUOTED), "é", "a$", "a$$b$", "x$1", "e"))
        quote = "''" if "'" in literal or "$" in literal else literal
        return self._pick(
            (
                f"select {literal} as {label}",
                f"select{self._blank()} (select {literal}) as {label}, 1 -{self._space()} 2 end",
                f"values ({literal}),{self._blank()}({literal})",
                f"do $do$ begin perform {literal}; end; $do$",
                f"create function pg_temp.f{index}() returns setof text language sql begin atomic"
                f" select 1::text end; select case when true then 'a;' end case; select {quote};"
                f" select 'x' as end{self._space()}; end",
                f"create temp table t{index} (begin int, atomic int, {label} text)",
                f"create rule r{index} as on insert to {RULE_TABLE} do also"
                f" (select {quote};{self._blank()}select ')'; )",
                "select case when 1 = 1 then 2 end as end, 3 as case",
                "start transaction",
                f"savepoint s{index}",
            )
        )

    def _damage(self, text: str) -> str:
        for _ in range(self._random.randint(1, 4)):
            at = self._random.randint(0, len(text))
            kind = self._random.random()
            if kind < 0.45:
                text = text[:at] + self._pick(SPECIAL) + text[at:]
            elif kind < 0.75:
                text = text[:at] + text[at + self._random.randint(1, 3) :]
            elif kind < 0.9:
                text = text[:at] + self._pick(WORDS) + text[at:]
            else:
                text = text[:at]
        return text

    def _soup(self) -> str:
        pools = (WORDS, QUOTED, BLANKS, BLOCK_COMMENTS, STRINGS, NUMBERS, OPERATORS, SPECIAL)
        return "".join(self._pick(self._pick(pools)) for _ in range(self._random.randint(1, 25)))
