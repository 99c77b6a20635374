--
-- PostgreSQL database dump
--

\restrict x0fQ

SET a = 1;
