-- Further request ids that were answered with an attempt which another request had made: whoever repeats one gets that
-- attempt again, also when it has ended since. They go with their attempt.
CREATE TABLE request_aliases (
    organization TEXT NOT NULL,
    request_id   TEXT NOT NULL,
    attempt      TEXT NOT NULL REFERENCES attempts (id) ON DELETE CASCADE,
    PRIMARY KEY (organization, request_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX request_aliases_by_attempt ON request_aliases (attempt);
