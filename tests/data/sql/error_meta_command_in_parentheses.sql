SELECT (1, \echo
);
