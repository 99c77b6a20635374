SELECT 1 AS "a;b", 2 AS "a""b;", 3 AS "--", 4 AS "/*", 5 AS "'", 6 AS "$$";
SELECT 1 AS "
;
";
SELECT U&"d\0061t;a", U&"d!0061;" UESCAPE '!';
CREATE TABLE "select;" ("case" int, "end" int, "begin" int);
SELECT "E"'\';
SELECT """" , """;""";
