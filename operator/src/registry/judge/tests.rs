//! Documents, as registries could send them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn platform() -> Platform {
    "linux/amd64".parse().expect("a platform")
}

fn digest(bytes: &[u8]) -> Sha256 {
    Sha256::new(sha2::Sha256::digest(bytes).into())
}

fn descriptor(of: u8, size: u64) -> Value {
    json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": format!("sha256:{}", Sha256::new([of; 32])), "size": size })
}

fn entry(of: u8, os: &str, architecture: &str) -> Value {
    let mut entry = descriptor(of, 7);
    entry["platform"] = json!({ "os": os, "architecture": architecture });
    entry
}

fn index(entries: &[Value]) -> Value {
    json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries })
}

fn image() -> Value {
    json!({ "schemaVersion": 2, "config": descriptor(9, 7), "layers": [descriptor(8, 1)] })
}

fn judged(document: &Value) -> Result<Next, Fault> {
    let bytes = document.to_string();
    signed(bytes.as_bytes(), digest(bytes.as_bytes()), &platform())
}

fn at(of: u8) -> Pointer {
    Pointer { digest: Sha256::new([of; 32]), size: 7 }
}

#[test]
fn an_index_leads_to_the_first_entry_of_the_platform() {
    let entries = [
        entry(1, "unknown", "unknown"),
        entry(2, "linux", "arm64"),
        entry(3, "linux", "amd64"),
        entry(4, "linux", "amd64"),
    ];
    assert_eq!(judged(&index(&entries)), Ok(Next::Manifest(at(3))));
    assert_eq!(judged(&image()), Ok(Next::Config(at(9))));
}

#[test]
fn what_is_not_for_the_platform_is_named() {
    let told = |entries: &[Value]| judged(&index(entries)).expect_err("refused").to_string();
    let text =
        told(&[entry(1, "linux", "arm64"), entry(2, "linux", "arm64"), entry(3, "windows", "amd64"), descriptor(4, 1)]);
    assert_eq!(
        text,
        "it is for linux/arm64, windows/amd64, no platform that it names, and this cluster's nodes are linux/amd64"
    );
    assert!(told(&[]).contains("no platform at all"));
    // An index inside an index is no image, whatever it says of its platform.
    let mut nested = entry(1, "linux", "amd64");
    nested["mediaType"] = json!("application/vnd.oci.image.index.v1+json");
    assert!(matches!(judged(&index(&[nested])), Err(Fault::Platform { .. })));
}

#[test]
fn one_image_is_judged_by_its_configuration() {
    let judged = |bytes: &[u8], size: u64| config(bytes, Pointer { digest: digest(bytes), size }, &platform());
    assert_eq!(judged(br#"{"os":"linux","architecture":"amd64"}"#, 37), Ok(()));
    assert!(matches!(judged(br#"{"os":"linux","architecture":"arm64"}"#, 37), Err(Fault::Platform { .. })));
    assert!(matches!(judged(b"{}", 2), Err(Fault::Platform { .. })));
    assert!(matches!(judged(b"[", 1), Err(Fault::NoImage(_))));
    assert!(matches!(judged(b"{}", 3), Err(Fault::NoImage(_))), "another size than announced");
    assert!(matches!(config(b"{}", at(1), &platform()), Err(Fault::Digest { .. })));
}

#[test]
fn another_image_and_somebody_elses_page_are_told_apart() {
    let other = image().to_string();
    assert!(matches!(signed(other.as_bytes(), Sha256::new([0; 32]), &platform()), Err(Fault::Digest { .. })));
    for page in ["<html>log in</html>", "", "{}", "[]", "null", r#"{"schemaVersion":1}"#] {
        let fault = signed(page.as_bytes(), Sha256::new([0; 32]), &platform()).expect_err(page);
        assert!(matches!(fault, Fault::Garbage(_)), "{page}: {fault:?}");
    }
}

#[test]
fn what_was_signed_and_is_no_image_is_refused() {
    let mut foreign = image();
    foreign["config"]["digest"] = json!("sha512:00");
    let mut large = image();
    large["config"]["size"] = json!(DOCUMENT_MAX + 1);
    let both = json!({ "schemaVersion": 2, "manifests": [], "config": descriptor(1, 1), "layers": [] });
    let artifact = json!({ "schemaVersion": 2, "mediaType": "application/x", "blobs": [] });
    for document in [foreign, large, both, artifact, json!({ "schemaVersion": 1 }), json!("text")] {
        let fault = judged(&document).expect_err("refused");
        assert!(matches!(fault, Fault::NoImage(_)), "{document}: {fault:?}");
    }
    assert!(matches!(manifest(b"{}", Pointer { digest: digest(b"{}"), size: 2 }), Err(Fault::NoImage(_))));
    let nested = index(&[]).to_string();
    let pointer = Pointer { digest: digest(nested.as_bytes()), size: nested.len() as u64 };
    assert!(matches!(manifest(nested.as_bytes(), pointer), Err(Fault::NoImage(_))));
}

proptest! {
    #[test]
    fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(signed(&bytes, Sha256::new([0; 32]), &platform()).is_err());
        prop_assert!(manifest(&bytes, at(0)).is_err());
        prop_assert!(config(&bytes, at(0), &platform()).is_err());
        let _ = signed(&bytes, digest(&bytes), &platform());
    }

    #[test]
    fn a_changed_byte_is_never_accepted(at in any::<prop::sample::Index>(), bit in 0u8..8, of_index in any::<bool>()) {
        let document = if of_index { index(&[entry(3, "linux", "amd64")]) } else { image() };
        let mut bytes = document.to_string().into_bytes();
        let expected = digest(&bytes);
        prop_assert!(signed(&bytes, expected, &platform()).is_ok());
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(signed(&bytes, expected, &platform()).is_err());
    }

    #[test]
    fn the_chosen_entry_is_one_of_the_platform(entries in proptest::collection::vec((1u8..9, "linux|windows|", "amd64|arm64|"), 0..8)) {
        let documents: Vec<Value> = entries.iter().map(|(of, os, arch)| entry(*of, os, arch)).collect();
        let fitting = entries.iter().find(|(_, os, arch)| os == "linux" && arch == "amd64");
        match (judged(&index(&documents)), fitting) {
            (Ok(Next::Manifest(pointer)), Some((of, _, _))) => prop_assert_eq!(pointer, at(*of)),
            (Err(Fault::Platform { .. }), None) => {}
            (other, _) => prop_assert!(false, "{:?}", other),
        }
    }
}
