-- Migration: add request categories
-- Version: 006
-- Date: 2025-10-10
-- Description: Every request has a category. Those that are there get theirs from the subject.

CREATE TABLE request_categories (
    slug text PRIMARY KEY CHECK (slug ~ '^[a-z][a-z_]*$'),
    title text NOT NULL,
    answer_within interval NOT NULL
);

COMMENT ON TABLE request_categories IS 'What requests are about, and how soon each kind is answered';

INSERT INTO request_categories (slug, title, answer_within) VALUES
    ('general', 'Everything else', interval '2 days'),
    ('billing', 'Invoices; payments', interval '1 day'),
    ('outage', 'It''s down!', interval '30 minutes');

ALTER TABLE requests
    ADD COLUMN category text NOT NULL DEFAULT 'general'
        CONSTRAINT requests_category_fkey REFERENCES request_categories (slug);

COMMENT ON COLUMN requests.category IS 'What it is about';

-- The backfill is no answer by anybody: updated_at stays as it is.
ALTER TABLE requests DISABLE TRIGGER requests_set_updated_at;

UPDATE requests
SET category = CASE
    WHEN subject ~* '\m(invoice|payment|refund)' THEN 'billing'
    WHEN subject ~* '\m(down|outage|unreachable)\M' THEN 'outage'
    ELSE category
END
WHERE subject ~* '\m(invoice|payment|refund|down|outage|unreachable)';

ALTER TABLE requests ENABLE TRIGGER requests_set_updated_at;
