"""Files that break ordinary runners, each with the outcome it must have.

What they find, and the file after them, are here too.
"""

from tests.support import ROOT, TRACKING

# The database before each of them. Emptying one takes a tenth of the time of making one.
GIVEN = """
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT quote_ident(nspname) FROM pg_namespace
        WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    LOOP EXECUTE 'DROP SCHEMA ' || name || ' CASCADE'; END LOOP;
END $$;
CREATE SCHEMA public;
CREATE SEQUENCE numbers;
CREATE TYPE kind AS ENUM ('red');
CREATE TABLE item (id int PRIMARY KEY, name text);
CREATE TABLE part (item int REFERENCES item DEFERRABLE INITIALLY DEFERRED);
""" + (ROOT / "migrations_sql" / TRACKING).read_text()
# The file after it, which puts what it finds of its session into a table.
NEXT_FILE = """
CREATE TABLE next_file AS SELECT current_user, session_user,
    (SELECT jsonb_object_agg(name, setting) FROM pg_settings WHERE source = 'session') AS settings,
    (SELECT count(*) FROM pg_class WHERE relpersistence = 't') AS temporary,
    (SELECT count(*) FROM pg_cursors WHERE name <> '') AS cursors,
    (SELECT count(*) FROM pg_prepared_statements) AS prepared,
    (SELECT count(*) FROM pg_listening_channels()) AS channels;
"""
# Each after a line "=== what it is: its outcome"; that is `applied`, or line:column SQLSTATE.
_TEXTS = r"""
=== first of three: 1:8 42703
SELECT nope; SELECT 1; SELECT 2;
=== one in the middle: 2:8 42703
SELECT 1;
SELECT nope;
SELECT 2;
=== last of three: 2:7 42P01
SELECT 1; SELECT 2;
TABLE nowhere
=== syntax error in the last: 2:8 42601
CREATE TABLE t ();
CREATE TABEL u ();
=== syntax error at the semicolon: 1:15 42601
CREATE TABLE t; CREATE TABLE u ();
=== syntax error at the end: 2:15 42601
SELECT 1;
CREATE TABLE t -- no more
=== syntax error at the end of a file about the history: 2:38 42601
SELECT 1;
SELECT * FROM schema_migrations WHERE
=== error in the table of the history: 2:13 42703
SELECT 1;
SELECT 'é', nope FROM schema_migrations;
=== after characters of many bytes: 3:15 42703
-- ünï 😀
CREATE TABLE "tä😀" (id int);
SELECT '漢字😀', nope, 'é';
=== no position: 2:1 42701
CREATE TABLE t (a int);
ALTER TABLE t ADD COLUMN a int;
=== position in a default: 3:19 42883
CREATE TABLE t (
    a int,
    b int DEFAULT nope()
);
=== body of a function: 4:12 42703
SELECT 1;
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$
    SELECT 1;
    SELECT nope; $$;
=== body in PL/pgSQL: 3:11 42601
SELECT 1;
CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$
    BEGIN SELEC 1; END $$;
=== body that stands elsewhere too: 2:1 42703
SELECT ' SELECT nope ';
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS E'\x20SELECT nope ';
=== BEGIN ATOMIC: applied
CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC
    INSERT INTO item VALUES (1); SELECT CASE WHEN true THEN 1 END; END;
SELECT f();
=== error in BEGIN ATOMIC: 3:8 42703
CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC
SELECT 1;
SELECT nope; END;
=== error in a call: 3:1 22012
CREATE FUNCTION f(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN
RETURN 1 / $1; END';
SELECT f(0);
=== RAISE with everything: 2:1 AB123
SELECT 1;
DO $$ BEGIN RAISE NOTICE 'é'; RAISE EXCEPTION 'a' USING DETAIL = 'b', HINT = 'c', ERRCODE = 'AB123';
END $$;
=== error in a DO block: 1:1 42703
DO $$ BEGIN EXECUTE 'SELECT nope'; END $$; SELECT ' nope';
=== COMMIT in a DO block: 1:1 2D000
DO $$ BEGIN CREATE TABLE t (); COMMIT; END $$;
=== VACUUM in a DO block: 1:18 25001
SELECT 'before'; DO $$ BEGIN EXECUTE 'VACUUM item'; END $$;
=== RESET ALL in a DO block: no line
CREATE TABLE t (); DO $$ BEGIN EXECUTE 'RESET ALL'; END $$; CREATE TABLE u ();
=== RESET ALL: applied
SET search_path = nowhere; RESET ALL; CREATE TABLE t ();
=== error after RESET ALL: 2:8 42703
SET search_path = nowhere; RESET ALL; CREATE TABLE t ();
SELECT nope;
=== division by zero: 2:1 22012
INSERT INTO item VALUES (1);
INSERT INTO item SELECT 1 / (id - 1) FROM item;
=== unique violation: 2:1 23505
INSERT INTO item VALUES (1);
INSERT INTO item VALUES (1);
=== deferred constraint: no line 23503
INSERT INTO part VALUES (7); SELECT 1;
=== deferred constraint, asked for: 2:1 23503
INSERT INTO part VALUES (7);
SET CONSTRAINTS ALL IMMEDIATE; SELECT 1;
=== deferred constraint that is met: applied
INSERT INTO part VALUES (7); INSERT INTO item VALUES (7);
=== value of the wrong type: 2:13 22P02
SELECT 1;
SELECT 'é', 'x'::int;
=== new enum value: 2:8 55P04
ALTER TYPE kind ADD VALUE 'blue';
SELECT 'blue'::kind;
=== column that nearly exists: 1:8 42703
SELECT nam FROM item
=== something depends on it: 2:1 2BP01
CREATE VIEW names AS SELECT name FROM item;
ALTER TABLE item DROP COLUMN name;
=== statement timeout: 3:1 57014
-- sqlmigrator: statement_timeout=50ms
SELECT 1;
SELECT pg_sleep(9);
=== own statement timeout: 2:1 57014
SET statement_timeout = '50ms';
SELECT pg_sleep(9);
=== the timeout is each statement's: applied
-- sqlmigrator: statement_timeout=200ms
SELECT pg_sleep(0.1); SELECT pg_sleep(0.1); SELECT pg_sleep(0.1);
=== cancelled: 2:1 57014
SELECT 1;
SELECT pg_cancel_backend(pg_backend_pid());
=== lock dropped: no line
CREATE TABLE t (); DO $$ BEGIN PERFORM pg_advisory_unlock_all(); END $$;
=== read-only from here on: no line 25006
CREATE TABLE t (); SET TRANSACTION READ ONLY;
=== isolation level, first: applied
SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;
CREATE TABLE t AS SELECT current_setting('transaction_isolation');
=== isolation level, too late: 2:1 25001
SELECT 1;
SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;
=== what a session can keep: applied
SELECT set_config('search_path', '', false), set_config('my.own', 'mine', false);
SET TIME ZONE 'Asia/Tokyo'; SET lock_timeout = 7; SET default_transaction_read_only = on;
SET client_min_messages = error; SET session_replication_role = replica; LISTEN channel;
DECLARE c CURSOR WITH HOLD FOR SELECT 1; PREPARE p AS SELECT 1; CREATE TEMP TABLE item ();
SELECT nextval('public.numbers'); SET SESSION AUTHORIZATION pg_monitor; SET ROLE pg_monitor;
=== role without rights: 2:14 42501
SET ROLE pg_monitor;
CREATE TABLE public.t ();
=== savepoints: applied
SAVEPOINT a; CREATE TABLE t (); ROLLBACK TO a; CREATE TABLE u (); RELEASE a; SAVEPOINT b;
=== savepoint that is not there: 2:1 3B001
SAVEPOINT a; CREATE TABLE t ();
ROLLBACK TO b;
=== wrapped: applied
/* é */ BEGIN ISOLATION LEVEL REPEATABLE READ;
CREATE TABLE t AS SELECT current_setting('transaction_isolation'); COMMIT
=== error in a wrapped one: 2:13 42703
BEGIN; CREATE TABLE t ();
SELECT 'é', nope; END -- é
=== COPY: applied
COPY item FROM stdin;
1	one; SELECT nope;
\.
INSERT INTO part VALUES (1); COPY item TO STDOUT;
=== error in COPY data: 1:1 22P02
COPY item FROM stdin;
x	one
\.
=== COPY data for the history: applied
COPY schema_migrations (version, name) FROM stdin;
900	by hand
\.
=== own row in the history: applied
INSERT INTO schema_migrations (version, name) VALUES ('002', 'mine'), ('900', 'other');
=== history gone: no line
CREATE TABLE t (); DROP TABLE schema_migrations CASCADE;
=== column of the history: no line 23502
ALTER TABLE schema_migrations ADD more int NOT NULL DEFAULT 1;
ALTER TABLE schema_migrations ALTER more DROP DEFAULT;
=== rewrite rules: 7:8 42703
CREATE RULE a AS ON INSERT TO item DO ALSO (SELECT 1; SELECT 2; INSERT INTO part VALUES (1));
CREATE RULE b AS ON DELETE TO item DO INSTEAD NOTHING;
CREATE RULE c AS ON UPDATE TO item DO INSTEAD (SELECT 3; DELETE FROM part; NOTIFY channel);
CREATE RULE d AS ON INSERT TO part WHERE new.item > 5 DO INSTEAD SELECT 4;
INSERT INTO item VALUES (1); DELETE FROM item; UPDATE item SET id = 2; SELECT 1;
INSERT INTO part VALUES (6), (1);
SELECT nope;
=== rewrite rules that stay: applied
CREATE RULE a AS ON INSERT TO item DO ALSO (SELECT 1; SELECT 2; INSERT INTO part VALUES (1));
INSERT INTO item VALUES (1); INSERT INTO item VALUES (2);
=== answers of every kind: 2:1 34000
EXPLAIN SELECT 1; SHOW search_path; VALUES (1), (2); SELECT; COPY item TO STDOUT; LISTEN channel;
FETCH ALL FROM nowhere;
=== empty statements: 2:9 42703
;;SELECT 1;;
;SELECT nope;;
=== nothing but semicolons at the end: applied
;; CREATE TABLE t ();; ; /* ; */ ;
=== comment at the end: applied
CREATE TABLE t () -- done
=== NOTIFY: applied
NOTIFY channel, 'one'; SELECT pg_notify('channel', 'two'); NOTIFY channel, 'one';
=== NOTIFY before an error: 1:31 42703
NOTIFY channel, 'one'; SELECT nope
=== temporary tables: applied
CREATE TEMP TABLE schema_migrations (version text); CREATE TEMP TABLE t ON COMMIT DROP AS SELECT 1;
CREATE TABLE u AS SELECT count(*) FROM schema_migrations, t;
=== prepared statements: 2:1 42P05
PREPARE p (int) AS SELECT $1 + 1; EXECUTE p (1);
PREPARE p AS SELECT 2;
=== parameters and percents: 2:8 42P02
CREATE TABLE t AS SELECT '100 %s %(a)s %' AS a;
SELECT $1;
=== event trigger: applied
CREATE FUNCTION e() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE $$%$$, tg_tag; END';
CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION e(); CREATE TABLE t ();
DROP EVENT TRIGGER e; CREATE TABLE u ();
"""
_BYTES = {
    "tabs: 2:18 42703": "SELECT 1;\n\t\tSELECT\t'é\t😀',\t nope;",
    "CRLF: 4:2 42703": "SELECT 1;\r\n\r\n\tSELECT 'é',\r\n nope;\r\n",
    "BOM: 1:13 42703": "\ufeffSELECT 'é', nope;",
    "BOM and CRLF: 2:13 42703": "\ufeffSELECT 'é';\r\nSELECT '😀', nope;\r\n",
}


def hard_files() -> dict[str, str]:
    """Texts by "what it is: its outcome"."""
    parts = (part.split("\n", 1) for part in _TEXTS.strip("\n").split("\n=== "))
    return {title.removeprefix("=== "): text for title, text in parts} | _BYTES
