-- Comments start inside a run of operator characters.
SELECT 1 */* ; */ 2;
SELECT 1 +-- ;
 2;
SELECT 1 //* ; */ 2;
SELECT 3 - -1, 4 -- -1;
;
SELECT a->b, a->>'c;', a #>> '{x;}', a @> b, a <@ b, |/ 25, 1 / 2, 2 * 3, - 4;
SELECT a ?| b, a ?& b, a !~~* b, a ~ '/*;*/';
CREATE OPERATOR @#@ (FUNCTION = f, LEFTARG = int);
