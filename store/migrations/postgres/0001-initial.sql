-- The schema's name is written `novacula` here and in every statement; another one is put in its place when a store is opened.
-- Lists and maps that are only read and written whole are json, which keeps every text as it came; jsonb, which is searched,
-- refuses some. Names and words compare by byte (COLLATE "C"), as
-- Rust compares them, whatever the database's locale is.

-- The store's clock, for leases, TTLs and deadlines: one place, so that a test can move it.
CREATE FUNCTION novacula.store_now() RETURNS timestamptz
LANGUAGE sql VOLATILE PARALLEL SAFE
AS 'SELECT clock_timestamp()';

CREATE TABLE novacula.organizations (
    id           text COLLATE "C" PRIMARY KEY,
    display_name text        NOT NULL,
    create_time  timestamptz NOT NULL
);

-- `organization` is null for the roles of the installation.
CREATE TABLE novacula.tokens (
    id            text COLLATE "C" PRIMARY KEY,
    secret_sha256 bytea       NOT NULL,
    role          text        NOT NULL,
    organization  text COLLATE "C" REFERENCES novacula.organizations (id),
    display_name  text        NOT NULL,
    create_time   timestamptz NOT NULL,
    expire_time   timestamptz NOT NULL,
    revoke_time   timestamptz
);

CREATE INDEX tokens_by_organization ON novacula.tokens (coalesce(organization, ''), id);

-- `executor` is the only name that it enrols, when it names one.
CREATE TABLE novacula.join_tokens (
    id            text COLLATE "C" PRIMARY KEY,
    organization  text COLLATE "C" NOT NULL REFERENCES novacula.organizations (id),
    secret_sha256 bytea       NOT NULL,
    executor      text COLLATE "C",
    replace       boolean     NOT NULL,
    max_uses      bigint      NOT NULL,
    uses          bigint      NOT NULL CHECK (uses <= max_uses),
    create_time   timestamptz NOT NULL,
    expire_time   timestamptz NOT NULL,
    revoke_time   timestamptz
);

CREATE INDEX join_tokens_by_organization ON novacula.join_tokens (organization, id);

-- A deleted executor stays as a tombstone: its attempts and certificates go on meaning it, its change is seen by the
-- sweep, and its name is free.
CREATE TABLE novacula.executors (
    uid              uuid PRIMARY KEY,
    organization     text COLLATE "C" NOT NULL REFERENCES novacula.organizations (id),
    name             text COLLATE "C" NOT NULL,
    revision         bigint      NOT NULL,
    state            text        NOT NULL,
    kind             text,
    version          text COLLATE "C",
    platform         text,
    channel          text        NOT NULL,
    channel_ceiling  text,
    labels           jsonb       NOT NULL,
    pinned           text,
    floor            text,
    holds            json       NOT NULL,
    release_key_ids  json       NOT NULL,
    generation       bigint      NOT NULL CHECK (generation >= 0),
    pending          uuid,
    open_attempt     uuid,
    duplicated_since timestamptz,
    create_time      timestamptz NOT NULL,
    delete_time      timestamptz
);

CREATE UNIQUE INDEX executors_by_name ON novacula.executors (organization, name) WHERE delete_time IS NULL;
CREATE INDEX executors_by_name_everywhere ON novacula.executors (name, organization) WHERE delete_time IS NULL;
CREATE INDEX executors_pending ON novacula.executors (uid) WHERE pending IS NOT NULL AND delete_time IS NULL;

-- An executor ignores older generations, so a row that went back would never be obeyed again: refused, whoever asks.
CREATE FUNCTION novacula.executor_guard() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF NEW.generation < OLD.generation THEN
        RAISE EXCEPTION 'the generation of an executor would go back' USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.kind IS NOT NULL AND NEW.kind IS DISTINCT FROM OLD.kind THEN
        RAISE EXCEPTION 'the kind of an executor would change' USING ERRCODE = 'check_violation';
    END IF;
    IF (NEW.uid, NEW.organization, NEW.name) IS DISTINCT FROM (OLD.uid, OLD.organization, OLD.name) THEN
        RAISE EXCEPTION 'the identity of an executor would change' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER executor_guard
BEFORE UPDATE ON novacula.executors
FOR EACH ROW EXECUTE FUNCTION novacula.executor_guard();

