CREATE TABLE begin (begin int, atomic int, function text, stdin text, copy text);
CREATE VIEW function AS SELECT begin atomic, 1 case, 2 end FROM begin;
CREATE OR REPLACE VIEW procedure AS SELECT begin atomic, 3 AS end FROM begin;
CREATE TEMP TABLE procedure (a int);
SELECT 1 end;
SELECT 1 AS case;
CREATE SCHEMA s CREATE TABLE t (a int) CREATE VIEW v AS SELECT 1 AS end;
COPY stdin FROM 'from stdin;';
COPY (SELECT 1 AS stdin) TO STDOUT;
