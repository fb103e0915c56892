//! The SDK over real sockets and real TLS: enrolment, downloads under attack, and the loop against a control plane in hand.

#[path = "network/authority.rs"]
mod authority;
#[path = "network/control_plane.rs"]
mod control_plane;
#[path = "network/downloads.rs"]
mod downloads;
#[path = "network/driving.rs"]
mod driving;
#[path = "network/enrolment.rs"]
mod enrolment;
#[path = "network/example.rs"]
mod example;
#[path = "network/offers.rs"]
mod offers;
#[path = "network/scene.rs"]
mod scene;
#[path = "network/waits.rs"]
mod waits;
#[path = "network/web.rs"]
mod web;
