//! Whoever serves the bytes means harm: under a true signature come other bytes, more of them, bytes without end, packed ones,
//! or the word to go elsewhere. And signatures of the kind that covers bytes without a manifest.

use std::process::Command;

use anyhow::{Context as _, ensure};
use domain::attempt::{ErrorCode, Phase};
use domain::release::Location;
use executor_sdk::download::{LocalAddresses, Policy};
use harness::daemon::succeeded;
use harness::parts::{self, Part, workspace};
use harness::signing::Signer;
use libtest_mimic::Trial;

use super::{BYTES, Offer, Scene, commented, line, manifest, signed};
use crate::web::{Then, Web};
use crate::{Result, run, trial};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("swapped_bytes_of_another_genuine_release_are_not_applied", swapped),
        trial("what_is_served_elsewhere_is_applied_when_it_is_what_was_signed", elsewhere),
        trial("a_swapped_url_is_not_applied", swapped_url),
        trial("a_body_that_is_too_large_is_not_applied", too_large),
        trial("an_endless_body_is_not_applied", endless),
        trial("a_gzip_bomb_is_not_applied", gzip_bomb),
        trial("a_redirect_to_another_host_is_not_applied", redirect),
        trial("a_relabelled_signature_is_not_applied", relabelled),
        parts::trial("a_legacy_signature_is_not_applied", &[Part::Minisign], || run(legacy)),
    ]
}

/// Bytes of a release that the same key signed, as long as those that were asked for.
fn genuine() -> Result<Vec<u8>> {
    let other = BYTES.iter().rev().copied().collect::<Vec<_>>();
    let comment = manifest("1.2.9", domain::Channel::Stable, 8, "0.0.1", &other).to_string();
    Signer::development()?.sign(&other, &comment)?;
    Ok(other)
}

/// A true offer whose bytes are to be fetched from `web`, by a host that may reach it.
async fn offered(web: &Web) -> Result<(Scene, Offer)> {
    let policy = Policy {
        authorities: vec![web.authority.clone()],
        local_addresses: LocalAddresses::Allowed,
        ..Policy::default()
    };
    let mut offer = commented(&line())?;
    offer.location = Location::External(web.url());
    Ok((Scene::start_with(policy).await?, offer))
}

async fn swapped() -> Result {
    let mut offer = commented(&line())?;
    offer.served = genuine()?;
    let says = harness::signing::sha256(&offer.served).to_string();
    Scene::start().await?.refuses(offer, ErrorCode::DigestMismatch, &says).await
}

async fn elsewhere() -> Result {
    let web = Web::serve("HTTP/1.1 200 OK", BYTES, Then::Close).await?;
    web.go_away();
    let (scene, offer) = offered(&web).await?;
    let attempt = scene.offer(offer).await?;
    // Whoever looks at the attempt reads what it waits out; that is not on the host alone.
    let waiting = || async { Ok(scene.plane.attempt(&attempt).await?.waiting) };
    let kept = scene.plane.until("the download to break off", waiting, Option::is_some).await?.context("some")?;
    let why = kept.waiting.sentence();
    ensure!(why.starts_with("UNREACHABLE: ") && why.contains("localhost"), "{why}");
    ensure!(scene.plane.attempt(&attempt).await?.phase == Phase::Downloading);
    web.come_back();
    scene.plane.until("the download to go on", waiting, Option::is_none).await?;
    scene.applied().await
}

async fn swapped_url() -> Result {
    let other = genuine()?;
    let web = Web::serve("HTTP/1.1 200 OK", &other, Then::Close).await?;
    let (scene, offer) = offered(&web).await?;
    scene.refuses(offer, ErrorCode::DigestMismatch, &harness::signing::sha256(&other).to_string()).await?;
    ensure!(web.asked() == 1, "what was refused is not fetched again");
    Ok(())
}

async fn too_large() -> Result {
    let mut offer = commented(&line())?;
    offer.served.extend_from_slice(b"and more");
    Scene::start().await?.refuses(offer, ErrorCode::TooLarge, "").await
}

async fn endless() -> Result {
    let web = Web::serve("HTTP/1.1 200 OK", BYTES, Then::Endless).await?;
    let (scene, offer) = offered(&web).await?;
    scene.refuses(offer, ErrorCode::TooLarge, "").await
}

async fn gzip_bomb() -> Result {
    let web = Web::serve("HTTP/1.1 200 OK\r\ncontent-encoding: gzip", BYTES, Then::Close).await?;
    let (scene, offer) = offered(&web).await?;
    scene.refuses(offer, ErrorCode::HttpStatus, "gzip").await
}

async fn redirect() -> Result {
    let other = Web::serve("HTTP/1.1 200 OK", BYTES, Then::Close).await?;
    let web = Web::serve(&format!("HTTP/1.1 302 Found\r\nlocation: {}", other.url()), b"", Then::Close).await?;
    let (scene, offer) = offered(&web).await?;
    scene.refuses(offer, ErrorCode::UrlNotAllowed, "").await?;
    ensure!((web.asked(), other.asked()) == (1, 0), "the other host is not asked, even for the very bytes");
    Ok(())
}

/// The algorithm's two letters are not covered by the signature: `ED` becomes `Ed`.
async fn relabelled() -> Result {
    let good = Signer::development()?.sign(BYTES, &line())?;
    let legacy = good.replacen("\nRU", "\nRW", 1);
    ensure!(legacy != good, "{good}");
    Scene::start().await?.refuses(signed(vec![legacy]), ErrorCode::LegacySignature, "").await
}

/// As the stock tool makes it with `-l`, by the key that this build trusts.
async fn legacy() -> Result {
    let folder = tempfile::tempdir()?;
    let (file, signature) = (folder.path().join("agent"), folder.path().join("agent.minisig"));
    std::fs::write(&file, BYTES)?;
    let mut tool = Command::new(Part::Minisign.find()?);
    tool.args(["-S", "-l", "-t", &line(), "-s"]).arg(workspace().join("target/development-key/release.key"));
    succeeded(&tool.arg("-m").arg(&file).arg("-x").arg(&signature).output()?).context("sign as of old")?;
    let legacy = std::fs::read_to_string(&signature)?;
    Scene::start().await?.refuses(signed(vec![legacy]), ErrorCode::LegacySignature, "").await
}