-- The newest commit that wrote each executor, deleted ones too. Apart from the row itself, so that a commit that changes
-- no other indexed column can stay on its page.
CREATE TABLE novacula.changes (
    executor uuid PRIMARY KEY REFERENCES novacula.executors (uid),
    number   bigint NOT NULL
);

CREATE UNIQUE INDEX changes_by_number ON novacula.changes (number);

CREATE SEQUENCE novacula.change_numbers;
CREATE SEQUENCE novacula.event_numbers;

-- `refused` and `ending` are JSON; `outcome` and `outcome_source` are the part of the ending that is searched.
-- `deadline` is when time alone next changes it.
CREATE TABLE novacula.attempts (
    id                 uuid PRIMARY KEY,
    executor           uuid        NOT NULL REFERENCES novacula.executors (uid),
    organization       text COLLATE "C" NOT NULL,
    executor_name      text COLLATE "C" NOT NULL,
    revision           bigint      NOT NULL,
    release            text COLLATE "C" NOT NULL,
    from_version       text        NOT NULL,
    generation         bigint      NOT NULL,
    phase              text        NOT NULL,
    refused            json,
    rollback_requested boolean     NOT NULL,
    outcome            text,
    outcome_source     text,
    ending             json,
    corrected          boolean     NOT NULL,
    bytes_done         bigint      NOT NULL,
    bytes_total        bigint      NOT NULL,
    request_time       timestamptz NOT NULL,
    deliver_time       timestamptz,
    progress_time      timestamptz,
    apply_time         timestamptz,
    end_time           timestamptz,
    expire_time        timestamptz NOT NULL,
    requested_by       text        NOT NULL,
    request_id         text COLLATE "C",
    deadline           timestamptz,
    CHECK ((outcome IS NULL) = (ending IS NULL) AND (outcome IS NULL) = (outcome_source IS NULL))
);

CREATE INDEX attempts_by_executor ON novacula.attempts (executor, id);
CREATE INDEX attempts_by_organization ON novacula.attempts (organization, id);
CREATE INDEX attempts_open_by_release ON novacula.attempts (release, id) WHERE outcome IS NULL;
CREATE INDEX attempts_open_by_executor ON novacula.attempts (executor) WHERE outcome IS NULL;
CREATE INDEX attempts_by_deadline ON novacula.attempts (deadline, id) WHERE deadline IS NOT NULL;
CREATE INDEX attempts_by_end ON novacula.attempts (end_time, id) WHERE outcome IS NOT NULL;

-- Every request id that was answered with an attempt: the one that made it, and further ones. One table, so that one
-- constraint keeps two requests of the same id from making two attempts, whichever replicas they reach.
CREATE TABLE novacula.requests (
    organization text COLLATE "C" NOT NULL,
    request_id   text COLLATE "C" NOT NULL,
    attempt      uuid NOT NULL REFERENCES novacula.attempts (id) ON DELETE CASCADE,
    PRIMARY KEY (organization, request_id)
);

CREATE INDEX requests_by_attempt ON novacula.requests (attempt);

CREATE TABLE novacula.certificates (
    fingerprint       bytea PRIMARY KEY,
    serial            text        NOT NULL,
    executor          uuid        NOT NULL REFERENCES novacula.executors (uid),
    public_key_sha256 bytea       NOT NULL,
    join_token        text COLLATE "C" REFERENCES novacula.join_tokens (id),
    chain_pem         text        NOT NULL,
    not_before        timestamptz NOT NULL,
    not_after         timestamptz NOT NULL,
    revoke_time       timestamptz
);

CREATE INDEX certificates_by_executor ON novacula.certificates (executor);
CREATE INDEX certificates_by_enrolment ON novacula.certificates (join_token, public_key_sha256) WHERE join_token IS NOT NULL;
CREATE INDEX certificates_by_end ON novacula.certificates (not_after, fingerprint);

-- A server process and how long its word about its sessions counts.
CREATE TABLE novacula.replicas (
    id         uuid PRIMARY KEY,
    renew_time timestamptz NOT NULL,
    lease_end  timestamptz NOT NULL
);

CREATE TABLE novacula.sessions (
    executor   uuid        NOT NULL REFERENCES novacula.executors (uid),
    epoch      bigint      NOT NULL,
    replica    uuid        NOT NULL REFERENCES novacula.replicas (id),
    instance   uuid        NOT NULL,
    open_time  timestamptz NOT NULL,
    end_time   timestamptz,
    superseded boolean     NOT NULL,
    PRIMARY KEY (executor, epoch)
);

