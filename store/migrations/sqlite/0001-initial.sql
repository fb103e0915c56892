-- Times are UTC microseconds since 1970. UUIDs and digests are lower-case text, so that a person with the sqlite3 shell
-- reads what the logs say. Lists and maps that are only read and written whole are JSON.

-- The newest number of each kind that was given out.
CREATE TABLE counters (
    name  TEXT    NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO counters (name, value) VALUES ('change', 0);

CREATE TABLE organizations (
    id           TEXT    NOT NULL PRIMARY KEY,
    display_name TEXT    NOT NULL,
    create_time  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- `organization` is null for the roles of the installation.
CREATE TABLE tokens (
    id            TEXT    NOT NULL PRIMARY KEY,
    secret_sha256 TEXT    NOT NULL,
    role          TEXT    NOT NULL,
    organization  TEXT    REFERENCES organizations (id),
    display_name  TEXT    NOT NULL,
    create_time   INTEGER NOT NULL,
    expire_time   INTEGER NOT NULL,
    revoke_time   INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX tokens_by_organization ON tokens (organization, id);

-- `executor` is the only name that it enrols, when it names one.
CREATE TABLE join_tokens (
    id            TEXT    NOT NULL PRIMARY KEY,
    organization  TEXT    NOT NULL REFERENCES organizations (id),
    secret_sha256 TEXT    NOT NULL,
    executor      TEXT,
    replace       INTEGER NOT NULL CHECK (replace IN (0, 1)),
    max_uses      INTEGER NOT NULL,
    uses          INTEGER NOT NULL CHECK (uses <= max_uses),
    create_time   INTEGER NOT NULL,
    expire_time   INTEGER NOT NULL,
    revoke_time   INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX join_tokens_by_organization ON join_tokens (organization, id);

-- A deleted executor stays as a tombstone: its attempts and certificates go on meaning it, its change is seen by the
-- sweep, and its name is free. `change_number` is the newest commit that wrote it.
CREATE TABLE executors (
    uid              TEXT    NOT NULL PRIMARY KEY,
    organization     TEXT    NOT NULL REFERENCES organizations (id),
    name             TEXT    NOT NULL,
    revision         INTEGER NOT NULL,
    state            TEXT    NOT NULL,
    kind             TEXT,
    version          TEXT,
    platform         TEXT,
    channel          TEXT    NOT NULL,
    channel_ceiling  TEXT,
    labels           TEXT    NOT NULL CHECK (json_valid(labels)),
    pinned           TEXT,
    floor            TEXT,
    holds            TEXT    NOT NULL,
    release_key_ids  TEXT    NOT NULL,
    generation       INTEGER NOT NULL CHECK (generation >= 0),
    pending          TEXT,
    open_attempt     TEXT,
    duplicated_since INTEGER,
    create_time      INTEGER NOT NULL,
    change_number    INTEGER NOT NULL,
    delete_time      INTEGER
) STRICT;

CREATE UNIQUE INDEX executors_by_name ON executors (organization, name) WHERE delete_time IS NULL;
CREATE INDEX executors_by_name_everywhere ON executors (name, organization) WHERE delete_time IS NULL;
CREATE UNIQUE INDEX executors_by_change ON executors (change_number);
CREATE INDEX executors_pending ON executors (pending) WHERE pending IS NOT NULL AND delete_time IS NULL;

-- An executor ignores older generations, so a row that went back would never be obeyed again: refused, whoever asks.
CREATE TRIGGER executors_generation_only_grows
BEFORE UPDATE OF generation ON executors
WHEN NEW.generation < OLD.generation
BEGIN
    SELECT RAISE(ABORT, 'the generation of an executor would go back');
END;

CREATE TRIGGER executors_kind_is_fixed
BEFORE UPDATE OF kind ON executors
WHEN OLD.kind IS NOT NULL AND NEW.kind IS NOT OLD.kind
BEGIN
    SELECT RAISE(ABORT, 'the kind of an executor would change');
END;

CREATE TRIGGER executors_identity_is_fixed
BEFORE UPDATE OF uid, organization, name ON executors
WHEN NEW.uid <> OLD.uid OR NEW.organization <> OLD.organization OR NEW.name <> OLD.name
BEGIN
    SELECT RAISE(ABORT, 'the identity of an executor would change');
END;

-- `refused` and `ending` are JSON; `outcome` and `outcome_source` are the part of the ending that is searched.
-- `deadline` is when time alone next changes it.
CREATE TABLE attempts (
    id                 TEXT    NOT NULL PRIMARY KEY,
    executor           TEXT    NOT NULL REFERENCES executors (uid),
    organization       TEXT    NOT NULL,
    executor_name      TEXT    NOT NULL,
    revision           INTEGER NOT NULL,
    release            TEXT    NOT NULL,
    from_version       TEXT    NOT NULL,
    generation         INTEGER NOT NULL,
    phase              TEXT    NOT NULL,
    refused            TEXT,
    rollback_requested INTEGER NOT NULL CHECK (rollback_requested IN (0, 1)),
    outcome            TEXT,
    outcome_source     TEXT,
    ending             TEXT,
    corrected          INTEGER NOT NULL CHECK (corrected IN (0, 1)),
    bytes_done         INTEGER NOT NULL,
    bytes_total        INTEGER NOT NULL,
    request_time       INTEGER NOT NULL,
    deliver_time       INTEGER,
    progress_time      INTEGER,
    apply_time         INTEGER,
    end_time           INTEGER,
    expire_time        INTEGER NOT NULL,
    requested_by       TEXT    NOT NULL,
    request_id         TEXT,
    deadline           INTEGER,
    CHECK ((outcome IS NULL) = (ending IS NULL) AND (outcome IS NULL) = (outcome_source IS NULL))
) STRICT;

CREATE INDEX attempts_by_executor ON attempts (executor, id);
CREATE INDEX attempts_by_organization ON attempts (organization, id);
CREATE UNIQUE INDEX attempts_by_request ON attempts (organization, request_id) WHERE request_id IS NOT NULL;
CREATE INDEX attempts_open_by_release ON attempts (release, id) WHERE outcome IS NULL;
CREATE INDEX attempts_by_deadline ON attempts (deadline) WHERE deadline IS NOT NULL;
CREATE INDEX attempts_by_end ON attempts (end_time) WHERE end_time IS NOT NULL;

CREATE TABLE certificates (
    fingerprint       TEXT    NOT NULL PRIMARY KEY,
    serial            TEXT    NOT NULL,
    executor          TEXT    NOT NULL REFERENCES executors (uid),
    public_key_sha256 TEXT    NOT NULL,
    join_token        TEXT    REFERENCES join_tokens (id),
    chain_pem         TEXT    NOT NULL,
    not_before        INTEGER NOT NULL,
    not_after         INTEGER NOT NULL,
    revoke_time       INTEGER
) STRICT;

CREATE INDEX certificates_by_executor ON certificates (executor);
CREATE INDEX certificates_by_enrolment ON certificates (join_token, public_key_sha256) WHERE join_token IS NOT NULL;
CREATE INDEX certificates_by_end ON certificates (not_after);

-- A server process and how long its word about its sessions counts.
CREATE TABLE replicas (
    id         TEXT    NOT NULL PRIMARY KEY,
    renew_time INTEGER NOT NULL,
    lease_end  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    executor   TEXT    NOT NULL REFERENCES executors (uid),
    epoch      INTEGER NOT NULL,
    replica    TEXT    NOT NULL REFERENCES replicas (id),
    instance   TEXT    NOT NULL,
    open_time  INTEGER NOT NULL,
    end_time   INTEGER,
    superseded INTEGER NOT NULL CHECK (superseded IN (0, 1)),
    PRIMARY KEY (executor, epoch)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX sessions_newest ON sessions (executor) WHERE superseded = 0;
CREATE INDEX sessions_by_replica ON sessions (replica, end_time);
CREATE INDEX sessions_superseded_by_end ON sessions (end_time) WHERE superseded = 1;

CREATE TABLE releases (
    id           TEXT    NOT NULL PRIMARY KEY,
    kind         TEXT    NOT NULL,
    revision     INTEGER NOT NULL,
    channel      TEXT    NOT NULL,
    status       TEXT    NOT NULL,
    notes        TEXT    NOT NULL,
    floor        TEXT,
    sequence     INTEGER,
    artifacts    TEXT    NOT NULL,
    create_time  INTEGER NOT NULL,
    publish_time INTEGER,
    yank_reason  TEXT
) STRICT;

CREATE INDEX releases_by_kind ON releases (kind);

CREATE TABLE nodes (
    executor        TEXT    NOT NULL REFERENCES executors (uid),
    name            TEXT    NOT NULL,
    platform        TEXT    NOT NULL,
    kernel_version  TEXT    NOT NULL,
    os_image        TEXT    NOT NULL,
    kubelet_version TEXT    NOT NULL,
    ready           INTEGER NOT NULL CHECK (ready IN (0, 1)),
    report_time     INTEGER NOT NULL,
    PRIMARY KEY (executor, name)
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT: a number is never given twice, not even after the newest rows were pruned.
CREATE TABLE events (
    sequence     INTEGER PRIMARY KEY AUTOINCREMENT,
    kind         TEXT    NOT NULL,
    actor        TEXT    NOT NULL,
    target       TEXT    NOT NULL,
    organization TEXT,
    time         INTEGER NOT NULL,
    details      TEXT    NOT NULL
) STRICT;

CREATE INDEX events_by_organization ON events (organization, sequence);
CREATE INDEX events_by_target ON events (target, sequence);
CREATE INDEX events_by_time ON events (time);
