-- psql takes the labels below for keywords; the server does not.
CREATE FUNCTION f(a int DEFAULT (1)) RETURNS int LANGUAGE sql
BEGIN ATOMIC
    SELECT CASE WHEN a = 1 THEN CASE a WHEN 2 THEN 3 END ELSE 4 END;
    INSERT INTO t VALUES (CASE WHEN true THEN 1 END);
    SELECT 1 AS end, 2 AS case, x.end, x . case;
    SELECT 1 end;
    SELECT 1 case;
    SELECT 1 case, 2 end FROM t WHERE true;
    SELECT CASE WHEN true THEN 1 END end;
    SELECT CASE WHEN true THEN ';' END case;
    SELECT ';' END;
    SELECT CASE WHEN 1 = 1. THEN 1. END;
    SELECT "end", "case", 'end', $$end;$$;
    SELECT begin atomic FROM t;
END;
CREATE OR REPLACE PROCEDURE p() LANGUAGE sql BEGIN ATOMIC END;
CREATE /* /* ; */ */ OR -- ;
REPLACE FUNCTION begin() RETURNS int
BEGIN /* ; */ ATOMIC
    RETURN 1;
END; SELECT begin();
create function g() returns int return case when true then 1 end;
CREATE FUNCTION h() RETURNS SETOF int BEGIN ATOMIC ; ; SELECT 1; ; END;
SELECT 1;
