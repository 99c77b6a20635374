CREATE TABLE t (a int, b text);
COPY t (a, b) FROM stdin;
1	one; 'two" $$ /*
2	\N
\.

COPY public.t FROM STDIN WITH (FORMAT csv, QUOTE '"', DELIMITER ';'); -- a comment
1;"a;
b"
\.
COPY t FROM stdin;
\.
copy "t" from /* ; */ stdout;
-- not a comment
SELECT 'not a statement;
\.
COPY t (a) FROM stdin WHERE a > 1;  	
\\.
\.x
\.
SELECT 1;
COPY t TO stdout;
COPY t FROM '/tmp/from stdin;';
COPY t FROM PROGRAM 'cat stdin';
COPY (SELECT 'FROM STDIN' FROM t) TO STDOUT;
COPY t FROM stdin;
last	line
\.