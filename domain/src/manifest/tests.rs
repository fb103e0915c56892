//! The grammar is closed, one manifest has one spelling, and each rule refuses with its own code.

use proptest::prelude::*;

use super::publish::Addition;
use super::*;
use crate::attempt::ErrorCode;
use crate::id::ReleaseId;
use crate::reason::Reason;
use crate::release::{Artifact, Location, Release, Status};
use crate::spec::{AgentUpgradeSpec, Spec};
use crate::time::Timestamp;

const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn agent_line() -> String {
    format!(
        "novacula-manifest/1 kind=agent version=1.2.0 channel=beta os=linux arch=amd64 file=novacula-agent size=8120376 sha256={HASH} sequence=7 floor=1.0.0"
    )
}

fn operator_line() -> String {
    format!(
        "novacula-manifest/1 kind=operator version=1.2.0-rc.1 channel=dev image=registry.example:5000/novacula/operator digest=sha256:{HASH} sequence=7 floor=1.0.0"
    )
}

fn manifest(line: &str) -> Manifest {
    line.parse().unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

#[test]
fn what_is_read_prints_as_it_was_written() {
    for line in [agent_line(), operator_line()] {
        assert_eq!(manifest(&line).to_string(), line);
    }
}

#[test]
fn anything_but_the_grammar_is_refused() {
    let good = agent_line();
    let swap = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replace(from, to)
    };
    let bad = [
        String::new(),
        " ".to_owned() + &good,
        good.clone() + " ",
        good.clone() + "\n",
        good.clone() + " extra=1",
        good.clone() + &" ".repeat(LINE_MAX),
        swap("manifest/1", "manifest/2"),
        swap("manifest/1 ", "manifest/1\t"),
        swap(" os=", "  os="),
        swap("kind=agent", "kind=operator"),
        swap("kind=agent", "kind=Agent"),
        swap("version=1.2.0", "version=v1.2.0"),
        swap("version=1.2.0", "version=1.2.0+build"),
        swap("version=1.2.0 channel=beta", "channel=beta version=1.2.0"),
        swap("channel=beta", "channel=all"),
        swap("os=linux arch=amd64", "os=linux/amd64 arch="),
        swap("os=linux", "os=li/nux"),
        swap("arch=amd64", "arch="),
        swap("file=novacula-agent", "file=../novacula-agent"),
        swap("file=novacula-agent", "file=.novacula-agent"),
        swap("file=novacula-agent", "file=-m"),
        swap("file=novacula-agent", &format!("file={}", "a".repeat(FILE_MAX + 1))),
        swap("size=8120376", "size=0"),
        swap("size=8120376", "size=08120376"),
        swap("size=8120376", "size=+8120376"),
        swap("size=8120376", "size=18446744073709551616"),
        swap("size=8120376", "size="),
        swap(HASH, &HASH.to_uppercase()),
        swap(HASH, &HASH[1..]),
        swap("sequence=7", "sequence=-7"),
        swap(" floor=1.0.0", ""),
        swap("agent version", "agent\u{a0}version"),
    ];
    for line in bad {
        assert!(line.parse::<Manifest>().is_err(), "{line:?}");
    }
}

#[test]
fn an_image_names_its_registry_and_carries_neither_tag_nor_digest() {
    for good in ["registry.example/operator", "localhost/a/b", "10.0.0.1:5000/a_b/c-d.e", "registry:443/x"] {
        assert!(check_image(good).is_ok(), "{good}");
    }
    for bad in [
        "operator",
        "novacula/operator",
        "registry.example/",
        "registry.example/a:1.0",
        "registry.example/a@sha256",
        "Registry.example/a",
        "registry.example/A",
        "registry.example//a",
        "registry.example:/a",
        "registry.example:0/a",
        "registry.example:70000/a",
        "registry.example:+80/a",
        "-registry.example/a",
        "registry..example/a",
        "/a",
        "registry.example/-a",
        "registry.example/a..b/../c",
        &format!("registry.example/{}", "a".repeat(IMAGE_MAX)),
    ] {
        assert!(check_image(bad).is_err(), "{bad}");
    }
}

