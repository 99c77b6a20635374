SELECT 1;

-- Nothing but a comment; after the last statement
/* and another one; */
