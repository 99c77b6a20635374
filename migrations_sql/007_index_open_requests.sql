-- Migration: index open requests
-- Version: 007
-- Date: 2025-10-13
-- Description: The queue of open requests, without blocking those who write to the table meanwhile.
-- sqlmigrator: no-transaction

CREATE INDEX CONCURRENTLY requests_queue_idx ON requests (category, created_at) WHERE status = 'open';

COMMENT ON INDEX requests_queue_idx IS 'Serves the queue: open requests of a category, oldest first';
