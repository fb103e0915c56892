//! Promises of [`crate::TokenStore`] and [`crate::JoinTokenStore`].

use domain::audit::EventKind;
use domain::sign_in::{Identity, SignIn};
use domain::{ExecutorId, Role, TokenId};

use super::Subject;
use super::fixture::{World, at, digest, event, join_token, join_token_id, organization, refusal};
use crate::{JoinTokenRecord, Page, TokenRecord};

fn id(text: &str) -> TokenId {
    TokenId::new(text).expect("a label")
}

fn token(text: &str, role: Role) -> TokenRecord {
    TokenRecord {
        id: id(text),
        secret_sha256: digest(1),
        role,
        display_name: "for \"tests\" \u{1f680}".to_owned(),
        create_time: at(1),
        expire_time: at(2),
        revoke_time: None,
        signed_in_by: None,
    }
}

fn session(text: &str, by: &SignIn) -> TokenRecord {
    TokenRecord { signed_in_by: Some(by.clone()), ..token(text, Role::Publisher) }
}

pub(super) async fn every_role_reads_back(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let acme = || organization("acme");
    let roles = [
        ("a", Role::Owner(acme())),
        ("b", Role::Admin(acme())),
        ("c", Role::Member(acme())),
        ("d", Role::Publisher),
        ("e", Role::InstallationAdmin),
    ];
    for (id, role) in roles {
        let token = token(id, role);
        world.store.token_insert(&token, &[]).await.expect("a new token");
        assert_eq!(world.store.token_get(&token.id).await.expect("a read"), Some(token));
    }
    assert_eq!(world.store.token_get(&id("f")).await.expect("a read"), None);
}

pub(super) async fn a_taken_id_exists_and_an_unknown_organization_is_missing(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let told = [event(EventKind::TokenCreated, "tokens/a")];
    world.store.token_insert(&token("a", Role::Publisher), &told).await.expect("a new token");
    let again = world.store.token_insert(&token("a", Role::InstallationAdmin), &told).await;
    assert_eq!(refusal(again), "exists token");
    let nowhere = token("b", Role::Owner(organization("nobody")));
    assert_eq!(refusal(world.store.token_insert(&nowhere, &told).await), "missing organization");
    assert_eq!(world.events().await.len(), 1);
}

pub(super) async fn tokens_are_found_together(subject: &dyn Subject) {
    let world = World::new(subject).await;
    for row in [token("a", Role::Owner(organization("acme"))), token("b", Role::Publisher), token("c", Role::Publisher)]
    {
        world.store.token_insert(&row, &[]).await.expect("a new token");
    }
    world.store.token_revoke(&id("b"), at(6), &[]).await.expect("a revocation");
    let found = async |ids: &[&str]| {
        let ids: Vec<TokenId> = ids.iter().copied().map(id).collect();
        let mut rows = world.store.token_list_by_id(&ids).await.expect("a list");
        rows.sort_by(|one, other| one.id.cmp(&other.id));
        rows.into_iter().map(|row| (row.id.as_str().to_owned(), row.revoke_time.is_some())).collect::<Vec<_>>()
    };
    assert_eq!(found(&["b", "a", "nobody", "b"]).await, [("a".to_owned(), false), ("b".to_owned(), true)]);
    assert_eq!(found(&[]).await, []);
}

pub(super) async fn a_session_comes_with_the_token_it_stems_from(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let by_token = |id_of: &str| SignIn::Token(id(id_of));
    let identity = SignIn::Identity(Identity::new("https://id.example", "kim").expect("somebody"));
    let rows = [
        token("a", Role::Publisher),
        session("b", &by_token("a")),
        session("c", &by_token("gone")),
        session("d", &identity),
        session("e", &by_token("b")),
    ];
    for row in &rows {
        world.store.token_insert(row, &[]).await.expect("a new token");
    }
    let shown = world.store.token_revoke(&id("a"), at(6), &[]).await.expect("a revocation");
    let found = async |text: &str| {
        let found = world.store.token_get_with_origin(&id(text)).await.expect("a read");
        found.map(|found| (found.token.id.as_str().to_owned(), found.origin))
    };
    assert_eq!(found("b").await, Some(("b".to_owned(), Some(shown))), "revoked ones too");
    for alone in ["a", "c", "d"] {
        assert_eq!(found(alone).await, Some((alone.to_owned(), None)));
    }
    assert_eq!(found("e").await, Some(("e".to_owned(), Some(rows[1].clone()))), "one step");
    assert_eq!(found("nobody").await, None);
}

