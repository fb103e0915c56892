//! Certificate authorities.

use async_trait::async_trait;
use domain::{Event, ExecutorName, Sha256, Timestamp};
use tokio_postgres::Row;

use super::connection::Tx;
use super::failure::Failure;
use super::row::RowColumns;
use super::statement::params;
use super::{PostgresStore, transact};
use crate::authority::{AuthorityRecord, AuthorityStore, AuthorityUse};
use crate::column::limit;
use crate::error::Error;
use crate::mapping;

const LIST: &str = "
SELECT number, public_key_sha256, certificate_pem, sealed_key, create_time, sign_time, retire_time
FROM novacula.authorities
ORDER BY number";

const INSERT: &str = "
INSERT INTO novacula.authorities (
    number, public_key_sha256, certificate_pem, sealed_key, create_time, sign_time, retire_time
)
VALUES (
    :number, :public_key_sha256, :certificate_pem, :sealed_key, :create_time, :sign_time, :retire_time
)
ON CONFLICT DO NOTHING";

const RETIRE: &str = "
UPDATE novacula.authorities
SET retire_time = :time, sealed_key = ''
WHERE number = :number
AND retire_time IS NULL";

const RESEAL: &str = "
UPDATE novacula.authorities
SET sealed_key = :sealed_key
WHERE number = :number
AND sealed_key = :before";

/// Executors with the certificate that each has in hand ([`AuthorityStore`]).
macro_rules! held {
    () => {
        "
FROM novacula.executors
CROSS JOIN LATERAL (
    SELECT authority
    FROM novacula.certificates
    WHERE certificates.executor = executors.uid
    AND revoke_time IS NULL
    AND not_after > :ended_after
    ORDER BY use_time IS NULL, not_before DESC, fingerprint
    LIMIT 1
) AS held
WHERE executors.delete_time IS NULL
"
    };
}

const USES: &str = concat!(
    "
SELECT held.authority, count(*) AS executors",
    held!(),
    "GROUP BY held.authority"
);

const DEPENDENTS: &str = concat!(
    "
SELECT executors.organization, executors.name",
    held!(),
    "AND held.authority IS NOT DISTINCT FROM :authority
ORDER BY executors.organization, executors.name
LIMIT :limit"
);

fn read(row: &Row) -> Result<AuthorityRecord, Error> {
    mapping::authority(RowColumns::of("authority", row))
}

async fn insert(tx: &mut Tx, authority: &AuthorityRecord, events: &[Event]) -> Result<(), Failure> {
    let params = params! {
        "number": i64::from(authority.number),
        "public_key_sha256": authority.public_key_sha256,
        "certificate_pem": authority.certificate_pem.as_str(),
        "sealed_key": authority.sealed_key.as_str(),
        "create_time": authority.create_time,
        "sign_time": authority.sign_time,
        "retire_time": authority.retire_time,
    };
    if tx.connection().write(INSERT, &params).await? == 0 {
        return Err(Failure::exists("authority", authority.number));
    }
    tx.tell(events);
    Ok(())
}

async fn retire(tx: &mut Tx, number: u32, time: Timestamp, events: &[Event]) -> Result<(), Failure> {
    let params = params! { "number": i64::from(number), "time": time };
    if tx.connection().write(RETIRE, &params).await? == 0 {
        return Err(Failure::stale("authority", number));
    }
    tx.tell(events);
    Ok(())
}

#[async_trait]
impl AuthorityStore for PostgresStore {
    async fn authority_list(&self) -> Result<Vec<AuthorityRecord>, Error> {
        self.all("authority_list", LIST, &[], read).await
    }

    async fn authority_insert(&self, authority: &AuthorityRecord, events: &[Event]) -> Result<(), Error> {
        transact!(self, "authority_insert", |tx| insert(tx, authority, events)).map(|_| ())
    }

    async fn authority_retire(&self, number: u32, time: Timestamp, events: &[Event]) -> Result<(), Error> {
        transact!(self, "authority_retire", |tx| retire(tx, number, time, events)).map(|_| ())
    }

    async fn authority_reseal(&self, number: u32, from: &str, to: &str) -> Result<(), Error> {
        let params = params! { "number": i64::from(number), "before": from, "sealed_key": to };
        match self.write("authority_reseal", RESEAL, &params).await? {
            0 => Err(Error::stale("authority", number)),
            _ => Ok(()),
        }
    }

    async fn authority_uses(&self, ended_after: Timestamp) -> Result<Vec<AuthorityUse>, Error> {
        self.all("authority_uses", USES, &params! { "ended_after": ended_after }, |row| {
            mapping::authority_use(RowColumns::of("authority", row))
        })
        .await
    }

    async fn authority_dependents(
        &self,
        authority: Option<Sha256>,
        ended_after: Timestamp,
        at_most: usize,
    ) -> Result<Vec<ExecutorName>, Error> {
        let params = params! { "authority": authority, "ended_after": ended_after, "limit": limit(at_most) };
        self.all("authority_dependents", DEPENDENTS, &params, |row| {
            mapping::executor_name(RowColumns::of("executor", row))
        })
        .await
    }
}