struct Host {
    kind: Kind,
    platform: Option<&'static str>,
    running: &'static str,
    target: &'static str,
    floor: Option<&'static str>,
    ceiling: Option<Channel>,
}

/// What a linux/amd64 agent 1.1.0 that was asked for 1.2.0, changed by `change`, says of the manifest.
fn judged(line: &str, change: impl FnOnce(&mut Host)) -> Option<ErrorCode> {
    let mut host = Host {
        kind: Kind::Agent,
        platform: Some("linux/amd64"),
        running: "1.1.0",
        target: "1.2.0",
        floor: None,
        ceiling: None,
    };
    change(&mut host);
    let platform = host.platform.map(|text| text.parse().expect("a platform"));
    let floor = host.floor.map(version);
    let expectation = Expectation {
        kind: host.kind,
        platform: platform.as_ref(),
        running: &version(host.running),
        target: &version(host.target),
        floor: floor.as_ref(),
        channel_ceiling: host.ceiling,
    };
    manifest(line).check(&expectation).err().map(|unfit| unfit.code)
}

#[test]
fn an_executor_refuses_what_is_not_for_it() {
    let line = agent_line();
    let code = |change: fn(&mut Host)| judged(&line, change);
    assert_eq!(code(|_| {}), None);
    assert_eq!(code(|host| host.kind = Kind::Operator), Some(ErrorCode::KindMismatch));
    assert_eq!(code(|host| host.platform = Some("linux/arm64")), Some(ErrorCode::PlatformMismatch));
    assert_eq!(code(|host| host.platform = None), Some(ErrorCode::PlatformMismatch));
    assert_eq!(
        code(|host| host.target = "1.3.0"),
        Some(ErrorCode::ManifestMismatch),
        "an older release as a newer one"
    );
}

#[test]
fn an_executor_refuses_what_is_out_of_its_reach() {
    let line = agent_line();
    let code = |change: fn(&mut Host)| judged(&line, change);
    assert_eq!(code(|host| host.running = "3.0.0"), Some(ErrorCode::MajorHop));
    assert_eq!(code(|host| host.running = "2.9.0"), None);
    assert_eq!(code(|host| host.floor = Some("1.2.1")), Some(ErrorCode::BelowFloor));
    assert_eq!(code(|host| host.floor = Some("1.2.0")), None);
    assert_eq!(code(|host| host.ceiling = Some(Channel::Stable)), Some(ErrorCode::ChannelCeiling));
    assert_eq!(code(|host| host.ceiling = Some(Channel::Beta)), None);
}

#[test]
fn a_manifest_that_contradicts_itself_is_refused() {
    let high_floor = agent_line().replace("floor=1.0.0", "floor=1.2.1");
    assert_eq!(judged(&high_floor, |_| {}), Some(ErrorCode::BadManifest));
    let stable = agent_line().replace("channel=beta", "channel=stable").replace("version=1.2.0", "version=1.2.0-rc.1");
    assert_eq!(judged(&stable, |host| host.target = "1.2.0-rc.1"), Some(ErrorCode::BadManifest));
}

fn spec(size_bytes: u64, sha256: &str) -> Spec {
    Spec::Agent(AgentUpgradeSpec {
        download_uri: format!("/artifacts/{sha256}"),
        size_bytes,
        sha256: sha256.parse().expect("a digest"),
        minisign_signatures: Vec::new(),
        target_version: version("1.2.0"),
    })
}

#[test]
fn a_spec_that_differs_from_what_was_signed_is_refused() {
    let manifest = manifest(&agent_line());
    assert_eq!(manifest.check_spec(&spec(8_120_376, HASH)), Ok(()));
    let code = |spec: &Spec| manifest.check_spec(spec).expect_err("refused").code;
    assert_eq!(code(&spec(8_120_377, HASH)), ErrorCode::ManifestMismatch);
    assert_eq!(code(&spec(8_120_376, &HASH.replace("e3", "e4"))), ErrorCode::ManifestMismatch);
}

