//! What an import carries: each table of PostgreSQL's schema, column by column, with what a column holds and where it comes
//! from in SQLite's. A test holds this list against both catalogs, and so does every import before it copies.
//!
//! Where the schemas part: the number of an executor's newest change is a table of its own in PostgreSQL; all request ids,
//! aliases and not, are one table; counters are sequences. A session that was open is carried as ended when its server was
//! last heard, as presence would say it: nobody is connected to the new store until they dial.

/// What a column holds, and so how each side keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text as it is.
    Text,
    /// A counter or a size.
    Integer,
    /// 0 or 1, and a boolean.
    Flag,
    /// Microseconds since 1970, and a timestamptz.
    Time,
    /// A UUID as lower-case text, and a uuid.
    Id,
    /// A SHA-256 as lower-case text, and a bytea.
    Digest,
    /// A document that is kept as it was written.
    Json,
    /// A document that is searched: PostgreSQL keeps what it means, not how it was written.
    Map,
}

/// A column of PostgreSQL's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// What is read of SQLite.
    pub(crate) value: &'static str,
}

/// A table of PostgreSQL's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// What orders its rows alike on both sides.
    pub(crate) key: &'static [&'static str],
    /// What is read of SQLite.
    pub(crate) from: &'static str,
    pub(crate) columns: &'static [Column],
}

macro_rules! value {
    ($column:ident) => {
        stringify!($column)
    };
    ($column:ident $value:literal) => {
        $value
    };
}

macro_rules! tables {
    ($($table:ident ($($key:ident),+) from $from:literal {
        $($column:ident: $kind:ident $(= $value:literal)?,)+
    })+) => {
        /// Every table, after those that it refers to.
        pub(crate) const TABLES: &[Table] = &[$(Table {
            name: stringify!($table),
            key: &[$(stringify!($key)),+],
            from: $from,
            columns: &[$(Column {
                name: stringify!($column),
                kind: Kind::$kind,
                value: value!($column $($value)?),
            }),+],
        }),+];
    };
}

tables! {
    organizations (id) from "organizations" {
        id: Text,
        display_name: Text,
        create_time: Time,
    }
    tokens (id) from "tokens" {
        id: Text,
        secret_sha256: Digest,
        role: Text,
        organization: Text,
        display_name: Text,
        create_time: Time,
        expire_time: Time,
        revoke_time: Time,
        signed_in_by: Text,
    }
    join_tokens (id) from "join_tokens" {
        id: Text,
        organization: Text,
        secret_sha256: Digest,
        executor: Text,
        replace: Flag,
        max_uses: Integer,
        uses: Integer,
        create_time: Time,
        expire_time: Time,
        revoke_time: Time,
    }
    executors (uid) from "executors" {
        uid: Id,
        organization: Text,
        name: Text,
        revision: Integer,
        state: Text,
        kind: Text,
        version: Text,
        platform: Text,
        channel: Text,
        channel_ceiling: Text,
        labels: Map,
        pinned: Text,
        floor: Text,
        holds: Json,
        release_key_ids: Json,
        generation: Integer,
        pending: Id,
        open_attempt: Id,
        duplicated_since: Time,
        create_time: Time,
        delete_time: Time,
    }
    changes (executor) from "executors" {
        executor: Id = "uid",
        number: Integer = "change_number",
    }
    attempts (id) from "attempts" {
        id: Id,
        executor: Id,
        organization: Text,
        executor_name: Text,
        revision: Integer,
        release: Text,
        from_version: Text,
        generation: Integer,
        phase: Text,
        refused: Json,
        rollback_requested: Flag,
        outcome: Text,
        outcome_source: Text,
        ending: Json,
        corrected: Flag,
        bytes_done: Integer,
        bytes_total: Integer,
        request_time: Time,
        deliver_time: Time,
        progress_time: Time,
        apply_time: Time,
        end_time: Time,
        expire_time: Time,
        requested_by: Text,
        request_id: Text,
        deadline: Time,
        waiting: Json,
    }
    requests (organization, request_id) from "(
    SELECT organization, request_id, id AS attempt
    FROM attempts
    WHERE request_id IS NOT NULL
    UNION ALL
    SELECT organization, request_id, attempt
    FROM request_aliases
)" {
        organization: Text,
        request_id: Text,
        attempt: Id,
    }
    authorities (number) from "authorities" {
        number: Integer,
        public_key_sha256: Digest,
        certificate_pem: Text,
        sealed_key: Text,
        create_time: Time,
        sign_time: Time,
        retire_time: Time,
    }
    restores (time) from "restores" {
        time: Time,
        known_until: Time,
    }
    certificates (fingerprint) from "certificates" {
        fingerprint: Digest,
        serial: Text,
        executor: Id,
        authority: Digest,
        public_key_sha256: Digest,
        join_token: Text,
        chain_pem: Text,
        not_before: Time,
        not_after: Time,
        use_time: Time,
        revoke_time: Time,
    }
    replicas (id) from "replicas" {
        id: Id,
        renew_time: Time,
        lease_end: Time,
    }
    sessions (executor, epoch) from "sessions" {
        executor: Id,
        epoch: Integer,
        replica: Id,
        instance: Id,
        open_time: Time,
        end_time: Time = "coalesce(end_time, (
    SELECT max(replicas.renew_time, sessions.open_time)
    FROM replicas
    WHERE replicas.id = sessions.replica
))",
        superseded: Flag,
    }
    releases (id) from "releases" {
        id: Text,
        kind: Text,
        revision: Integer,
        channel: Text,
        status: Text,
        notes: Text,
        floor: Text,
        sequence: Integer,
        artifacts: Json,
        create_time: Time,
        publish_time: Time,
        yank_reason: Text,
    }
    nodes (executor, name) from "nodes" {
        executor: Id,
        name: Text,
        platform: Text,
        kernel_version: Text,
        os_image: Text,
        kubelet_version: Text,
        ready: Flag,
        report_time: Time,
    }
    events (sequence) from "events" {
        sequence: Integer,
        kind: Text,
        actor: Text,
        target: Text,
        organization: Text,
        time: Time,
        details: Json,
    }
}

