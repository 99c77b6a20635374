-- the whole file in one transaction
BEGIN;
CREATE TABLE t (a int);
END;