CREATE UNIQUE INDEX sessions_newest ON novacula.sessions (executor) WHERE NOT superseded;
CREATE INDEX sessions_by_replica ON novacula.sessions (replica, end_time);
CREATE INDEX sessions_superseded_by_end ON novacula.sessions (end_time, executor, epoch) WHERE superseded;

CREATE TABLE novacula.releases (
    id           text COLLATE "C" PRIMARY KEY,
    kind         text        NOT NULL,
    revision     bigint      NOT NULL,
    channel      text        NOT NULL,
    status       text        NOT NULL,
    notes        text        NOT NULL,
    floor        text,
    sequence     bigint,
    artifacts    json       NOT NULL,
    create_time  timestamptz NOT NULL,
    publish_time timestamptz,
    yank_reason  text
);

CREATE INDEX releases_by_kind ON novacula.releases (kind);

CREATE TABLE novacula.nodes (
    executor        uuid        NOT NULL REFERENCES novacula.executors (uid),
    name            text COLLATE "C" NOT NULL,
    platform        text        NOT NULL,
    kernel_version  text        NOT NULL,
    os_image        text        NOT NULL,
    kubelet_version text        NOT NULL,
    ready           boolean     NOT NULL,
    report_time     timestamptz NOT NULL,
    PRIMARY KEY (executor, name)
);

CREATE TABLE novacula.events (
    sequence     bigint PRIMARY KEY,
    kind         text COLLATE "C" NOT NULL,
    actor        text        NOT NULL,
    target       text COLLATE "C" NOT NULL,
    organization text COLLATE "C",
    time         timestamptz NOT NULL,
    details      json       NOT NULL
);

CREATE INDEX events_by_organization ON novacula.events (coalesce(organization, ''), sequence);
CREATE INDEX events_by_target ON novacula.events (target, coalesce(organization, ''), sequence);
CREATE INDEX events_by_time ON novacula.events (time, sequence);

-- Gives the commit its numbers, and tells the other replicas in the same transaction. The last statement of every commit
-- that changes executors or writes events: the lock is held from here to the end of the commit, so that a number becomes
-- visible only after every lower one. NOTIFY takes such a lock of its own, for the whole cluster, so this costs no more.
--
-- A payload is `origin last_event uid:number:generation …`, at most a hundred executors in each (8,000 bytes is the limit).
CREATE FUNCTION novacula.tell(
    origin        uuid,
    executors     uuid[],
    generations   bigint[],
    kinds         text[],
    actors        text[],
    targets       text[],
    organizations text[],
    times         timestamptz[],
    details       json[],
    OUT numbers    bigint[],
    OUT last_event bigint
)
LANGUAGE plpgsql
AS $$
DECLARE
    n_executors integer := cardinality(executors);
    n_events    integer := cardinality(kinds);
    sequences   bigint[];
    at          integer := 0;
    told        text;
BEGIN
    PERFORM pg_advisory_xact_lock(1313822273, 'novacula'::regnamespace::oid::integer);
    numbers := ARRAY(SELECT nextval('novacula.change_numbers') FROM generate_series(1, n_executors));
    INSERT INTO novacula.changes (executor, number)
    SELECT changed.executor, max(changed.number)
    FROM unnest(executors, numbers) AS changed (executor, number)
    GROUP BY changed.executor
    ON CONFLICT (executor) DO UPDATE
    SET number = excluded.number;
    sequences := ARRAY(SELECT nextval('novacula.event_numbers') FROM generate_series(1, n_events));
    INSERT INTO novacula.events (sequence, kind, actor, target, organization, time, details)
    SELECT told_event.sequence, told_event.kind, told_event.actor, told_event.target, told_event.organization, told_event.time,
        told_event.details
    FROM unnest(sequences, kinds, actors, targets, organizations, times, details)
        AS told_event (sequence, kind, actor, target, organization, time, details);
    last_event := coalesce(sequences[n_events], 0);
    LOOP
        SELECT coalesce(string_agg(executors[n] || ':' || numbers[n] || ':' || generations[n], ' ' ORDER BY n), '')
        INTO told
        FROM generate_series(at + 1, least(at + 100, n_executors)) AS n;
        PERFORM pg_notify('novacula', origin || ' ' || last_event || ' ' || told);
        at := at + 100;
        EXIT WHEN at >= n_executors;
    END LOOP;
END
$$;
