SELECT 1;
SELECT a - b, (c /* inside */), 'x' /* /* nested */ */ || y
  -- sqlmigrator: too late; and not part of the statement
  /* /* nested */ */
-- end