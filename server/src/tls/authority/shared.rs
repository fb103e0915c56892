//! The authority that the process signs with and trusts now. What comes from files stays as it was read; what comes from the store
//! follows its rows and the time, and whoever shows or judges certificates is told of a change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use domain::Timestamp;
use store::AuthorityRecord;
use tokio::sync::watch;

use super::seal::SealingKeys;
use super::signer::{Pem, Signer};
use super::standing::{Standing, standing};
use super::{Authority, Error, bundle};

/// The authority of now.
#[derive(Debug)]
pub struct Authorities {
    current: ArcSwap<Authority>,
    kept: Option<Kept>,
    changed: watch::Sender<()>,
}

/// What is known of the store's.
#[derive(Debug)]
struct Kept {
    keys: SealingKeys,
    trust_domain: String,
    /// How long a replica may go on without having read the rows.
    lease: Duration,
    built: Mutex<Built>,
}

/// What the current one was built from. A signer is opened once: a key that is sealed anew changes nothing.
#[derive(Debug)]
struct Built {
    standing: Standing,
    signers: HashMap<u32, Arc<Signer>>,
}

/// Whether something is other than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    /// Other authorities sign or are trusted.
    Changed,
    /// The same.
    Same,
}

// === impl Authorities ===

impl Authorities {
    /// One that came from files.
    #[must_use]
    pub fn of_files(authority: Authority) -> Self {
        Self { current: ArcSwap::from_pointee(authority), kept: None, changed: watch::Sender::new(()) }
    }

    /// Those in the store.
    ///
    /// # Errors
    /// None is trusted, or a key cannot be opened.
    pub fn of_store(
        keys: SealingKeys,
        trust_domain: &str,
        lease: Duration,
        records: &[AuthorityRecord],
        now: Timestamp,
    ) -> Result<Self, Error> {
        let standing = standing(records, lease, now).ok_or(Error::NoneTrusted)?;
        let signers = open(&keys, records, &standing, &HashMap::new())?;
        let authority = build(&standing, &signers, trust_domain);
        let built = Mutex::new(Built { standing, signers });
        let kept = Kept { keys, trust_domain: trust_domain.to_owned(), lease, built };
        Ok(Self { current: ArcSwap::from_pointee(authority), kept: Some(kept), changed: watch::Sender::new(()) })
    }

    /// The authority of now.
    #[must_use]
    pub fn current(&self) -> Arc<Authority> {
        self.current.load_full()
    }

    /// What opens the store's; none: the authority came from files.
    #[must_use]
    pub fn keys(&self) -> Option<&SealingKeys> {
        self.kept.as_ref().map(|kept| &kept.keys)
    }

    /// Told of each change.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Follows the store's rows.
    ///
    /// # Errors
    /// None is trusted, or a key cannot be opened; what was trusted is trusted still.
    pub fn take(&self, records: &[AuthorityRecord], now: Timestamp) -> Result<Took, Error> {
        let Some(kept) = &self.kept else {
            return Ok(Took::Same);
        };
        let standing = standing(records, kept.lease, now).ok_or(Error::NoneTrusted)?;
        let mut built = kept.built.lock().unwrap_or_else(PoisonError::into_inner);
        if built.standing == standing {
            return Ok(Took::Same);
        }
        let signers = open(&kept.keys, records, &standing, &built.signers)?;
        self.current.store(Arc::new(build(&standing, &signers, &kept.trust_domain)));
        *built = Built { standing, signers };
        self.changed.send_replace(());
        Ok(Took::Changed)
    }
}

/// The signer of each that is trusted.
fn open(
    keys: &SealingKeys,
    records: &[AuthorityRecord],
    standing: &Standing,
    known: &HashMap<u32, Arc<Signer>>,
) -> Result<HashMap<u32, Arc<Signer>>, Error> {
    let mut signers = HashMap::new();
    for record in records.iter().filter(|record| standing.trusted.contains(&record.number)) {
        let signer = match known.get(&record.number) {
            Some(signer) => Arc::clone(signer),
            None => {
                let key = keys.open(record.number, record.public_key_sha256, &record.sealed_key)?;
                let origin = format!("authority {} in the store", record.number);
                let pem = |text| Pem { origin: &origin, text };
                Arc::new(Signer::read(pem(record.certificate_pem.as_bytes()), pem(&key))?)
            }
        };
        signers.insert(record.number, signer);
    }
    Ok(signers)
}

