//! Authorities in the store: the first one, how all replicas follow them, and how a person rotates them.
//!
//! A rotation is three steps, each safe to stop after. `rotate` makes a newer one: trusted at once, and signing once every
//! replica that may admit executors has read it. The fleet renews over its open streams, and trusts both from then on. `retire`
//! ends the older: what it signed counts no more, its key is forgotten, and the fleet renews once more to forget it, too.

use std::path::Path;

use domain::audit::EventKind;
use domain::{Actor, Event, ExecutorName, Sha256, Timestamp};
use store::{AuthorityRecord, Store};
use zeroize::Zeroizing;

use crate::app::error::Error;
use crate::app::{App, Settings};
use crate::tls::authority::seal::SealingKeys;
use crate::tls::authority::shared::{Authorities, Took};
use crate::tls::authority::signer::{Pem, Signer, make};
use crate::tls::authority::standing::{Stays, may_retire, standing};
use crate::tls::authority::{self, Files, pem};
use crate::tls::files;

/// Leases that pass before a newer authority signs: one in which every replica has read it or stopped admitting, and one more
/// for what was under way.
const LEASES_BEFORE_SIGNING: u32 = 2;

/// Most executors that are named when an authority cannot be retired for them.
const NAMED: usize = 10;

/// An authority that is taken into the store.
#[derive(Debug)]
pub struct Given {
    /// Where it is from, for errors.
    pub origin: String,
    /// Its certificate first, in PEM.
    pub certificate: Vec<u8>,
    /// Its key, in PEM.
    pub key: Zeroizing<Vec<u8>>,
}

impl Given {
    /// Reads files. Blocks on the disk.
    ///
    /// # Errors
    /// The files'.
    pub fn read(from: &Files) -> Result<Self, files::Error> {
        let key = Zeroizing::new(files::read(&from.key)?);
        Ok(Self { origin: from.certificate.display().to_string(), certificate: files::read(&from.certificate)?, key })
    }

    /// Reads an own authority's file, when it is there. Blocks on the disk.
    ///
    /// # Errors
    /// The file's.
    pub fn read_own(path: &Path) -> Result<Option<Self>, files::Error> {
        let text = files::read_if_there(path)?.map(Zeroizing::new);
        Ok(text.map(|text| Self { origin: path.display().to_string(), certificate: text.to_vec(), key: text }))
    }
}

/// Why authorities in the store cannot be used or changed.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Keys and certificates.
    #[error(transparent)]
    Authority(#[from] authority::Error),
    /// Executors are there, and whoever signed for them is not.
    #[error(
        "the store holds {0} executor(s) and no authority: give the one that signed for them (authority-certificate and authority-key, or authority.pem in the data directory); a new one would turn all of them away"
    )]
    Orphans(u64),
    /// The authority is in files.
    #[error(
        "the authority is in files: a rotation needs it in the store, with --authority-encryption-key-file (docs/operate/authority.md)"
    )]
    InFiles,
    /// It is the same key again.
    #[error("that authority is in the store already, as number {0}")]
    Known(u32),
    /// A rotation is under way.
    #[error("authority {0} was made and does not sign yet; wait until it does, or retire it")]
    UnderWay(u32),
    /// It cannot be retired.
    #[error(transparent)]
    Stays(#[from] Stays),
    /// Executors would be lost.
    #[error(
        "{executors} executor(s) hold a certificate of authority {number}, and would have to enroll again: {}; wait until they have renewed, delete those that are gone, or say --force",
        names(.first, *.executors)
    )]
    Needed {
        /// Which authority.
        number: u32,
        /// How many.
        executors: u64,
        /// The first of them.
        first: Vec<ExecutorName>,
    },
}

impl AuthorityError {
    /// Whether what was configured does not fit what the store holds.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        matches!(self, Self::Orphans(_) | Self::InFiles | Self::Authority(authority::Error::Sealed(_)))
    }
}

/// What becomes of executors that hold a certificate of a retired authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependents {
    /// It is not retired while there are any.
    Keep,
    /// They have to enroll again.
    Lose,
}

/// An authority as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// As the store has it.
    pub record: AuthorityRecord,
    /// Whether it signs executor certificates now.
    pub signs_executors: bool,
    /// Whether it signs what servers show now.
    pub signs_servers: bool,
    /// Executors whose certificate in hand it signed.
    pub executors: u64,
}

