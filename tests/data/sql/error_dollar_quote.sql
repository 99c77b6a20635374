SELECT 'é', $a$ ; $b$;
