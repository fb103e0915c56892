//! A real registry, asked as clusters ask it.

use anyhow::ensure;
use domain::Sha256;
use libtest_mimic::Trial;
use novacula_operator::registry::ErrorKind;
use novacula_operator::registry::settings::Settings;

use crate::process::{Entrance, USER};
use crate::scene::{Ask, Scene, settings};
use crate::web::{Answer, Web};
use crate::{Result, trial};

/// Where nothing listens: the discard port of the loopback.
const NOWHERE: &str = "127.0.0.1:9";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("an_image_is_found_as_the_library_pulls_it", found),
        trial("what_nobody_pushed_is_not_found", missing),
        trial("an_image_for_other_platforms_is_named", platforms),
        trial("a_password_opens_and_none_hides", password),
        trial("tls_needs_the_authority_that_was_set", tls),
        trial("plain_http_is_spoken_only_where_it_was_allowed", plain_http),
        trial("a_mirror_is_asked_first_and_the_registry_when_it_has_nothing", mirror),
        trial("a_mirror_gets_no_credentials_of_the_registry", mirror_credentials),
        trial("a_registry_that_is_away_may_come_back", away),
    ]
}

async fn found() -> Result {
    let scene = Scene::new()?;
    let (index, manifest) = scene.index(&["linux/arm64", "linux/amd64"]).await?;
    let found = Ask::plain(&scene.open.host(), index).found().await?;
    ensure!(found.signed == scene.pulled(index).await? && found.manifest == manifest, "{found:?}");
    ensure!(found.host == scene.open.host());
    let (single, _) = scene.image("linux/amd64").await?;
    let found = Ask::plain(&scene.open.host(), single).found().await?;
    ensure!(found.signed == scene.pulled(single).await? && found.manifest == single, "{found:?}");
    Ok(())
}

async fn missing() -> Result {
    let scene = Scene::new()?;
    let ask = Ask::plain(&scene.open.host(), Sha256::new([7; 32]));
    ask.fails(ErrorKind::NotFound, &["has no such manifest", "push the image there"]).await?;
    let (single, _) = scene.image("linux/amd64").await?;
    // The manifest is there, what it points at is gone.
    let config: serde_json::Value = serde_json::from_slice(&scene.pulled(single).await?)?;
    let config = config["config"]["digest"].as_str().unwrap_or_default().trim_start_matches("sha256:").parse()?;
    std::fs::remove_file(scene.file_of(config))?;
    Ask::plain(&scene.open.host(), single).fails(ErrorKind::NotFound, &["has no such configuration"]).await
}

async fn platforms() -> Result {
    let scene = Scene::new()?;
    let (index, _) = scene.index(&["linux/arm64", "windows/amd64"]).await?;
    let says = ["it is for linux/arm64, windows/amd64", "this cluster's nodes are linux/amd64"];
    Ask::plain(&scene.open.host(), index).fails(ErrorKind::NoSuchPlatform, &says).await?;
    let (single, _) = scene.image("linux/arm64").await?;
    Ask::plain(&scene.open.host(), single).fails(ErrorKind::NoSuchPlatform, &["it is for linux/arm64"]).await
}

async fn password() -> Result {
    let scene = Scene::new()?;
    let (index, _) = scene.index(&["linux/amd64"]).await?;
    let (single, _) = scene.image("linux/amd64").await?;
    let private = scene.another(Entrance::Password)?;
    let host = private.host();
    let told = Ask::plain(&host, index).hidden().await?;
    ensure!(told.contains(&host) && told.contains("nodes may have their own"), "{told}");
    for digest in [index, single] {
        Ask::plain(&host, digest).login(&host, USER).found().await?;
    }
    let wrong = Ask::plain(&host, index).login(&host, ("novacula", "hunter2"));
    wrong.fails(ErrorKind::Unauthorized, &[&host, "answers 401", "mend the Secret"]).await?;
    let error = format!("{:?}", wrong.seen().await);
    ensure!(!error.contains("hunter2"), "{error}");
    // As the kubelet: each that matches is tried.
    wrong.clone().login(&host, USER).found().await?;
    // Credentials for another registry are none.
    Ask::plain(&host, index).login("other.example", USER).hidden().await.map(drop)
}

