SELECT 1;
  SELECT E'open\';
