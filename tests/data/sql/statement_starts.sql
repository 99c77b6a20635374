(SELECT 1) UNION (SELECT 2);
WITH a AS (SELECT 1) SELECT * FROM a;
VALUES (1), (2);
TABLE t;
select 1;
EXPLAIN SELECT ';';
/* before */ -- and
  Insert INTO t VALUES (1);
