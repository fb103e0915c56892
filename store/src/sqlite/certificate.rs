//! Executor certificates.

use async_trait::async_trait;
use domain::{Event, ExecutorUid, JoinTokenId, Sha256, Timestamp};
use rusqlite::{Connection, Row, named_params};

use super::failure::{Failure, is_dangling, is_duplicate};
use super::row::{RowColumns, all, first, keys, micros, write};
use super::{SqliteStore, enrolment, event, executor};
use crate::certificate::{CertificateRecord, CertificateStore, Enrolled, EnrolmentCommit, Restore};
use crate::column::limit;
use crate::error::Error;
use crate::mapping;

const INSERT: &str = "
INSERT INTO certificates (
    fingerprint, serial, executor, authority, public_key_sha256, join_token, chain_pem, not_before, not_after,
    use_time, revoke_time
)
VALUES (
    :fingerprint, :serial, :executor, :authority, :public_key_sha256, :join_token, :chain_pem, :not_before, :not_after,
    :use_time, :revoke_time
)";

const GET: &str = "
SELECT fingerprint, serial, executor, authority, public_key_sha256, join_token, chain_pem, not_before, not_after,
    use_time, revoke_time
FROM certificates
WHERE fingerprint = :fingerprint";

const FIND_ENROLMENT: &str = "
SELECT certificates.fingerprint, certificates.serial, certificates.executor, certificates.authority,
    certificates.public_key_sha256, certificates.join_token, certificates.chain_pem, certificates.not_before,
    certificates.not_after, certificates.use_time, certificates.revoke_time
FROM certificates
JOIN executors ON executors.uid = certificates.executor
WHERE certificates.join_token = :join_token
AND certificates.public_key_sha256 = :public_key_sha256
AND executors.delete_time IS NULL
ORDER BY certificates.not_after DESC
LIMIT 1";

const REVOKE_ALL: &str = "
UPDATE certificates
SET revoke_time = :time
WHERE executor = :executor
AND revoke_time IS NULL";

const NOTE_USED: &str = "
UPDATE certificates
SET use_time = :time
WHERE fingerprint IN (SELECT value FROM json_each(:fingerprints))
AND use_time IS NULL";

const NOTE_RESTORE: &str = "
INSERT INTO restores (
    time, known_until
)
VALUES (
    :time, coalesce((SELECT max(not_before) FROM certificates), :time)
)
ON CONFLICT DO NOTHING";

const RESTORES: &str = "
SELECT time, known_until
FROM restores
ORDER BY time";

const PRUNE: &str = "
DELETE FROM certificates
WHERE fingerprint IN (
    SELECT fingerprint
    FROM certificates
    WHERE not_after < :ended_before
    ORDER BY not_after
    LIMIT :limit
)";

fn read(row: &Row<'_>) -> Result<CertificateRecord, Failure> {
    Ok(mapping::certificate(RowColumns::of("certificate", row))?)
}

/// Writes a new certificate.
pub(super) fn insert(connection: &Connection, certificate: &CertificateRecord) -> Result<(), Failure> {
    let params = named_params! {
        ":fingerprint": certificate.fingerprint.to_string(),
        ":serial": certificate.serial,
        ":executor": certificate.executor.to_string(),
        ":authority": certificate.authority.map(|authority| authority.to_string()),
        ":public_key_sha256": certificate.public_key_sha256.to_string(),
        ":join_token": certificate.join_token.as_ref().map(JoinTokenId::as_str),
        ":chain_pem": certificate.chain_pem,
        ":not_before": certificate.not_before.as_micros(),
        ":not_after": certificate.not_after.as_micros(),
        ":use_time": micros(certificate.use_time),
        ":revoke_time": micros(certificate.revoke_time),
    };
    match write(connection, INSERT, params) {
        Ok(_) => Ok(()),
        Err(error) if is_duplicate(&error) => Err(Failure::exists("certificate", certificate.fingerprint)),
        Err(error) if is_dangling(&error) => Err(Failure::missing("executor", certificate.executor)),
        Err(error) => Err(Failure::Engine(error)),
    }
}

/// Revokes what an executor holds.
pub(super) fn revoke_all(connection: &Connection, executor: ExecutorUid, time: Timestamp) -> Result<(), Failure> {
    let params = named_params! { ":executor": executor.to_string(), ":time": time.as_micros() };
    write(connection, REVOKE_ALL, params)?;
    Ok(())
}

fn find_enrolment(
    connection: &Connection,
    join_token: &JoinTokenId,
    public_key_sha256: &Sha256,
) -> Result<Option<Enrolled>, Failure> {
    let params = named_params! {
        ":join_token": join_token.as_str(),
        ":public_key_sha256": public_key_sha256.to_string(),
    };
    let Some(certificate) = first(connection, FIND_ENROLMENT, params, read)? else {
        return Ok(None);
    };
    let executor = executor::list_by_uid(connection, &[certificate.executor])?.pop();
    Ok(executor.map(|executor| Enrolled { executor, certificate }))
}

#[async_trait]
impl CertificateStore for SqliteStore {
    async fn enrolment_commit(&self, commit: EnrolmentCommit) -> Result<(), Error> {
        self.write("enrolment_commit", move |tx| enrolment::commit_in_tx(tx, &commit)).await
    }

    async fn enrolment_find(
        &self,
        join_token: &JoinTokenId,
        public_key_sha256: &Sha256,
    ) -> Result<Option<Enrolled>, Error> {
        let (join_token, public_key_sha256) = (join_token.clone(), *public_key_sha256);
        self.read("enrolment_find", move |connection| find_enrolment(connection, &join_token, &public_key_sha256)).await
    }

    async fn certificate_insert(&self, certificate: &CertificateRecord, events: &[Event]) -> Result<(), Error> {
        let (certificate, events) = (certificate.clone(), events.to_vec());
        self.write("certificate_insert", move |tx| {
            executor::require(tx.connection(), certificate.executor)?;
            insert(tx.connection(), &certificate)?;
            event::insert_in_tx(tx, &events)
        })
        .await
    }

    async fn certificate_get(&self, fingerprint: &Sha256) -> Result<Option<CertificateRecord>, Error> {
        let fingerprint = fingerprint.to_string();
        self.read("certificate_get", move |connection| {
            first(connection, GET, named_params! { ":fingerprint": fingerprint }, read)
        })
        .await
    }

    async fn certificate_note_used(&self, fingerprints: &[Sha256], time: Timestamp) -> Result<(), Error> {
        let fingerprints = keys(fingerprints);
        self.write("certificate_note_used", move |tx| {
            let params = named_params! { ":fingerprints": fingerprints, ":time": time.as_micros() };
            write(tx.connection(), NOTE_USED, params)?;
            Ok(())
        })
        .await
    }

    async fn restore_note(&self, time: Timestamp) -> Result<(), Error> {
        self.write("restore_note", move |tx| {
            write(tx.connection(), NOTE_RESTORE, named_params! { ":time": time.as_micros() })?;
            Ok(())
        })
        .await
    }

    async fn restore_list(&self) -> Result<Vec<Restore>, Error> {
        self.read("restore_list", |connection| {
            all(connection, RESTORES, [], |row| Ok(mapping::restore(RowColumns::of("restore", row))?))
        })
        .await
    }

    async fn certificate_prune(&self, ended_before: Timestamp, at_most: usize) -> Result<usize, Error> {
        self.write("certificate_prune", move |tx| {
            let params = named_params! { ":ended_before": ended_before.as_micros(), ":limit": limit(at_most) };
            Ok(write(tx.connection(), PRUNE, params)?)
        })
        .await
    }
}
