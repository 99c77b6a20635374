SELECT ((((((1)))))), f((((((a, (b, (c, ';')))))))), ARRAY[(1), (2)];
CREATE TABLE t (a int CHECK (a > 0 AND (a < 10 OR (a IN (20, 30)))), b text DEFAULT (E'\');'));
INSERT INTO t VALUES (1, 'a;)'), (2, $$b;)$$), (3, "c;)"), (4, /* ) ; */ 5), (6, -- ) ;
7);
SELECT 2;