/// Takes or makes the first authority, where the store holds none.
///
/// # Errors
/// See [`AuthorityError`].
pub async fn open(
    store: &dyn Store,
    keys: SealingKeys,
    first: Option<Given>,
    trust_domain: &str,
    settings: &Settings,
) -> Result<Authorities, AuthorityError> {
    let now = store.store_now().await?;
    let mut records = store.authority_list().await?;
    if let (Some(given), false) = (&first, records.is_empty()) {
        warn_of_another(given, &records);
    }
    if records.is_empty() {
        let uses = store.authority_uses(now.minus(settings.late_renewal)).await?;
        let orphans: u64 = uses.iter().map(|used| used.executors).sum();
        if first.is_none() && orphans > 0 {
            return Err(AuthorityError::Orphans(orphans));
        }
        let record = record(1, first, &keys, (now, now))?;
        match store.authority_insert(&record, &[told(EventKind::AuthorityCreated, &record, now)]).await {
            // Another replica came first.
            Ok(()) | Err(store::Error::Exists { .. }) => records = store.authority_list().await?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Authorities::of_store(keys, trust_domain, settings.replica_lease, &records, now)?)
}

/// Files are taken in once. One that was never in the store is not what signs, and somebody may think so.
fn warn_of_another(given: &Given, records: &[AuthorityRecord]) {
    let text = |text| Pem { origin: &given.origin, text };
    let signer = Signer::read(text(&given.certificate), text(&given.key));
    let known =
        signer.is_ok_and(|signer| records.iter().any(|record| record.public_key_sha256 == signer.public_key_sha256()));
    if !known {
        tracing::warn!(
            file = given.origin,
            "this authority is not used: the store has others; `authority rotate --certificate` takes it in"
        );
    }
}

/// What is written of an authority that is given, or made anew.
fn record(
    number: u32,
    given: Option<Given>,
    keys: &SealingKeys,
    (create_time, sign_time): (Timestamp, Timestamp),
) -> Result<AuthorityRecord, AuthorityError> {
    let given = match given {
        Some(given) => given,
        None => {
            let text = make(create_time)?;
            Given { origin: "the new authority".to_owned(), certificate: text.to_vec(), key: text }
        }
    };
    let text = |text| Pem { origin: &given.origin, text };
    let signer = Signer::read(text(&given.certificate), text(&given.key))?;
    let public_key_sha256 = signer.public_key_sha256();
    let sealed_key = keys.seal(public_key_sha256, &given.key).map_err(authority::Error::from)?;
    let certificate_pem = pem("CERTIFICATE", signer.certificate());
    Ok(AuthorityRecord {
        number,
        public_key_sha256,
        certificate_pem,
        sealed_key,
        create_time,
        sign_time,
        retire_time: None,
    })
}

fn told(kind: EventKind, record: &AuthorityRecord, time: Timestamp) -> Event {
    Event {
        kind,
        actor: Actor::Console,
        target: format!("authorities/{}", record.number),
        organization: None,
        time,
        details: vec![("public_key_sha256", record.public_key_sha256.to_string())],
    }
}

fn names(first: &[ExecutorName], executors: u64) -> String {
    let mut names: Vec<String> = first.iter().map(ToString::to_string).collect();
    let left = executors.saturating_sub(u64::try_from(first.len()).unwrap_or(u64::MAX));
    if left > 0 {
        names.push(format!("and {left} more"));
    }
    names.join(", ")
}

impl App {
    /// Follows the store's authorities. Part of each renewal of the lease: a replica that admits executors has read them.
    ///
    /// # Errors
    /// The store's, or an authority that cannot be opened.
    pub(crate) async fn authority_follow(&self) -> Result<(), Error> {
        if self.authorities.keys().is_none() {
            return Ok(());
        }
        let records = self.store.authority_list().await?;
        let took = self.authorities.take(&records, self.now().await?);
        let took =
            took.map_err(|error| Error::Internal { operation: "follow the authorities", source: error.into() })?;
        if took == Took::Changed {
            tracing::info!("other authorities sign or are trusted from now on");
        }
        Ok(())
    }

    /// Every authority, and who depends on it. Walks the fleet.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub async fn authority_list(&self) -> Result<Vec<Listed>, AuthorityError> {
        self.authority_keys()?;
        let now = self.store.store_now().await?;
        let records = self.store.authority_list().await?;
        let uses = self.store.authority_uses(now.minus(self.settings.late_renewal)).await?;
        let standing = standing(&records, self.settings.replica_lease, now).ok_or(authority::Error::NoneTrusted)?;
        let listed = records.iter().map(|record| Listed {
            signs_executors: standing.executors == record.number,
            signs_servers: standing.servers == record.number,
            executors: uses.iter().filter(|used| is_of(used.authority, record)).map(|used| used.executors).sum(),
            record: record.clone(),
        });
        Ok(listed.collect())
    }

    /// Begins a rotation: a newer authority, made or given.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub async fn authority_rotate(&self, given: Option<Given>) -> Result<AuthorityRecord, AuthorityError> {
        let keys = self.authority_keys()?;
        let now = self.store.store_now().await?;
        let records = self.store.authority_list().await?;
        let waiting = |record: &&AuthorityRecord| record.retire_time.is_none() && record.sign_time > now;
        if let Some(waiting) = records.iter().find(waiting) {
            return Err(AuthorityError::UnderWay(waiting.number));
        }
        let number = records.last().map_or(1, |last| last.number + 1);
        let sign_time = now.plus(self.settings.replica_lease * LEASES_BEFORE_SIGNING);
        let record = record(number, given, keys, (now, sign_time))?;
        if let Some(known) = records.iter().find(|known| known.public_key_sha256 == record.public_key_sha256) {
            return Err(AuthorityError::Known(known.number));
        }
        self.store.authority_insert(&record, &[told(EventKind::AuthorityCreated, &record, now)]).await?;
        Ok(record)
    }

    /// Ends a rotation: the authority is trusted no more.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub async fn authority_retire(&self, number: u32, dependents: Dependents) -> Result<u64, AuthorityError> {
        self.authority_keys()?;
        let now = self.store.store_now().await?;
        let records = self.store.authority_list().await?;
        may_retire(&records, number, now)?;
        let record = records.iter().find(|record| record.number == number).ok_or(Stays::Unknown(number))?;
        let ended_after = now.minus(self.settings.late_renewal);
        let uses = self.store.authority_uses(ended_after).await?;
        let of_it: Vec<_> = uses.iter().filter(|used| is_of(used.authority, record)).collect();
        let executors: u64 = of_it.iter().map(|used| used.executors).sum();
        if executors > 0 && dependents == Dependents::Keep {
            let mut first = Vec::new();
            for used in of_it {
                first.extend(self.store.authority_dependents(used.authority, ended_after, NAMED).await?);
            }
            first.truncate(NAMED);
            return Err(AuthorityError::Needed { number, executors, first });
        }
        let mut event = told(EventKind::AuthorityRetired, record, now);
        event.details.push(("executors_lost", executors.to_string()));
        self.store.authority_retire(number, now, &[event]).await?;
        Ok(executors)
    }

    /// Seals every key with the first encryption key that was given; how many were sealed with another.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub async fn authority_reseal(&self) -> Result<usize, AuthorityError> {
        let keys = self.authority_keys()?;
        let mut n_sealed = 0;
        for record in self.store.authority_list().await? {
            if record.retire_time.is_some() || keys.is_current(&record.sealed_key) {
                continue;
            }
            let id = record.public_key_sha256;
            let key = keys.open(record.number, id, &record.sealed_key).map_err(authority::Error::from)?;
            let sealed = keys.seal(id, &key).map_err(authority::Error::from)?;
            self.store.authority_reseal(record.number, &record.sealed_key, &sealed).await?;
            n_sealed += 1;
        }
        Ok(n_sealed)
    }

    fn authority_keys(&self) -> Result<&SealingKeys, AuthorityError> {
        self.authorities.keys().ok_or(AuthorityError::InFiles)
    }
}

/// Whether certificates that name `authority` are this one's. Those that name none are older than the second one.
fn is_of(authority: Option<Sha256>, record: &AuthorityRecord) -> bool {
    authority.map_or(record.number == 1, |authority| authority == record.public_key_sha256)
}
