//! One name for its bytes, one writer, and nothing that a crash or a lie leaves in the way.

use super::*;
use crate::tls::authority::sha256;

fn storage() -> (tempfile::TempDir, ArtifactStorage) {
    let folder = tempfile::tempdir().expect("a folder");
    let storage = ArtifactStorage::open(&folder.path().join("artifacts")).expect("opened");
    (folder, storage)
}

#[tokio::test]
async fn bytes_have_their_name_only_when_they_are_what_it_says() {
    let (_folder, storage) = storage();
    let good = sha256(b"onetwo");
    let mut upload = storage.begin(good, 6, Unfinished::Discard).await.expect("begun");
    assert!(matches!(storage.begin(good, 6, Unfinished::Discard).await, Err(Error::Busy(_))));
    upload.write(Bytes::from_static(b"one")).await.expect("written");
    assert_eq!(storage.size(&good).await.expect("looked"), None);
    upload.write(Bytes::from_static(b"two")).await.expect("written");
    upload.finish().await.expect("finished");
    assert_eq!(storage.size(&good).await.expect("looked"), Some(6));
    assert_eq!(fs::read(storage.path(&good)).expect("read"), b"onetwo");
    assert_eq!(fs::read_dir(storage.folder.join("incoming")).expect("listed").count(), 0);
}

#[tokio::test]
async fn another_process_waits_for_the_upload_that_runs() {
    let (_folder, here) = storage();
    let there = ArtifactStorage::open(&here.folder).expect("opened");
    let name = sha256(b"onetwo");
    let mut upload = here.begin(name, 6, Unfinished::Keep).await.expect("begun");
    upload.write(Bytes::from_static(b"one")).await.expect("written");
    for unfinished in [Unfinished::Keep, Unfinished::Discard] {
        assert!(matches!(there.begin(name, 6, unfinished).await, Err(Error::Busy(_))), "{unfinished:?}");
    }
    drop(upload);
    let mut upload = there.begin(name, 6, Unfinished::Keep).await.expect("begun");
    assert_eq!(upload.received(), 3, "it goes on where the other one ended");
    upload.write(Bytes::from_static(b"two")).await.expect("written");
    upload.finish().await.expect("finished");
    assert_eq!(fs::read(here.path(&name)).expect("read"), b"onetwo");
}

#[tokio::test]
async fn too_many_too_few_and_other_bytes_are_refused() {
    let (_folder, storage) = storage();
    let name = sha256(b"good");
    for (bytes, fails_in_write) in [(&b"goods"[..], true), (b"goo", false), (b"evil", false)] {
        let mut upload = storage.begin(name, 4, Unfinished::Discard).await.expect("begun");
        let written = upload.write(Bytes::from_static(bytes)).await;
        assert_eq!(written.is_err(), fails_in_write, "{bytes:?}");
        assert!(upload.finish().await.is_err(), "{bytes:?}");
        assert_eq!(storage.size(&name).await.expect("looked"), None);
    }
    assert_eq!(fs::read_dir(storage.folder.join("incoming")).expect("listed").count(), 0);
}

#[tokio::test]
async fn an_upload_goes_on_behind_what_an_earlier_one_left() {
    let (_folder, storage) = storage();
    let name = sha256(b"onetwo");
    let mut upload = storage.begin(name, 6, Unfinished::Keep).await.expect("begun");
    upload.write(Bytes::from_static(b"one")).await.expect("written");
    drop(upload);
    let mut upload = storage.begin(name, 6, Unfinished::Keep).await.expect("begun");
    assert_eq!(upload.received(), 3);
    upload.write(Bytes::from_static(b"two")).await.expect("written");
    upload.finish().await.expect("finished");
    assert_eq!(storage.size(&name).await.expect("looked"), Some(6));
}

#[tokio::test]
async fn an_upload_goes_on_where_it_stands_or_from_the_beginning() {
    let (_folder, storage) = storage();
    let name = sha256(b"onetwo");
    let nothing = storage.resume(name, 6, 3).await;
    assert!(matches!(nothing, Err(Error::Offset { there: 0, asked: 3 })));
    assert_eq!(fs::read_dir(storage.folder.join("incoming")).expect("listed").count(), 0);
    let mut upload = storage.resume(name, 6, 0).await.expect("begun");
    upload.write(Bytes::from_static(b"bad")).await.expect("written");
    drop(upload);
    assert_eq!(storage.progress(&name).await.expect("looked"), Progress::Part(3));
    assert!(matches!(storage.resume(name, 6, 2).await, Err(Error::Offset { there: 3, asked: 2 })));
    let mut upload = storage.resume(name, 6, 0).await.expect("begun anew");
    upload.write(Bytes::from_static(b"one")).await.expect("written");
    drop(upload);
    let mut upload = storage.resume(name, 6, 3).await.expect("resumed");
    upload.write(Bytes::from_static(b"two")).await.expect("written");
    upload.finish().await.expect("finished");
    assert_eq!(storage.progress(&name).await.expect("looked"), Progress::Whole(6));
    assert_eq!(fs::read(storage.path(&name)).expect("read"), b"onetwo");
}

#[tokio::test]
async fn parts_that_nobody_writes_any_more_are_forgotten() {
    let (_folder, storage) = storage();
    let (left, running) = (sha256(b"left"), sha256(b"running"));
    let mut upload = storage.resume(left, 4, 0).await.expect("begun");
    upload.write(Bytes::from_static(b"le")).await.expect("written");
    drop(upload);
    let _writer = storage.resume(running, 7, 0).await.expect("begun");
    assert_eq!(storage.forget_parts(Timestamp::from_micros(0)).await.expect("looked"), 0, "they are younger");
    let never = Timestamp::from_micros(i64::MAX);
    assert_eq!(storage.forget_parts(never).await.expect("looked"), 1, "one is being written");
    assert_eq!(storage.progress(&left).await.expect("looked"), Progress::Part(0));
}

#[tokio::test]
async fn what_a_crash_left_of_an_upload_is_overwritten() {
    let (_folder, storage) = storage();
    let name = sha256(b"onetwo");
    let mut crashed = storage.begin(name, 6, Unfinished::Keep).await.expect("begun");
    crashed.write(Bytes::from_static(b"one")).await.expect("written");
    drop(crashed);
    let mut upload = storage.begin(name, 6, Unfinished::Discard).await.expect("begun");
    assert_eq!(upload.received(), 0);
    upload.write(Bytes::from_static(b"onetwo")).await.expect("written");
    upload.finish().await.expect("finished");
    assert_eq!(fs::read(storage.path(&name)).expect("read"), b"onetwo");
}

#[tokio::test]
async fn what_cannot_fit_is_refused_before_the_first_byte() {
    let (_folder, storage) = storage();
    let begun = storage.begin(sha256(b""), u64::MAX / 2, Unfinished::Discard).await;
    assert!(matches!(begun, Err(Error::NoSpace { .. })));
}