#[test]
fn of_several_signatures_the_newest_that_fits_counts() {
    let beta = manifest(&agent_line());
    let promoted = Manifest { channel: Channel::Stable, sequence: 9, ..beta.clone() };
    let target = version("1.2.0");
    let (platform, running) = ("linux/amd64".parse().expect("a platform"), version("1.1.0"));
    let expectation = |ceiling| Expectation {
        kind: Kind::Agent,
        platform: Some(&platform),
        running: &running,
        target: &target,
        floor: None,
        channel_ceiling: ceiling,
    };
    let spec = spec(8_120_376, HASH);
    let both = [beta.clone(), promoted.clone()];
    assert_eq!(check::choose(&both, &expectation(Some(Channel::Stable)), &spec), Ok(&promoted));
    assert_eq!(check::choose(&both, &expectation(None), &spec), Ok(&promoted));
    let code = |proven: &[Manifest]| {
        check::choose(proven, &expectation(Some(Channel::Stable)), &spec).expect_err("refused").code
    };
    assert_eq!(code(&[beta]), ErrorCode::ChannelCeiling);
    assert_eq!(code(&[]), ErrorCode::UnknownKey);
}

fn release(status: Status) -> Release {
    Release {
        id: ReleaseId { kind: Kind::Agent, version: version("1.2.0") },
        revision: Default::default(),
        channel: Channel::Beta,
        status,
        notes: String::new(),
        floor: Some(version("1.0.0")),
        sequence: Some(7),
        artifacts: vec![artifact("linux/amd64")],
        create_time: Timestamp::EPOCH,
        publish_time: None,
        yank_reason: None,
    }
}

fn artifact(platform: &str) -> Artifact {
    Artifact::Agent {
        platform: platform.parse().expect("a platform"),
        file: "novacula-agent".to_owned(),
        size: 8_120_376,
        sha256: HASH.parse().expect("a digest"),
        location: Location::Stored,
        signatures: Vec::new(),
    }
}

#[test]
fn a_manifest_has_to_speak_of_this_release_and_artifact() {
    let release = release(Status::Draft);
    let judged = |line: String| {
        manifest(&line).check_release(&release, &release.artifacts[0]).err().map(|refusal| refusal.reason)
    };
    assert_eq!(judged(agent_line()), None);
    assert_eq!(judged(operator_line()), Some(Reason::KindMismatch));
    for (from, to) in [
        ("version=1.2.0", "version=1.2.1"),
        ("amd64", "arm64"),
        ("file=novacula-agent", "file=other"),
        ("8120376", "8120377"),
        ("sha256=e3", "sha256=e4"),
        ("floor=1.0.0", "floor=1.3.0"),
    ] {
        assert_eq!(judged(agent_line().replace(from, to)), Some(Reason::ManifestMismatch), "{to}");
    }
}

#[test]
fn editions_only_grow_and_only_widen_the_audience() {
    let published = release(Status::Published);
    let own = [manifest(&agent_line()).edition()];
    let judged = |release: &Release, own: &[Edition], line: String| manifest(&line).check_edition(release, own, 8);
    let again = |from: &str, to: &str| agent_line().replace(from, to);
    let promoted = again("channel=beta", "channel=stable").replace("sequence=7", "sequence=9");

    assert_eq!(judged(&published, &own, agent_line()), Ok(Addition::Same), "another key");
    assert_eq!(judged(&published, &own, promoted.clone()), Ok(Addition::NewEdition), "promotion");
    assert!(judged(&published, &own, again("channel=beta", "channel=stable")).is_err(), "one number, one edition");
    assert!(
        judged(&published, &own, promoted.replace("sequence=9", "sequence=8")).is_err(),
        "another release has that number"
    );
    assert!(judged(&published, &own, promoted.replace("stable", "dev")).is_err(), "never less finished");
    assert!(judged(&published, &own, promoted.replace("floor=1.0.0", "floor=0.9.0")).is_err(), "the floor never falls");
    assert!(judged(&release(Status::Draft), &[], promoted.clone()).is_err(), "a draft keeps its channel");
    assert_eq!(judged(&release(Status::Draft), &[], again("sequence=7", "sequence=9")), Ok(Addition::NewEdition));
    assert_eq!(
        judged(&release(Status::Yanked), &own, promoted).map_err(|refusal| refusal.reason),
        Err(Reason::ReleaseYanked)
    );
}

