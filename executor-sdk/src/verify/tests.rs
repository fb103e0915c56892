//! Attacks on signatures and bytes, by name. Nothing is accepted, and the code says what it was.

use std::io::Write as _;
use std::process::Command;

use domain::manifest::Subject;
use domain::{AgentUpgradeSpec, Channel, Kind, Sha256, Version};
use minisign::KeyPair;

use super::*;

const BINARY: &[u8] = b"\x7fELF the new version";

fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

fn sha256(bytes: &[u8]) -> Sha256 {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    Sha256::from_slice(digest.as_ref()).expect("32 bytes")
}

fn manifest() -> Manifest {
    Manifest {
        version: version("1.2.0"),
        channel: Channel::Stable,
        subject: Subject::Agent {
            platform: "linux/amd64".parse().expect("a platform"),
            file: "novacula-agent".to_owned(),
            size: u64::try_from(BINARY.len()).expect("small"),
            sha256: sha256(BINARY),
        },
        sequence: 7,
        floor: version("1.0.0"),
    }
}

fn pair() -> KeyPair {
    KeyPair::generate_unencrypted_keypair().expect("a pair")
}

fn trusting(pairs: &[&KeyPair]) -> ReleaseKeys {
    let text: String = pairs.iter().map(|pair| pair.pk.to_box().expect("a box").to_string() + "\n").collect();
    ReleaseKeys::parse(&text).expect("keys")
}

fn sign(pair: &KeyPair, bytes: &[u8], comment: &str) -> String {
    minisign::sign(Some(&pair.pk), &pair.sk, bytes, Some(comment), None).expect("signs").to_string()
}

fn good(pair: &KeyPair) -> String {
    sign(pair, BINARY, &manifest().to_string())
}

fn spec(signatures: Vec<String>) -> Spec {
    Spec::Agent(AgentUpgradeSpec {
        download_uri: "/artifacts/x".to_owned(),
        size_bytes: u64::try_from(BINARY.len()).expect("small"),
        sha256: sha256(BINARY),
        minisign_signatures: signatures,
        target_version: version("1.2.0"),
    })
}

/// What an executor of 1.1.0 on linux/amd64 says to the spec, changed by `change`.
fn judged(keys: &ReleaseKeys, spec: &Spec, change: impl FnOnce(&mut Host)) -> Result<Proven, ErrorCode> {
    let mut host = Host { kind: Kind::Agent, platform: "linux/amd64", running: version("1.1.0"), floor: None };
    change(&mut host);
    let platform = host.platform.parse().expect("a platform");
    let expected = Expectation {
        kind: host.kind,
        platform: Some(&platform),
        running: &host.running,
        target: spec.target_version(),
        floor: host.floor.as_ref(),
        channel_ceiling: None,
    };
    prove_spec(keys, spec, &expected).map_err(|failure| {
        assert_eq!(failure.outcome, domain::attempt::Outcome::Refused);
        failure.code
    })
}

struct Host {
    kind: Kind,
    platform: &'static str,
    running: Version,
    floor: Option<Version>,
}

fn refused(keys: &ReleaseKeys, signatures: Vec<String>) -> ErrorCode {
    judged(keys, &spec(signatures), |_| {}).expect_err("refused")
}

fn bytes(proven: &Proven, bytes: &[u8]) -> Result<(), ErrorCode> {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("writes");
    check_file(proven, &mut file).map_err(|error| error.code())
}

#[test]
fn what_was_signed_is_accepted_before_and_after_the_bytes() {
    let pair = pair();
    let proven = judged(&trusting(&[&pair]), &spec(vec![good(&pair)]), |_| {}).expect("accepted");
    assert_eq!(proven.manifest(), &manifest());
    assert_eq!(bytes(&proven, BINARY), Ok(()));
}

#[test]
fn wrong_key() {
    let (ours, theirs) = (pair(), pair());
    assert_eq!(refused(&trusting(&[&ours]), vec![good(&theirs)]), ErrorCode::UnknownKey);
}

