-- Migration: create requests
-- Version: 002
-- Date: 2025-10-02
-- Description: People, and the requests that they send to the team.

CREATE TABLE people (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    email text NOT NULL,
    full_name text NOT NULL,
    is_agent boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT people_email_has_at CHECK (position('@' IN email) > 1)
);

CREATE UNIQUE INDEX people_email_key ON people (lower(email));

COMMENT ON TABLE people IS 'Customers, and the agents who answer them';
COMMENT ON COLUMN people.email IS 'Unique without regard to case';

CREATE TABLE requests (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    reference bigint GENERATED ALWAYS AS IDENTITY (START WITH 1000) UNIQUE,
    requester_id uuid NOT NULL REFERENCES people (id) ON DELETE RESTRICT,
    assignee_id uuid REFERENCES people (id) ON DELETE SET NULL,
    subject text NOT NULL,
    status text NOT NULL DEFAULT 'open',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT requests_subject_length CHECK (length(subject) BETWEEN 1 AND 200),
    CONSTRAINT requests_status_known CHECK (status IN ('open', 'waiting', 'solved', 'closed'))
);

CREATE INDEX requests_requester_id_idx ON requests (requester_id);
CREATE INDEX requests_assignee_id_idx ON requests (assignee_id) WHERE assignee_id IS NOT NULL;

COMMENT ON TABLE requests IS 'What somebody asked the team for';
COMMENT ON COLUMN requests.reference IS 'The number people quote: "about request 1042; thanks"';
COMMENT ON COLUMN requests.status IS 'open: ours to answer; waiting: theirs; solved; closed: no more replies';
