-- Certificate authorities that replicas share. A key is sealed by a key that is not in the database; a retired one has none.
CREATE TABLE novacula.authorities (
    number            bigint PRIMARY KEY CHECK (number > 0),
    public_key_sha256 bytea       NOT NULL,
    certificate_pem   text        NOT NULL,
    sealed_key        text        NOT NULL,
    create_time       timestamptz NOT NULL,
    sign_time         timestamptz NOT NULL,
    retire_time       timestamptz
);

-- Who signed it (none: before this was written), and when its executor was first seen with it.
ALTER TABLE novacula.certificates
    ADD COLUMN authority bytea,
    ADD COLUMN use_time timestamptz;
