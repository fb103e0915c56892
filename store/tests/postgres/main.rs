//! What only the shared store promises: how it is reached, its schema, and several processes over one database. All of it
//! against a real PostgreSQL.

#[path = "../support/postgres.rs"]
mod postgres;

mod conflict;

mod doubt;

mod feed;

mod import;

mod outage;

mod plan;

mod pooler;

mod race;

mod reach;

mod schema;

mod world;

use libtest_mimic::Arguments;

fn main() {
    let arguments = Arguments::from_args();
    let trials = [
        reach::trials(),
        schema::trials(),
        feed::trials(),
        race::trials(),
        outage::trials(),
        doubt::trials(),
        conflict::trials(),
        pooler::trials(),
        plan::trials(),
        import::trials(),
    ];
    let conclusion = libtest_mimic::run(&arguments, trials.into_iter().flatten().collect());
    postgres::stop();
    conclusion.exit();
}
