-- Certificate authorities whose keys are sealed by a key that is not in this file; a retired one has none.
CREATE TABLE authorities (
    number            INTEGER NOT NULL PRIMARY KEY CHECK (number > 0),
    public_key_sha256 TEXT    NOT NULL,
    certificate_pem   TEXT    NOT NULL,
    sealed_key        TEXT    NOT NULL,
    create_time       INTEGER NOT NULL,
    sign_time         INTEGER NOT NULL,
    retire_time       INTEGER
) STRICT;

-- Who signed it (none: before this was written), and when its executor was first seen with it.
ALTER TABLE certificates ADD COLUMN authority TEXT;
ALTER TABLE certificates ADD COLUMN use_time INTEGER;
