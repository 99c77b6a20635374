-- Dollar quotes: with and without tags, nested, beside parameters and identifiers.
SELECT $$;$$;
SELECT $$$$, $tag$ $$ ; $other$ $tag$;
CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS $body$
BEGIN
    EXECUTE $query$ SELECT $$a;b$$; $query$;  -- ; ' "
    RETURN $1$;$1$;
END;
$body$;
PREPARE p (int, int) AS SELECT $1+$2, $1;
SELECT $é$ ; $é$, $_1$ ; $_1$;
SELECT $Tag$ $tag$ ; $Tag$;
SELECT $a$ $b$a$;
SELECT a$b$c FROM t$;
SELECT x$$y$, e$'\';
SELECT $$ /* -- ' " $$ -- $$ ;
;
SELECT $$
\;
$$;
DO $$BEGIN NULL; END$$E'\';';