/// Columns of SQLite's that are carried under another name.
pub(crate) const ELSEWHERE: &[(&str, &str)] = &[
    // `changes.number`.
    ("executors", "change_number"),
    // The sequences.
    ("counters", "name"),
    ("counters", "value"),
    // `requests`.
    ("request_aliases", "organization"),
    ("request_aliases", "request_id"),
    ("request_aliases", "attempt"),
];

/// Where PostgreSQL counts what SQLite has counters for, and the newest number that a row shows.
pub(crate) const SEQUENCES: &[(&str, &str, &str)] =
    &[("change_numbers", "changes", "number"), ("event_numbers", "events", "sequence")];

/// Each store's own: its steps, and which replica does what. Not carried.
pub(crate) const OWN: &[&str] = &["migrations", "jobs"];

impl Kind {
    /// As SQLite's catalog calls it.
    pub(crate) const fn source_type(self) -> &'static str {
        match self {
            Self::Text | Self::Id | Self::Digest | Self::Json | Self::Map => "TEXT",
            Self::Integer | Self::Flag | Self::Time => "INTEGER",
        }
    }

    /// As PostgreSQL's catalog calls it.
    pub(crate) const fn target_type(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "bigint",
            Self::Flag => "boolean",
            Self::Time => "timestamp with time zone",
            Self::Id => "uuid",
            Self::Digest => "bytea",
            Self::Json => "json",
            Self::Map => "jsonb",
        }
    }
}

impl Table {
    /// What reads it from SQLite, in order of its key.
    pub(crate) fn source_sql(&self) -> String {
        let columns = self.columns.iter().map(|column| format!("{} AS {}", column.value, column.name));
        let columns = columns.collect::<Vec<_>>().join(", ");
        format!("SELECT {columns}\nFROM {}\nORDER BY {}", self.from, self.key.join(", "))
    }

    /// What reads it from PostgreSQL, in order of its key.
    pub(crate) fn target_sql(&self) -> String {
        format!("SELECT {}\nFROM novacula.{}\nORDER BY {}", self.names(), self.name, self.key.join(", "))
    }

    /// What writes rows of it, an array for each column.
    pub(crate) fn insert_sql(&self) -> String {
        let arrays = (1..=self.columns.len()).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ");
        let names = self.names();
        format!("INSERT INTO novacula.{} ({names})\nSELECT {names}\nFROM unnest({arrays}) AS rows ({names})", self.name)
    }

    fn names(&self) -> String {
        self.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
    }
}
