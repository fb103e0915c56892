//! Promises of [`crate::OrganizationStore`].

use domain::audit::EventKind;

use super::Subject;
use super::fixture::{World, at, event, organization, refusal};
use crate::{Organization, Page};

pub(super) async fn a_taken_id_exists(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let taken = Organization { id: organization("acme"), display_name: "Another".to_owned(), create_time: at(5) };
    let told = [event(EventKind::OrganizationCreated, "organizations/acme")];
    let result = world.store.organization_insert(&taken, &told).await;
    assert_eq!(refusal(result), "exists organization");
    let kept = world.store.organization_get(&taken.id).await.expect("a read").expect("it exists");
    assert_eq!(kept.display_name, "ACME");
    assert_eq!(kept.create_time, at(0));
    assert_eq!(world.events().await, []);
    let unknown = organization("nobody");
    assert_eq!(world.store.organization_get(&unknown).await.expect("a read"), None);
}

pub(super) async fn lists_are_paged_by_id(subject: &dyn Subject) {
    let world = World::new(subject).await;
    for id in ["zeta", "beta", "gamma"] {
        world.organization(id).await;
    }
    let mut seen = Vec::new();
    loop {
        let page = Page { after: seen.last().cloned(), limit: 3 };
        let rows = world.store.organization_list(page).await.expect("a page");
        if rows.is_empty() {
            break;
        }
        assert!(rows.len() <= 3);
        seen.extend(rows.into_iter().map(|row| row.id));
    }
    assert_eq!(seen, ["acme", "beta", "gamma", "zeta"].map(organization));
}