#[test]
fn wrong_key_under_the_id_of_a_trusted_one() {
    let (ours, theirs) = (pair(), pair());
    let id = |text: &str| BASE64_STANDARD.decode(text.lines().nth(1).expect("a line")).expect("base64");
    let mut forged = id(&good(&theirs));
    forged[2..10].copy_from_slice(&id(&good(&ours))[2..10]);
    let text = replace_line(&good(&theirs), 1, &BASE64_STANDARD.encode(forged));
    assert_eq!(refused(&trusting(&[&ours]), vec![text]), ErrorCode::BadSignature);
}

#[test]
fn unknown_key_beside_a_known_one_is_passed_over() {
    let (ours, theirs) = (pair(), pair());
    for signatures in
        [vec![good(&theirs), good(&ours)], vec![good(&ours), good(&theirs)], vec!["nonsense".to_owned(), good(&ours)]]
    {
        assert!(judged(&trusting(&[&ours]), &spec(signatures), |_| {}).is_ok());
    }
}

#[test]
fn two_signatures_in_one_file() {
    let (first, second) = (pair(), pair());
    let keys = trusting(&[&first, &second]);
    assert_eq!(refused(&keys, vec![good(&first) + &good(&second)]), ErrorCode::BadSignature);
    assert_eq!(refused(&keys, vec![good(&first) + "\n"]), ErrorCode::BadSignature, "text after the fourth line");
    assert_eq!(refused(&keys, vec![good(&first).replace('\n', "\r\n")]), ErrorCode::BadSignature, "CRLF");
}

#[test]
fn swapped_trusted_comment() {
    let pair = pair();
    let text = good(&pair).replace("version=1.2.0", "version=1.3.0");
    assert_eq!(refused(&trusting(&[&pair]), vec![text]), ErrorCode::BadSignature);
}

#[test]
fn empty_trusted_comment() {
    let pair = pair();
    assert_eq!(refused(&trusting(&[&pair]), vec![sign(&pair, BINARY, "")]), ErrorCode::BadManifest);
}

#[test]
fn trusted_comment_that_is_no_manifest() {
    let pair = pair();
    for comment in ["timestamp:1 file:x hashed", "novacula-manifest/2 kind=agent", &format!("{} ", manifest())] {
        assert_eq!(
            refused(&trusting(&[&pair]), vec![sign(&pair, BINARY, comment)]),
            ErrorCode::BadManifest,
            "{comment}"
        );
    }
}

#[test]
fn legacy_signature_also_when_relabelled() {
    let pair = pair();
    let keys = trusting(&[&pair]);
    let relabel = |text: &str, algorithm: &[u8]| {
        let mut signature = BASE64_STANDARD.decode(text.lines().nth(1).expect("a line")).expect("base64");
        signature[..2].copy_from_slice(algorithm);
        replace_line(text, 1, &BASE64_STANDARD.encode(signature))
    };
    assert_eq!(refused(&keys, vec![relabel(&good(&pair), b"Ed")]), ErrorCode::LegacySignature);
    assert_eq!(refused(&keys, vec![relabel(&good(&pair), b"XX")]), ErrorCode::BadSignature);
}

#[test]
fn no_signature_and_nonsense() {
    let keys = trusting(&[&pair()]);
    assert_eq!(refused(&keys, vec![]), ErrorCode::BadSignature);
    for nonsense in
        ["", "\n\n\n", "a\nb\nc\nd", &"x".repeat(1 << 20), "untrusted comment: x\né\ntrusted comment: é\né\n"]
    {
        assert_eq!(refused(&keys, vec![nonsense.to_owned()]), ErrorCode::BadSignature, "{nonsense:.20}");
    }
}

#[test]
fn other_kinds_artifact() {
    let pair = pair();
    let code = judged(&trusting(&[&pair]), &spec(vec![good(&pair)]), |host| host.kind = Kind::Operator);
    assert_eq!(code.expect_err("refused"), ErrorCode::KindMismatch);
}

#[test]
fn other_platform() {
    let pair = pair();
    let code = judged(&trusting(&[&pair]), &spec(vec![good(&pair)]), |host| host.platform = "linux/arm64");
    assert_eq!(code.expect_err("refused"), ErrorCode::PlatformMismatch);
}

