-- nothing
/* at all; */ ;