async fn tls() -> Result {
    let scene = Scene::new()?;
    let (index, _) = scene.index(&["linux/amd64"]).await?;
    let private = scene.another(Entrance::Tls)?;
    let ask = Ask::tls(&private.host(), index);
    ask.fails(ErrorKind::Unreachable, &[&private.host(), "certificate"]).await?;
    let trusting = Settings::new(&[], &[], Some(private.authority().as_bytes())).expect("settings");
    ask.with(trusting).found().await.map(drop)
}

async fn plain_http() -> Result {
    let scene = Scene::new()?;
    let (index, _) = scene.index(&["linux/amd64"]).await?;
    Ask::tls(&scene.open.host(), index).fails(ErrorKind::Unreachable, &["cannot be reached"]).await
}

async fn mirror() -> Result {
    let scene = Scene::new()?;
    let (index, _) = scene.index(&["linux/amd64"]).await?;
    let mirror = scene.open.host();
    let elsewhere = |host: &str| settings(&[format!("{NOWHERE}={mirror}")], &[&mirror, host]);
    // Nobody is at the registry itself: a cluster without a way out.
    let found = Ask::plain(NOWHERE, index).with(elsewhere(NOWHERE)).found().await?;
    ensure!(found.host == mirror, "{found:?}");
    let says = [NOWHERE, "cannot be reached", "before: registry", "has no such manifest"];
    Ask::plain(NOWHERE, Sha256::new([7; 32])).with(elsewhere(NOWHERE)).fails(ErrorKind::Unreachable, &says).await?;
    // The mirror has nothing, the registry does.
    let empty = Scene::new()?;
    let (registry, mirror) = (scene.open.host(), empty.open.host());
    let settings = settings(&[format!("{registry}={mirror}")], &[&mirror, &registry]);
    let found = Ask::plain(&registry, index).with(settings.clone()).found().await?;
    ensure!(found.host == registry, "{found:?}");
    let nobody = Ask::plain(&registry, Sha256::new([7; 32])).with(settings);
    nobody.fails(ErrorKind::NotFound, &[&registry, &mirror]).await
}

async fn mirror_credentials() -> Result {
    let scene = Scene::new()?;
    let (index, _) = scene.index(&["linux/amd64"]).await?;
    let private = scene.another(Entrance::Password)?;
    let curious = Web::start(|_| Answer::header(401, "WWW-Authenticate: Basic realm=\"give\"")).await?;
    let (registry, mirror) = (private.host(), curious.host());
    let settings = settings(&[format!("{registry}={mirror}")], &[&mirror, &registry]);
    let found = Ask::plain(&registry, index).login(&registry, USER).with(settings).found().await?;
    ensure!(found.host == registry, "{found:?}");
    let asked = curious.asked();
    ensure!(asked.iter().all(|asked| asked.authorization.is_none()), "{asked:?}");
    ensure!(asked.iter().all(|asked| asked.path.contains("?ns=127.0.0.1%3A")), "{asked:?}");
    Ok(())
}

async fn away() -> Result {
    let mut scene = Scene::new()?;
    let (index, _) = scene.index(&["linux/amd64"]).await?;
    let ask = Ask::plain(&scene.open.host(), index);
    ask.found().await?;
    scene.open.stop()?;
    ask.fails(ErrorKind::Unreachable, &["cannot be reached"]).await?;
    let again = scene.another(Entrance::Open)?;
    Ask::plain(&again.host(), index).found().await?;
    ensure!(again.log().is_empty() || !again.log().contains("panic"), "{}", again.log());
    Ok(())
}