#[test]
fn older_release_under_a_newer_version() {
    let pair = pair();
    let older = Manifest { version: version("1.0.5"), ..manifest() };
    assert_eq!(
        refused(&trusting(&[&pair]), vec![sign(&pair, BINARY, &older.to_string())]),
        ErrorCode::ManifestMismatch
    );
}

#[test]
fn release_below_the_floor() {
    let pair = pair();
    let code = judged(&trusting(&[&pair]), &spec(vec![good(&pair)]), |host| host.floor = Some(version("1.2.1")));
    assert_eq!(code.expect_err("refused"), ErrorCode::BelowFloor);
}

#[test]
fn bytes_truncated_too_large_flipped_or_never_signed() {
    let pair = pair();
    let keys = trusting(&[&pair]);
    let proven = prove(&keys, &good(&pair)).expect("proven");
    assert_eq!(bytes(&proven, &BINARY[1..]), Err(ErrorCode::Truncated));
    assert_eq!(bytes(&proven, b""), Err(ErrorCode::Truncated));
    assert_eq!(bytes(&proven, &[BINARY, b"x"].concat()), Err(ErrorCode::TooLarge));
    let mut flipped = BINARY.to_vec();
    flipped[9] ^= 1;
    assert_eq!(bytes(&proven, &flipped), Err(ErrorCode::DigestMismatch));
    // The manifest is genuine and says what the bytes are, but the signature is over other bytes.
    let elsewhere = prove(&keys, &sign(&pair, b"other bytes", &manifest().to_string())).expect("proven");
    assert_eq!(bytes(&elsewhere, BINARY), Err(ErrorCode::BadSignature));
}

#[test]
fn the_c_tools_signatures_are_accepted_and_its_legacy_ones_refused() {
    if Command::new("minisign").arg("-v").output().is_err() {
        eprintln!("ignored: needs `minisign`: install minisign");
        assert!(std::env::var("NOVACULA_REQUIRE").as_deref() != Ok("all"), "needs `minisign`: install minisign");
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let pair = pair();
    std::fs::write(home.path().join("release.key"), pair.sk.to_box(None).expect("a box").to_string()).expect("writes");
    std::fs::write(home.path().join("agent"), BINARY).expect("writes");
    let run = |arguments: &[&str]| {
        let mut command = Command::new("minisign");
        command.current_dir(home.path()).args(["-S", "-s", "release.key", "-m", "agent", "-x", "agent.minisig", "-t"]);
        let output = command.arg(manifest().to_string()).args(arguments).output().expect("runs");
        assert!(output.status.success(), "{output:?}");
        std::fs::read_to_string(home.path().join("agent.minisig")).expect("a signature")
    };
    let keys = trusting(&[&pair]);
    let proven = prove(&keys, &run(&[])).expect("proven");
    assert_eq!(bytes(&proven, BINARY), Ok(()));
    let legacy = run(&["-l"]);
    assert_eq!(prove(&keys, &legacy).expect_err("refused"), Error::Legacy);
    // Relabelled it passes as a manifest, and its bytes never verify.
    let mut signature = BASE64_STANDARD.decode(legacy.lines().nth(1).expect("a line")).expect("base64");
    signature[1] = b'D';
    let relabelled = prove(&keys, &replace_line(&legacy, 1, &BASE64_STANDARD.encode(signature))).expect("proven");
    assert_eq!(bytes(&relabelled, BINARY), Err(ErrorCode::BadSignature));
}

fn replace_line(text: &str, at: usize, with: &str) -> String {
    text.lines().enumerate().map(|(n, line)| if n == at { with } else { line }.to_owned() + "\n").collect()
}

proptest::proptest! {
    #[test]
    fn no_edit_of_a_signature_file_is_accepted_or_panics(at in 0usize..400, with in proptest::prelude::any::<char>()) {
        let pair = pair();
        let text = good(&pair);
        let mut edited: Vec<char> = text.chars().collect();
        let at = at % edited.len();
        edited[at] = with;
        let edited: String = edited.into_iter().collect();
        // Only the untrusted comment may say what it likes.
        let untrusted = text.find('\n').expect("lines");
        if edited != text && at > untrusted {
            proptest::prop_assert!(prove(&trusting(&[&pair]), &edited).is_err() || edited.trim_end() == text.trim_end());
        }
    }
}
