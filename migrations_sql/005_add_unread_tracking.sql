-- Migration: add unread tracking
-- Version: 005
-- Date: 2025-10-08
-- Description: Up to where each person has read a request, and the view "inbox" that counts the rest.

CREATE TABLE request_reads (
    request_id uuid NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    person_id uuid NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    last_read_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (request_id, person_id)
);

CREATE INDEX request_reads_person_id_idx ON request_reads (person_id);

COMMENT ON TABLE request_reads IS 'Up to where a person has read a request; no row: nothing yet';

CREATE VIEW inbox AS
SELECT
    people.id AS person_id,
    requests.id AS request_id,
    requests.reference,
    requests.subject,
    requests.status,
    count(messages.id) AS unread,
    max(messages.sent_at) AS last_message_at
FROM people
JOIN requests ON people.id IN (requests.requester_id, requests.assignee_id)
LEFT JOIN request_reads
    ON request_reads.request_id = requests.id AND request_reads.person_id = people.id
LEFT JOIN messages
    ON messages.request_id = requests.id
    AND messages.author_id <> people.id
    AND (people.is_agent OR NOT messages.is_internal)
    AND messages.sent_at > coalesce(request_reads.last_read_at, '-infinity')
GROUP BY people.id, requests.id;

COMMENT ON VIEW inbox IS 'Each person''s requests, with how many messages of others are unread';