#[test]
fn a_release_is_published_under_an_edition_that_every_artifact_carries() {
    let seven = manifest(&agent_line()).edition();
    let nine = Edition { sequence: 9, ..seven.clone() };
    let draft = release(Status::Draft);
    let judged = |artifacts: &[Vec<Edition>], elsewhere| {
        publish::check_publish(&draft, artifacts, elsewhere).map_err(|refusal| refusal.reason)
    };
    let partly = [vec![seven.clone(), nine.clone()], vec![seven.clone()]];
    assert_eq!(judged(&partly, 6), Ok(seven.clone()));
    assert_eq!(judged(&partly, 8), Err(Reason::ManifestMismatch), "overtaken");
    assert_eq!(judged(&[vec![seven.clone(), nine.clone()], vec![nine.clone()]], 8), Ok(nine));
    assert_eq!(judged(&[vec![seven], vec![]], 0), Err(Reason::SignatureInvalid));
    assert_eq!(judged(&[], 0), Err(Reason::PlatformMissing));
}

fn any_version() -> impl Strategy<Value = Version> {
    ((0u64..30, 0u64..30, 0u64..1000), proptest::option::of("(alpha|beta|rc)\\.[1-9]")).prop_map(
        |((major, minor, patch), pre)| {
            version(
                &pre.map_or_else(|| format!("{major}.{minor}.{patch}"), |pre| format!("{major}.{minor}.{patch}-{pre}")),
            )
        },
    )
}

fn any_subject() -> impl Strategy<Value = Subject> {
    let digest = any::<[u8; 32]>().prop_map(Sha256::new);
    let agent = ("[a-z0-9]{1,16}/[a-z0-9]{1,16}", "[A-Za-z0-9][A-Za-z0-9._-]{0,99}", 1u64.., any::<[u8; 32]>())
        .prop_map(|(platform, file, size, hash)| Subject::Agent {
            platform: platform.parse().expect("a platform"),
            file,
            size,
            sha256: Sha256::new(hash),
        });
    let operator = ("[a-z0-9]{1,9}\\.[a-z]{2,5}(:[1-9][0-9]{0,3})?(/[a-z0-9]{1,9}([._-][a-z0-9]{1,5})?){1,4}", digest)
        .prop_map(|(image, digest)| Subject::Operator { image, digest });
    prop_oneof![agent, operator]
}

proptest! {
    #[test]
    fn every_manifest_prints_to_a_line_that_reads_back(
        (version, floor) in (any_version(), any_version()),
        channel in proptest::sample::select(&Channel::ALL[..]),
        subject in any_subject(),
        sequence in 1u64..,
    ) {
        let manifest = Manifest { version, channel, subject, sequence, floor };
        let line = manifest.to_string();
        prop_assert!(line.len() <= LINE_MAX);
        prop_assert_eq!(line.parse::<Manifest>(), Ok(manifest));
    }

    #[test]
    fn every_line_that_is_accepted_prints_back_byte_for_byte(
        edits in proptest::collection::vec((0usize..400, any::<char>()), 0..4),
        operator in any::<bool>(),
    ) {
        let mut line: Vec<char> = (if operator { operator_line() } else { agent_line() }).chars().collect();
        for (at, with) in edits {
            let at = at % line.len();
            line[at] = with;
        }
        let line: String = line.into_iter().collect();
        if let Ok(manifest) = line.parse::<Manifest>() {
            prop_assert_eq!(manifest.to_string(), line);
        }
    }
}
