-- Migration: create messages
-- Version: 003
-- Date: 2025-10-03
-- Description: The conversation in a request, with its attachments.

CREATE TABLE messages (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    request_id uuid NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    author_id uuid NOT NULL REFERENCES people (id) ON DELETE RESTRICT,
    body text NOT NULL,
    is_internal boolean NOT NULL DEFAULT false,
    sent_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX messages_request_id_sent_at_idx ON messages (request_id, sent_at);
CREATE INDEX messages_author_id_idx ON messages (author_id);

COMMENT ON TABLE messages IS 'What was written in a request, oldest first';
COMMENT ON COLUMN messages.is_internal IS 'A note that only agents may read';

CREATE TABLE attachments (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    message_id uuid NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    file_name text NOT NULL,
    media_type text NOT NULL DEFAULT 'application/octet-stream',
    size_bytes bigint NOT NULL CHECK (size_bytes >= 0)
);

CREATE INDEX attachments_message_id_idx ON attachments (message_id);

COMMENT ON TABLE attachments IS 'Files sent with a message; their content is in the object store';
