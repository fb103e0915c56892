//! Executor certificates.

use async_trait::async_trait;
use domain::{Event, ExecutorUid, JoinTokenId, Sha256, Timestamp};
use tokio_postgres::Row;

use super::connection::{Connection, Tx};
use super::failure::Failure;
use super::row::RowColumns;
use super::statement::params;
use super::{PostgresStore, enrolment, executor, transact};
use crate::certificate::{CertificateRecord, CertificateStore, Enrolled, EnrolmentCommit, Restore};
use crate::column::limit;
use crate::error::Error;
use crate::mapping;

const INSERT: &str = "
INSERT INTO novacula.certificates (
    fingerprint, serial, executor, authority, public_key_sha256, join_token, chain_pem, not_before, not_after,
    use_time, revoke_time
)
VALUES (
    :fingerprint, :serial, :executor, :authority, :public_key_sha256, :join_token, :chain_pem, :not_before, :not_after,
    :use_time, :revoke_time
)
ON CONFLICT DO NOTHING";

const GET: &str = "
SELECT fingerprint, serial, executor, authority, public_key_sha256, join_token, chain_pem, not_before, not_after,
    use_time, revoke_time
FROM novacula.certificates
WHERE fingerprint = :fingerprint";

const FIND_ENROLMENT: &str = "
SELECT certificates.fingerprint, certificates.serial, certificates.executor, certificates.authority,
    certificates.public_key_sha256, certificates.join_token, certificates.chain_pem, certificates.not_before,
    certificates.not_after, certificates.use_time, certificates.revoke_time
FROM novacula.certificates
JOIN novacula.executors ON executors.uid = certificates.executor
WHERE certificates.join_token = :join_token
AND certificates.public_key_sha256 = :public_key_sha256
AND executors.delete_time IS NULL
ORDER BY certificates.not_after DESC
LIMIT 1";

const REVOKE_ALL: &str = "
UPDATE novacula.certificates
SET revoke_time = :time
WHERE executor = :executor
AND revoke_time IS NULL";

const NOTE_USED: &str = "
UPDATE novacula.certificates
SET use_time = :time
WHERE fingerprint = ANY(:fingerprints)
AND use_time IS NULL";

const NOTE_RESTORE: &str = "
INSERT INTO novacula.restores (time, known_until)
SELECT :time, coalesce(max(not_before), :time)
FROM novacula.certificates
ON CONFLICT DO NOTHING";

const RESTORES: &str = "
SELECT time, known_until
FROM novacula.restores
ORDER BY time";

const PRUNE: &str = "
DELETE FROM novacula.certificates
WHERE fingerprint IN (
    SELECT fingerprint
    FROM novacula.certificates
    WHERE not_after < :ended_before
    ORDER BY not_after, fingerprint
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
)";

fn read(row: &Row) -> Result<CertificateRecord, Error> {
    mapping::certificate(RowColumns::of("certificate", row))
}

/// Writes a new certificate.
pub(super) async fn insert(connection: &Connection, certificate: &CertificateRecord) -> Result<(), Failure> {
    let params = params! {
        "fingerprint": certificate.fingerprint,
        "serial": certificate.serial.as_str(),
        "executor": certificate.executor.as_uuid(),
        "authority": certificate.authority,
        "public_key_sha256": certificate.public_key_sha256,
        "join_token": certificate.join_token.as_ref().map(JoinTokenId::as_str),
        "chain_pem": certificate.chain_pem.as_str(),
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
        "use_time": certificate.use_time,
        "revoke_time": certificate.revoke_time,
    };
    match connection.write(INSERT, &params).await {
        Ok(0) => Err(Failure::exists("certificate", certificate.fingerprint)),
        Ok(_) => Ok(()),
        Err(failure) if failure.is_dangling() => Err(Failure::missing("executor", certificate.executor)),
        Err(failure) => Err(failure),
    }
}

/// Revokes what an executor holds.
pub(super) async fn revoke_all(connection: &Connection, executor: ExecutorUid, time: Timestamp) -> Result<(), Failure> {
    let params = params! { "executor": executor.as_uuid(), "time": time };
    connection.write(REVOKE_ALL, &params).await.map(|_| ())
}

async fn renew(tx: &mut Tx, certificate: &CertificateRecord, events: &[Event]) -> Result<(), Failure> {
    executor::require(tx.connection(), certificate.executor).await?;
    insert(tx.connection(), certificate).await?;
    tx.tell(events);
    Ok(())
}

#[async_trait]
impl CertificateStore for PostgresStore {
    async fn enrolment_commit(&self, commit: EnrolmentCommit) -> Result<(), Error> {
        transact!(self, "enrolment_commit", |tx| enrolment::commit_in_tx(tx, &commit)).map(|_| ())
    }

    async fn enrolment_find(
        &self,
        join_token: &JoinTokenId,
        public_key_sha256: &Sha256,
    ) -> Result<Option<Enrolled>, Error> {
        let params = params! { "join_token": join_token.as_str(), "public_key_sha256": *public_key_sha256 };
        let Some(certificate) = self.first("enrolment_find", FIND_ENROLMENT, &params, read).await? else {
            return Ok(None);
        };
        let executor = self.executors_by_uid("enrolment_find", &[certificate.executor]).await?.pop();
        Ok(executor.map(|executor| Enrolled { executor, certificate }))
    }

    async fn certificate_insert(&self, certificate: &CertificateRecord, events: &[Event]) -> Result<(), Error> {
        transact!(self, "certificate_insert", |tx| renew(tx, certificate, events)).map(|_| ())
    }

    async fn certificate_get(&self, fingerprint: &Sha256) -> Result<Option<CertificateRecord>, Error> {
        self.first("certificate_get", GET, &params! { "fingerprint": *fingerprint }, read).await
    }

    async fn certificate_note_used(&self, fingerprints: &[Sha256], time: Timestamp) -> Result<(), Error> {
        let params = params! { "fingerprints": fingerprints.to_vec(), "time": time };
        self.write("certificate_note_used", NOTE_USED, &params).await.map(|_| ())
    }

    async fn restore_note(&self, time: Timestamp) -> Result<(), Error> {
        self.write("restore_note", NOTE_RESTORE, &params! { "time": time }).await.map(|_| ())
    }

    async fn restore_list(&self) -> Result<Vec<Restore>, Error> {
        self.all("restore_list", RESTORES, &[], |row| mapping::restore(RowColumns::of("restore", row))).await
    }

    async fn certificate_prune(&self, ended_before: Timestamp, at_most: usize) -> Result<usize, Error> {
        let params = params! { "ended_before": ended_before, "limit": limit(at_most) };
        self.prune("certificate_prune", PRUNE, &params).await
    }
}
