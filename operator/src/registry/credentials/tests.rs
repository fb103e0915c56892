//! The kubelet's rules, as a table.

use proptest::prelude::*;

use super::*;

/// A keyring of one Secret whose entries have their own key as password.
fn keyring(keys: &[&str]) -> Keyring {
    let entry = |key: &&str| {
        let auth = BASE64_STANDARD.encode(format!("user:{key}"));
        (key.to_string(), serde_json::json!({ "auth": auth }))
    };
    let auths: serde_json::Map<_, _> = keys.iter().map(entry).collect();
    let mut keyring = Keyring::default();
    add(&mut keyring, &serde_json::json!({ "auths": auths }).to_string()).expect("a Secret");
    keyring
}

fn add(keyring: &mut Keyring, document: &str) -> Result<(), Error> {
    keyring.add(CONFIG_JSON.0, &BTreeMap::from([(CONFIG_JSON.1.to_owned(), document.as_bytes().to_vec())]))
}

#[track_caller]
fn check(keys: &[&str], image: &str, tried: &[&str]) {
    let found = keyring(keys).lookup(image);
    let found: Vec<&str> = found.iter().map(|login| login.password.as_str()).collect();
    assert_eq!(found, tried, "{keys:?} for {image}");
}

#[test]
fn hosts_match_label_by_label_and_ports_exactly() {
    check(&["registry.example"], "registry.example/a/b", &["registry.example"]);
    check(&["registry.example"], "other.example/a/b", &[]);
    check(&["registry.example"], "registry.example:5000/a", &[]);
    check(&["registry.example:5000"], "registry.example:5000/a", &["registry.example:5000"]);
    check(&["registry.example:5000"], "registry.example/a", &[]);
    check(&["*.example"], "registry.example/a", &["*.example"]);
    check(&["*.example"], "deep.registry.example/a", &[]);
    check(&["*.*.example:1"], "deep.registry.example:1/a", &["*.*.example:1"]);
    check(&["re*y.example", "reg?stry.example"], "registry.example/a", &["reg?stry.example", "re*y.example"]);
    check(&["*"], "registry.example/a", &[]);
}

#[test]
fn scheme_and_api_version_say_nothing() {
    for key in ["https://registry.example", "http://registry.example/v1/", "registry.example/v2/", "registry.example/"]
    {
        check(&[key], "registry.example/a/b", &[key]);
    }
}

#[test]
fn a_path_narrows_and_the_longer_key_comes_first() {
    let keys = ["registry.example", "registry.example/team", "registry.example/team/operator"];
    check(&keys, "registry.example/team/operator", &[keys[2], keys[1], keys[0]]);
    check(&keys, "registry.example/team/other", &[keys[1], keys[0]]);
    check(&keys, "registry.example/else", &[keys[0]]);
    // As text: the kubelet, too, takes the beginning of a name for a folder.
    check(&["registry.example/te"], "registry.example/team/operator", &["registry.example/te"]);
}

#[test]
fn docker_hub_has_a_key_of_its_own() {
    let hub = "https://index.docker.io/v1/";
    check(&[hub, "registry.example"], "docker.io/library/nginx", &[hub]);
    check(&[hub, "docker.io/acme"], "docker.io/acme/x", &["docker.io/acme"]);
    check(&[hub], "registry.example/nginx", &[]);
}

#[test]
fn one_key_in_two_secrets_is_tried_with_both() {
    let mut both = keyring(&["registry.example"]);
    add(&mut both, r#"{"auths":{"registry.example":{"username":"u","password":"p"}}}"#).expect("a Secret");
    let found: Vec<_> = both.lookup("registry.example/a").iter().map(|login| login.username.clone()).collect();
    assert_eq!(found, ["user", "u"]);
}

#[test]
fn auth_counts_before_user_and_password_and_a_password_may_hold_colons() {
    let mut keyring = Keyring::default();
    let auth = BASE64_STANDARD_NO_PAD.encode("a:b:c");
    add(
        &mut keyring,
        &format!(r#"{{"auths":{{"r.example":{{"auth":"{auth}","username":"x","password":"y"}},"e.example":{{}}}}}}"#),
    )
    .expect("a Secret");
    let login = keyring.lookup("r.example/a").pop().expect("a login");
    assert_eq!((login.username.as_str(), login.password.as_str()), ("a", "b:c"));
    assert!(keyring.lookup("e.example/a").is_empty(), "an empty entry is none");
    assert!(!format!("{keyring:?}").contains("b:c"), "{keyring:?}");
}

#[test]
fn the_older_form_is_read_and_others_are_named() {
    let mut keyring = Keyring::default();
    let document =
        BTreeMap::from([(CONFIG.1.to_owned(), br#"{"r.example":{"username":"u","password":"p"}}"#.to_vec())]);
    keyring.add(CONFIG.0, &document).expect("a Secret");
    assert_eq!(keyring.lookup("r.example/a").len(), 1);
    let nothing: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    assert_eq!(keyring.add("Opaque", &nothing), Err(Error::Type("Opaque".to_owned())));
    assert_eq!(keyring.add(CONFIG_JSON.0, &nothing), Err(Error::Key(".dockerconfigjson")));
    let told = add(&mut keyring, "{\"auths\": hunter2}").expect_err("not JSON").to_string();
    assert!(told.contains("line 1") && !told.contains("hunter2"), "{told}");
    assert_eq!(add(&mut keyring, r#"{"auths":{"r":{"auth":"!"}}}"#), Err(Error::Auth("r".to_owned())));
}

proptest! {
    #[test]
    fn no_document_does_harm(document in prop_oneof!["\\PC{0,80}", r#"\{"auths":\{"[a-z./:*]{0,12}":\{"auth":"[A-Za-z0-9=]{0,9}"\}\}\}"#], image in "\\PC{0,30}") {
        let mut keyring = Keyring::default();
        let _ = add(&mut keyring, &document);
        let _ = keyring.lookup(&image);
    }

    #[test]
    fn a_key_finds_its_own_images_and_no_other_host_does(host in "[a-z]{1,8}\\.[a-z]{1,5}(:[1-9][0-9]{0,3})?", path in "[a-z]{1,9}") {
        let ring = keyring(&[&host]);
        let foreign = [format!("x{host}/{path}"), format!("x.{host}/{path}"), format!("{host}0/{path}")];
        prop_assert_eq!(ring.lookup(&format!("{host}/{path}")).len(), 1);
        prop_assert!(foreign.iter().all(|image| ring.lookup(image).is_empty()));
    }
}
