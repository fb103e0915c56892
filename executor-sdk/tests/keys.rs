//! A request for a certificate that is cut off at every fault point of its two writes, on a disk that kept everything and on one that
//! kept what was synced: the executor has a pair that fits, and whatever key it has named to the control plane it names again.
//!
//! The child is this very program, told by an environment variable in which directory to ask. The control plane is a file that
//! notes the last key that was named; it answers whoever asks.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};
use novacula_executor_sdk::credentials::{CredentialStore, Credentials, Error, Identity, PendingKey};
use novacula_executor_sdk::fault::{DISK_CREATED, DISK_RENAMED, DISK_SYNCED, DISK_WRITTEN};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// The directory in which the child asks.
const TASK: &str = "NOVACULA_KEYS_TASK";

const KEPT: &str = "credentials.json";
const PENDING: &str = "pending-key.pem";

/// What the control plane has seen, beside the state.
const NAMED: &str = "named";

const POINTS: [&str; 4] = [DISK_CREATED, DISK_WRITTEN, DISK_SYNCED, DISK_RENAMED];

/// The write of the key, and that of the credentials.
const WRITES: [usize; 2] = [1, 2];

fn main() -> ExitCode {
    if let Some(directory) = std::env::var_os(TASK) {
        return ask(Path::new(&directory)).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    let mut trials = Vec::new();
    for (scene, enrolled) in [("enrolment", false), ("renewal", true)] {
        for point in POINTS {
            for write in WRITES {
                let name = format!("{scene}_cut_off_at_{}_{write}", point.replace('-', "_"));
                trials.push(Trial::test(name, move || cut_off(enrolled, point, write)));
            }
        }
    }
    trials.push(Trial::test("no_request_names_a_key_that_may_be_gone", not_before_it_lasts));
    trials.push(Trial::test("a_key_whose_removal_was_lost_is_used_once_more", removal_lost));
    trials.push(Trial::test("what_is_kept_of_another_request_stays", stays));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// As enrolment and renewal do it: the key, the request, the certificate.
fn ask(directory: &Path) -> Result<(), Error> {
    let store = CredentialStore::new(&directory.join("state"));
    let key = store.pending_key()?;
    fs::write(directory.join(NAMED), key.pem()).expect("the control plane listens");
    store.save(&certified(&key)?)
}

/// A certificate for this key, by an authority that is made for it.
fn certified(key: &PendingKey) -> Result<Credentials, Error> {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)?;
    let chain = CertificateParams::default().signed_by(&KeyPair::from_pem(key.pem())?, &authority)?.pem();
    let identity = Identity {
        uid: "7b1f1f4e-29a6-4b61-8f3a-5a1c0e9d7c01".parse().expect("a uid"),
        executor: "organizations/acme/executors/web-1".parse().expect("a name"),
        endpoints: vec!["localhost:7444".parse().expect("an endpoint")],
    };
    Credentials::new(identity, key, chain, authority.pem())
}

/// A directory with an executor that is enrolled, or not.
fn host(enrolled: bool) -> Result<tempfile::TempDir, Failed> {
    let host = tempfile::tempdir()?;
    fs::create_dir(host.path().join("state"))?;
    if enrolled {
        ask(host.path())?;
        fs::remove_file(host.path().join(NAMED))?;
    }
    Ok(host)
}

/// Asks in a process of its own, which is killed at this passage of a fault point.
fn killed_at(host: &Path, passage: &str) -> Result<(), Failed> {
    let mut child = Command::new(std::env::current_exe()?);
    let status = child.env(TASK, host).env("NOVACULA_FAULT_POINT", passage).status()?;
    if status.code().is_some() { Err(format!("{passage} was not reached: {status}").into()) } else { Ok(()) }
}

fn named(host: &Path) -> Option<String> {
    fs::read_to_string(host.join(NAMED)).ok()
}

fn cut_off(enrolled: bool, point: &str, write: usize) -> Result<(), Failed> {
    // A power cut takes back what was not synced: the rename that the process came to, and no sync.
    for power_cut in [false, true] {
        let host = host(enrolled)?;
        let state = host.path().join("state");
        let before = fs::read(state.join(KEPT)).ok();
        killed_at(host.path(), &format!("{point}:{write}"))?;
        if power_cut && point == DISK_RENAMED {
            take_back(&state, write, before.as_deref())?;
        }
        let store = CredentialStore::new(&state);
        let kept = match store.load() {
            Ok(kept) => Some(kept),
            Err(Error::NotEnrolled { .. }) => None,
            Err(error) => return Err(format!("{point}:{write}: {error}").into()),
        };
        assert!(kept.is_some() || !enrolled, "what was kept is gone");
        let before = named(host.path());
        assert_eq!(before.is_some(), write == 2, "the request comes between the two writes");
        if let Some(key) = before.clone().and_then(|pem| PendingKey::parse(pem.into())) {
            let arrived = point == DISK_RENAMED && !power_cut;
            assert_eq!(kept.is_some_and(|kept| kept.holds(&key)), arrived);
        }
        ask(host.path())?;
        assert!(before.is_none() || before == named(host.path()), "a key that was named is named again");
        assert!(store.load().is_ok() && !state.join(PENDING).exists(), "the next try ends it");
    }
    Ok(())
}

/// The rename of one of the writes never reached the disk.
fn take_back(state: &Path, write: usize, before: Option<&[u8]>) -> Result<(), Failed> {
    match (write, before) {
        (1, _) => fs::remove_file(state.join(PENDING))?,
        (_, Some(before)) => fs::write(state.join(KEPT), before)?,
        (_, None) => fs::remove_file(state.join(KEPT))?,
    }
    Ok(())
}

/// A key whose last sync never came is found, and would be gone after a power cut: it is not named before it was synced.
fn not_before_it_lasts() -> Result<(), Failed> {
    let host = host(false)?;
    for _ in 0..2 {
        killed_at(host.path(), DISK_RENAMED)?;
        assert!(host.path().join("state").join(PENDING).exists(), "found by whoever looks");
        assert_eq!(named(host.path()), None, "and told to nobody");
    }
    Ok(())
}

/// Nobody can tell it from a key whose certificate may not last, which has to be named again.
fn removal_lost() -> Result<(), Failed> {
    let host = host(false)?;
    let mut keys = Vec::new();
    for is_lost in [true, false, false] {
        ask(host.path())?;
        let pending = host.path().join("state").join(PENDING);
        assert!(!pending.exists());
        let key = named(host.path()).ok_or("a key")?;
        if is_lost {
            fs::write(&pending, &key)?;
        }
        keys.push(key);
    }
    assert!(keys[0] == keys[1] && keys[1] != keys[2], "one renewal keeps its key");
    Ok(())
}

/// What is kept again for another reason (where the control plane is) takes no key away whose certificate is on its way.
fn stays() -> Result<(), Failed> {
    let host = host(true)?;
    let store = CredentialStore::new(&host.path().join("state"));
    let key = store.pending_key()?;
    let mut moved = store.load()?;
    assert!(moved.move_to(&"control.example.com:7444".parse()?));
    store.save(&moved)?;
    assert_eq!(store.pending_key()?.pem(), key.pem());
    store.save(&certified(&key)?)?;
    assert_ne!(store.pending_key()?.pem(), key.pem());
    Ok(())
}