/// `signers` holds whoever is trusted.
fn build(standing: &Standing, signers: &HashMap<u32, Arc<Signer>>, trust_domain: &str) -> Authority {
    let trusted: Vec<_> = standing.trusted.iter().map(|number| signers[number].certificate().clone()).collect();
    Authority {
        executors: Arc::clone(&signers[&standing.executors]),
        servers: Arc::clone(&signers[&standing.servers]),
        trusted_keys: standing.trusted.iter().map(|number| signers[number].public_key_sha256()).collect(),
        bundle: bundle(&trusted),
        trusted,
        unnamed: standing.unnamed,
        changed: standing.changed,
        trust_domain: trust_domain.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use store::AuthorityRecord;

    use super::super::testing::{keys, keys_of, record};
    use super::super::{certificate_of, seal, sha256};
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_795_000_000_000_000);
    const LEASE: Duration = Duration::from_secs(15);

    #[test]
    fn a_rotation_is_followed_and_told() {
        let keys = keys();
        let mut rows = vec![record(1, &keys, NOW)];
        let authorities = Authorities::of_store(keys.clone(), "novacula", LEASE, &rows, NOW).expect("built");
        let mut told = authorities.subscribe();
        let take = |rows: &[AuthorityRecord], seconds| authorities.take(rows, NOW.plus(Duration::from_secs(seconds)));
        assert_eq!(take(&rows, 5).expect("the same"), Took::Same);
        rows.push(record(2, &keys, NOW.plus(Duration::from_secs(30))));
        let (older, newer) = (rows[0].public_key_sha256, rows[1].public_key_sha256);
        assert_eq!(take(&rows, 5).expect("trusted"), Took::Changed);
        assert!(told.has_changed().expect("there"));
        told.mark_unchanged();
        let now = authorities.current();
        assert!(now.trusts(Some(older)) && now.trusts(Some(newer)) && now.trusts(None));
        assert_eq!((now.signs_executors(), now.public_key_sha256()), (older, older));
        assert_eq!(now.trust_bundle().matches("BEGIN CERTIFICATE").count(), 2);
        assert_eq!(now.stale_since(NOW), None, "nobody has reason to renew before the newer signs");
        assert_eq!(take(&rows, 30).expect("signs"), Took::Changed);
        let now = authorities.current();
        assert_eq!((now.signs_executors(), now.public_key_sha256()), (newer, older));
        assert_eq!(now.stale_since(NOW), Some(rows[1].sign_time));
        rows[0] =
            AuthorityRecord { retire_time: Some(rows[1].sign_time), sealed_key: String::new(), ..rows[0].clone() };
        assert_eq!(take(&rows, 31).expect("retired"), Took::Changed);
        let now = authorities.current();
        assert!(!now.trusts(Some(older)) && now.trusts(Some(newer)) && !now.trusts(None));
        assert_eq!((now.signs_executors(), now.public_key_sha256()), (newer, newer));
        assert_eq!(sha256(certificate_key(&now).as_slice()), newer);
    }

    fn certificate_key(authority: &Authority) -> Vec<u8> {
        let parsed = certificate_of(authority.certificate()).expect("a certificate");
        parsed.public_key().raw.to_vec()
    }

    #[test]
    fn what_cannot_be_opened_leaves_things_as_they_were() {
        let (own, foreign) = (keys(), keys_of("b"));
        let mut rows = vec![record(1, &own, NOW)];
        let authorities = Authorities::of_store(own.clone(), "novacula", LEASE, &rows, NOW).expect("built");
        rows.push(record(2, &foreign, NOW));
        let error = authorities.take(&rows, NOW).expect_err("foreign");
        assert!(matches!(error, Error::Sealed(seal::Error::Foreign { number: 2, .. })), "{error}");
        assert_eq!(authorities.current().trust_bundle().matches("BEGIN CERTIFICATE").count(), 1);
        // A key that was opened is not needed again.
        rows[1] = record(2, &own, NOW);
        rows[0].sealed_key = foreign.seal(rows[0].public_key_sha256, b"other").expect("sealed");
        assert_eq!(authorities.take(&rows, NOW).expect("followed"), Took::Changed);
        let retired: Vec<_> =
            rows.iter().map(|row| AuthorityRecord { retire_time: Some(NOW), ..row.clone() }).collect();
        assert!(matches!(authorities.take(&retired, NOW), Err(Error::NoneTrusted)));
    }
}
