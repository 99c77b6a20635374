/* a header; with 'quotes", $$dollars$$ and (parentheses */
-- another; 'one
SELECT 1; -- trailing; comment
SELECT /* ; */ 2 /* nested /* ; */ ; */ + 3;
SELECT /* /* /* deep; */ */ ; */ 4;
SELECT 5/**/;/***/SELECT 6/*/**/*/;
SELECT 7 -- ;
  , 8 --;
;
SELECT 9 /* -- */ ; SELECT 10 -- /* ;
;
SELECT '-- no comment;', '/* no comment;' /* a comment; ' */;
SELECT 11 /*/ still inside; */;
SELECT 12 /* '
;
' */;
