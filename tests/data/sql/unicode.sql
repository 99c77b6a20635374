-- Ünïcödé; 😀
CREATE TABLE größe (naïve text, 名前 text, "😀;" text);
SELECT 'é;😀', $é$;😀$é$, 名前, größe$1, "日本;" FROM größe; SELECT éE'\', 1; SELECT '😀'; SELECT 2;
SELECT E'\'😀;'; /* 😀; */ SELECT 3;