pub(super) async fn lists_keep_organizations_apart(subject: &dyn Subject) {
    let world = World::new(subject).await;
    world.organization("other").await;
    let tokens = [
        token("a1", Role::Owner(organization("acme"))),
        token("a2", Role::Member(organization("acme"))),
        token("i1", Role::Publisher),
        token("o1", Role::Owner(organization("other"))),
    ];
    for token in &tokens {
        world.store.token_insert(token, &[]).await.expect("a new token");
    }
    let acme = organization("acme");
    let list = async |organization, after, limit| {
        let rows = world.store.token_list(organization, Page { after, limit }).await;
        let rows = rows.expect("a page").into_iter();
        rows.map(|row| row.id.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list(Some(&acme), None, 10).await, ["a1", "a2"]);
    assert_eq!(list(Some(&acme), None, 1).await, ["a1"]);
    assert_eq!(list(Some(&acme), Some(id("a1")), 10).await, ["a2"]);
    assert_eq!(list(None, None, 10).await, ["i1"]);
}

pub(super) async fn the_first_revocation_stays(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let told = [event(EventKind::TokenRevoked, "tokens/a")];
    world.store.token_insert(&token("a", Role::Publisher), &[]).await.expect("a new token");
    for time in [at(50), at(60)] {
        let row = world.store.token_revoke(&id("a"), time, &told).await.expect("a revocation");
        assert_eq!(row.revoke_time, Some(at(50)));
    }
    assert_eq!(world.events().await.len(), 1, "the second revocation changed nothing");
    let unknown = world.store.token_revoke(&id("b"), at(50), &told).await;
    assert_eq!(refusal(unknown), "missing token");
    assert_eq!(world.events().await.len(), 1);
}

pub(super) async fn a_session_is_extended_while_it_counts(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let by = SignIn::Identity(Identity::new("https://id.example", "ann \"o'neil\"").expect("printable"));
    world.store.token_insert(&session("s", &by), &[]).await.expect("a new session");
    world.store.token_insert(&token("t", Role::Publisher), &[]).await.expect("a new token");
    for (asked, ends) in [(at(9), at(9)), (at(5), at(9))] {
        let row = world.store.token_extend(&id("s"), asked).await.expect("an extension");
        assert_eq!((row.expire_time, row.signed_in_by), (ends, Some(by.clone())));
    }
    assert_eq!(refusal(world.store.token_extend(&id("t"), at(9)).await), "missing session");
    assert_eq!(refusal(world.store.token_extend(&id("u"), at(9)).await), "missing session");
    world.store.token_revoke(&id("s"), at(6), &[]).await.expect("a revocation");
    assert_eq!(refusal(world.store.token_extend(&id("s"), at(20)).await), "missing session");
    let row = world.store.token_get(&id("t")).await.expect("a read").expect("the token");
    assert_eq!(row.expire_time, at(2), "a token that is no session keeps its end");
}

pub(super) async fn sessions_are_listed_by_origin_until_they_are_revoked(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let (ann, other) = (SignIn::Token(id("ann")), SignIn::Token(id("other")));
    for row in [session("s3", &ann), session("s1", &ann), session("s2", &other), session("s4", &ann)] {
        world.store.token_insert(&row, &[]).await.expect("a new session");
    }
    world.store.token_insert(&token("ann", Role::Publisher), &[]).await.expect("a new token");
    world.store.token_revoke(&id("s4"), at(6), &[]).await.expect("a revocation");
    let list = async |by: &SignIn, after: Option<&str>, limit| {
        let rows = world.store.token_list_signed_in(by, Page { after: after.map(id), limit }).await;
        rows.expect("a page").into_iter().map(|row| row.id.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list(&ann, None, 10).await, ["s1", "s3"]);
    assert_eq!(list(&ann, None, 1).await, ["s1"]);
    assert_eq!(list(&ann, Some("s1"), 10).await, ["s3"]);
    assert_eq!(list(&other, None, 10).await, ["s2"]);
}

pub(super) async fn join_tokens_read_back(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let token = JoinTokenRecord {
        executor: Some(ExecutorId::new("web-1").expect("a label")),
        replace: true,
        ..join_token("a", u32::MAX)
    };
    world.store.join_token_insert(&token, &[]).await.expect("a new join token");
    let again = world.store.join_token_insert(&token, &[]).await;
    assert_eq!(refusal(again), "exists join token");
    let read = world.store.join_token_get(&token.id).await.expect("a read");
    assert_eq!(read, Some(token));
    let nowhere = JoinTokenRecord { organization: organization("nobody"), ..join_token("b", 1) };
    let result = world.store.join_token_insert(&nowhere, &[]).await;
    assert_eq!(refusal(result), "missing organization");
}

pub(super) async fn join_tokens_are_listed_by_organization(subject: &dyn Subject) {
    let world = World::new(subject).await;
    world.organization("other").await;
    let other = JoinTokenRecord { organization: organization("other"), ..join_token("c", 1) };
    for token in [join_token("b", 1), other, join_token("a", 1)] {
        world.store.join_token_insert(&token, &[]).await.expect("a new join token");
    }
    let list = async |after: Option<&str>, limit| {
        let page = Page { after: after.map(join_token_id), limit };
        let rows = world.store.join_token_list(&organization("acme"), page).await;
        let rows = rows.expect("a page").into_iter();
        rows.map(|row| row.id.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list(None, 10).await, ["a", "b", "many"]);
    assert_eq!(list(Some("a"), 1).await, ["b"]);
}

pub(super) async fn the_first_revocation_of_a_join_token_stays(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let told = [event(EventKind::JoinTokenRevoked, "joinTokens/many")];
    let many = join_token_id("many");
    for time in [at(50), at(60)] {
        let row = world.store.join_token_revoke(&many, time, &told).await.expect("a revocation");
        assert_eq!(row.revoke_time, Some(at(50)));
    }
    assert_eq!(world.events().await.len(), 1);
    let unknown = world.store.join_token_revoke(&join_token_id("x"), at(50), &told).await;
    assert_eq!(refusal(unknown), "missing join token");
}
