-- Migration: touch requests
-- Version: 004
-- Date: 2025-10-06
-- Description: Keep requests.updated_at true, and reopen a request when its requester answers.

CREATE FUNCTION set_updated_at() RETURNS trigger
LANGUAGE plpgsql
AS $function$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END;
$function$;

COMMENT ON FUNCTION set_updated_at() IS 'Trigger: the row''s updated_at is the time of the change';

CREATE TRIGGER requests_set_updated_at
    BEFORE UPDATE ON requests
    FOR EACH ROW
    WHEN (OLD.* IS DISTINCT FROM NEW.*)
    EXECUTE FUNCTION set_updated_at();

CREATE FUNCTION follow_message() RETURNS trigger
LANGUAGE plpgsql
AS $function$
BEGIN
    -- An answer by the requester makes it ours again; one by an agent makes it theirs.
    UPDATE requests
    SET status = CASE WHEN NEW.author_id = requester_id THEN 'open' ELSE 'waiting' END
    WHERE id = NEW.request_id
        AND status <> 'closed'
        AND NOT NEW.is_internal;
    RETURN NULL;
END;
$function$;

COMMENT ON FUNCTION follow_message() IS 'Trigger: a message decides whose turn it is';

CREATE TRIGGER messages_follow_message
    AFTER INSERT ON messages
    FOR EACH ROW
    EXECUTE FUNCTION follow_message();
