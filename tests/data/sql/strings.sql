-- Standard strings: a backslash is a character, a doubled quote a quote.
SELECT 'a;b', 'it''s;', '\', ';--', '/*', '$$', '''';
SELECT 'first'
    'second;';
SELECT 'first' -- a comment with a quote ' in between
    ';second';
SELECT '
;
';
SELECT '';
SELECT '''';
SELECT ''';''';
-- E strings: a backslash escapes the quote, also in the lines that continue the string.
SELECT E'\';', e'\\', E'it''s;', E'\\\';';
SELECT E'first\\'
    '\';second' -- comment
    '\';third';
DO E'not continued on one line' '\';
DO E'nor' /* 
 */ '\';
SELECT typE'\', 1;
SELECT "E"'\', 2;
SELECT E '\', 3;
SELECT 1 = E'\';', (E'\';'), ARRAY[E'\';'], +E'\';';
-- Unicode, national, bit and hexadecimal strings: a backslash does not escape the quote.
SELECT U&'d\0061t\+000061;', u&'\\', U&'!0061;' UESCAPE '!';
SELECT N';', n'\', B'0101', b'1', X'1F', x'1f';
SELECT B'0'
    '1';
