//! Certificate authorities.

use async_trait::async_trait;
use domain::{Event, ExecutorName, Sha256, Timestamp};
use rusqlite::{Connection, Row, named_params};

use super::failure::{Failure, is_duplicate};
use super::row::{RowColumns, all, micros, write};
use super::{SqliteStore, event};
use crate::authority::{AuthorityRecord, AuthorityStore, AuthorityUse};
use crate::column::limit;
use crate::error::Error;
use crate::mapping;

const LIST: &str = "
SELECT number, public_key_sha256, certificate_pem, sealed_key, create_time, sign_time, retire_time
FROM authorities
ORDER BY number";

const INSERT: &str = "
INSERT INTO authorities (
    number, public_key_sha256, certificate_pem, sealed_key, create_time, sign_time, retire_time
)
VALUES (
    :number, :public_key_sha256, :certificate_pem, :sealed_key, :create_time, :sign_time, :retire_time
)";

const RETIRE: &str = "
UPDATE authorities
SET retire_time = :time, sealed_key = ''
WHERE number = :number
AND retire_time IS NULL";

const RESEAL: &str = "
UPDATE authorities
SET sealed_key = :sealed_key
WHERE number = :number
AND sealed_key = :before";

/// Executors with the certificate that each has in hand ([`AuthorityStore`]).
macro_rules! held {
    () => {
        "
FROM executors
JOIN certificates ON certificates.fingerprint = (
    SELECT fingerprint
    FROM certificates
    WHERE executor = executors.uid
    AND revoke_time IS NULL
    AND not_after > :ended_after
    ORDER BY use_time IS NULL, not_before DESC, fingerprint
    LIMIT 1
)
WHERE delete_time IS NULL
"
    };
}

const USES: &str = concat!(
    "
SELECT authority, count(*) AS executors",
    held!(),
    "GROUP BY authority"
);

const DEPENDENTS: &str = concat!(
    "
SELECT organization, name",
    held!(),
    "AND authority IS :authority
ORDER BY organization, name
LIMIT :limit"
);

fn read(row: &Row<'_>) -> Result<AuthorityRecord, Failure> {
    Ok(mapping::authority(RowColumns::of("authority", row))?)
}

fn insert(connection: &Connection, authority: &AuthorityRecord) -> Result<(), Failure> {
    let params = named_params! {
        ":number": authority.number,
        ":public_key_sha256": authority.public_key_sha256.to_string(),
        ":certificate_pem": authority.certificate_pem,
        ":sealed_key": authority.sealed_key,
        ":create_time": authority.create_time.as_micros(),
        ":sign_time": authority.sign_time.as_micros(),
        ":retire_time": micros(authority.retire_time),
    };
    match write(connection, INSERT, params) {
        Ok(_) => Ok(()),
        Err(error) if is_duplicate(&error) => Err(Failure::exists("authority", authority.number)),
        Err(error) => Err(Failure::Engine(error)),
    }
}

#[async_trait]
impl AuthorityStore for SqliteStore {
    async fn authority_list(&self) -> Result<Vec<AuthorityRecord>, Error> {
        self.read("authority_list", |connection| all(connection, LIST, [], read)).await
    }

    async fn authority_insert(&self, authority: &AuthorityRecord, events: &[Event]) -> Result<(), Error> {
        let (authority, events) = (authority.clone(), events.to_vec());
        self.write("authority_insert", move |tx| {
            insert(tx.connection(), &authority)?;
            event::insert_in_tx(tx, &events)
        })
        .await
    }

    async fn authority_retire(&self, number: u32, time: Timestamp, events: &[Event]) -> Result<(), Error> {
        let events = events.to_vec();
        self.write("authority_retire", move |tx| {
            let params = named_params! { ":number": number, ":time": time.as_micros() };
            if write(tx.connection(), RETIRE, params)? == 0 {
                return Err(Failure::stale("authority", number));
            }
            event::insert_in_tx(tx, &events)
        })
        .await
    }

    async fn authority_reseal(&self, number: u32, from: &str, to: &str) -> Result<(), Error> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.write("authority_reseal", move |tx| {
            let params = named_params! { ":number": number, ":before": from, ":sealed_key": to };
            match write(tx.connection(), RESEAL, params)? {
                0 => Err(Failure::stale("authority", number)),
                _ => Ok(()),
            }
        })
        .await
    }

    async fn authority_uses(&self, ended_after: Timestamp) -> Result<Vec<AuthorityUse>, Error> {
        self.read("authority_uses", move |connection| {
            all(connection, USES, named_params! { ":ended_after": ended_after.as_micros() }, |row| {
                Ok(mapping::authority_use(RowColumns::of("authority", row))?)
            })
        })
        .await
    }

    async fn authority_dependents(
        &self,
        authority: Option<Sha256>,
        ended_after: Timestamp,
        at_most: usize,
    ) -> Result<Vec<ExecutorName>, Error> {
        let authority = authority.map(|authority| authority.to_string());
        self.read("authority_dependents", move |connection| {
            let params = named_params! {
                ":authority": authority,
                ":ended_after": ended_after.as_micros(),
                ":limit": limit(at_most),
            };
            all(connection, DEPENDENTS, params, |row| Ok(mapping::executor_name(RowColumns::of("executor", row))?))
        })
        .await
    }
}
