-- header;
CREATE TABLE t (
  a int -- ;
);

SELECT 'a
;b';
SELECT E'a\\'
  '\';';
COPY t FROM stdin;
1;
2
\.
SELECT 1
