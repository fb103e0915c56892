//! An embedded installation is carried over whole, or not at all.

pub(crate) mod file;

mod shown;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cluster::Cluster;
use domain::{InstanceId, RequestId};
use libtest_mimic::{Failed, Trial};
use novacula_store::conformance::{CASES, Case};
use novacula_store::import::{Difference, ImportError, Imported, Progress, Step, import};
use novacula_store::postgres::PostgresStore;
use novacula_store::{ChangeFeed as _, EventQuery, Presence, ReplicaId, Store};
use uuid::Uuid;

use self::file::{File, OverFile, chain, fill, once_free};
use self::shown::Keys;
use crate::postgres;
use crate::world::{attempt_id, commit, enrolment, name, new_schema, options, organization, trial, uid};

pub(crate) fn trials() -> Vec<Trial> {
    let suite = CASES.iter().map(|case| {
        let name = format!("what_the_suite_writes_is_carried_over::{}", case.name);
        trial(&name, move |cluster| carried(cluster, case))
    });
    let trials = [
        trial("numbers_go_on_above_what_was_imported", numbers),
        trial("an_unfolded_log_is_carried_and_the_source_is_not_written", log),
        trial("a_column_that_is_not_carried_is_refused_by_name", columns),
        trial("a_schema_that_holds_something_is_refused_by_what", filled),
        trial("a_source_that_cannot_be_imported_says_why", sources),
        trial("a_value_that_postgres_cannot_keep_is_named", values),
        trial("a_failure_on_the_way_leaves_nothing_and_the_next_run_succeeds", failures),
        trial("a_row_that_changed_on_the_way_is_found", tampered),
    ];
    trials.into_iter().chain(suite).collect()
}

/// Imports a file into this schema.
async fn carry(cluster: &Cluster, path: &Path, schema: &str) -> Result<Imported, ImportError> {
    once_free(async || import(path, &options(cluster, schema), |_| {}).await).await
}

async fn serve(cluster: &Cluster, schema: &str) -> PostgresStore {
    postgres::serve(&options(cluster, schema)).await.expect("a store")
}

/// Both stores show the same, and nobody is connected to the new one.
async fn assert_same(file: &File, cluster: &Cluster, schema: &str, what: &str) {
    let keys = Keys::of(&file.path);
    let source = shown::all(&file.open().await, &keys).await;
    let target = serve(cluster, schema).await;
    assert_eq!(shown::all(&target, &keys).await, source, "{what}");
    let uids: Vec<_> = target.change_list_since(Default::default(), 100_000).await.expect("a list");
    let uids: Vec<_> = uids.iter().map(|change| change.executor).collect();
    let presence = novacula_store::SessionStore::presence_list(&target, &uids).await.expect("a list");
    assert!(!presence.iter().any(|Presence { connected, .. }| *connected), "{what}: {presence:?}");
}

/// The rows of all tables of a schema.
fn n_rows(cluster: &Cluster, schema: &str) -> u64 {
    let tables = format!("SELECT table_name FROM information_schema.tables WHERE table_schema = '{schema}'");
    let tables = cluster.sql(&tables).expect("tables");
    let tables = tables.lines().filter(|table| *table != "migrations");
    let counts = tables.map(|table| format!("SELECT count(*) AS n FROM {schema}.{table}"));
    let counts = counts.collect::<Vec<_>>().join(" UNION ALL ");
    let sum = cluster.sql(&format!("SELECT sum(n) FROM ({counts}) AS counts")).expect("a count");
    sum.parse().expect("a number")
}

/// What this case of the suite leaves is carried over.
async fn carried(cluster: Arc<Cluster>, case: &Case) -> Result<(), Failed> {
    let file = File::new();
    let subject = OverFile { store: Arc::new(file.open().await), clock: Arc::clone(&file.clock) };
    (case.run)(&subject).await;
    drop(subject);
    let schema = new_schema();
    let imported = carry(&cluster, &file.path, &schema).await.map_err(|error| chain(&error))?;
    let n_imported: u64 = imported.tables.iter().map(|(_, n_rows)| n_rows).sum();
    assert_eq!(n_rows(&cluster, &schema), n_imported);
    assert_same(&file, &cluster, &schema, case.name).await;
    Ok(())
}

async fn numbers(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let (file, schema) = (File::filled().await, new_schema());
    // The newest numbers belong to rows that are gone.
    file.sql("DELETE FROM events; UPDATE sqlite_sequence SET seq = 70 WHERE name = 'events'");
    file.sql("UPDATE counters SET value = 90 WHERE name = 'change'");
    let imported = carry(&cluster, &file.path, &schema).await?;
    assert_eq!((imported.change_number, imported.event_number), (90, 70));
    let store = serve(&cluster, &schema).await;
    let store: &dyn Store = &store;
    let row = store.executor_get(&name(1)).await?.expect("it is there");
    assert_eq!(row.generation.0, 41);
    let committed = store.executor_commit(commit(&row)).await?;
    assert!(committed.change.0 > 90, "{committed:?}");
    let query = EventQuery { organization: Some(organization()), limit: 10, ..EventQuery::default() };
    let events = store.event_list(&query).await?;
    assert_eq!(events.iter().map(|event| event.sequence).collect::<Vec<_>>(), [71]);
    let replica = ReplicaId(Uuid::from_u128(10));
    store.replica_renew(replica, Duration::from_secs(15)).await?;
    let opened = store.session_open_batch(replica, &[(uid(1), InstanceId::new(Uuid::from_u128(6)))]).await?;
    assert_eq!(opened[0].epoch.0, 3, "{opened:?}");
    // What was used, taken or asked before stays so.
    assert!(store.enrolment_commit(enrolment(7, name(7), "once")).await.is_err(), "a used join token is used");
    assert!(store.enrolment_commit(enrolment(8, name(2), "many")).await.is_err(), "a taken name is taken");
    store.enrolment_commit(enrolment(9, name(3), "unused")).await?;
    for id in ["made-it", "also"] {
        let id = RequestId::new(id)?;
        let found = store.attempt_list_by_request(&organization(), std::slice::from_ref(&id)).await?;
        assert_eq!(found.get(&id).map(|attempt| attempt.id), Some(attempt_id(1)), "{id:?}");
    }
    Ok(())
}

async fn log(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let (file, crashed, schema) = (File::new(), File::new(), new_schema());
    let store = file.open().await;
    fill(&store).await;
    // As the disk of a server that is killed now.
    for end in ["", "-wal"] {
        let of = |path: &Path| PathBuf::from(format!("{}{end}", path.display()));
        std::fs::copy(of(&file.path), of(&crashed.path))?;
    }
    drop(store);
    let before = std::fs::read(&crashed.path)?;
    carry(&cluster, &crashed.path, &schema).await?;
    assert!(std::fs::read(&crashed.path)? == before, "the file was written");
    assert_same(&file, &cluster, &schema, "the log").await;
    Ok(())
}

async fn columns(cluster: Arc<Cluster>) -> Result<(), Failed> {
    for (sql, named) in [
        ("ALTER TABLE tokens ADD COLUMN motto TEXT", "tokens.motto"),
        ("CREATE TABLE mottos (id TEXT)", "mottos.id"),
        ("ALTER TABLE nodes DROP COLUMN kernel_version", "lacks nodes.kernel_version"),
    ] {
        let (file, schema) = (File::filled().await, new_schema());
        file.sql(sql);
        let error = carry(&cluster, &file.path, &schema).await.expect_err("not carried");
        assert!(matches!(error, ImportError::Source { .. }) && chain(&error).contains(named), "{}", chain(&error));
    }
    for (sql, named) in [
        ("ALTER TABLE {}.tokens ADD COLUMN motto text", "tokens.motto"),
        ("CREATE TABLE {}.mottos (id text)", "mottos.id"),
        ("CREATE SEQUENCE {}.motto_numbers", "motto_numbers"),
        ("ALTER TABLE {}.nodes ALTER COLUMN name TYPE varchar", "nodes.name is of type character varying"),
    ] {
        let (file, schema) = (File::filled().await, new_schema());
        drop(serve(&cluster, &schema).await);
        cluster.sql(&sql.replace("{}", &schema))?;
        let error = carry(&cluster, &file.path, &schema).await.expect_err("it would stay empty");
        assert!(matches!(error, ImportError::Schema { .. }) && chain(&error).contains(named), "{}", chain(&error));
        assert_eq!(cluster.sql(&format!("SELECT count(*) FROM {schema}.tokens"))?, "0");
    }
    Ok(())
}

async fn filled(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let (file, schema) = (File::filled().await, new_schema());
    carry(&cluster, &file.path, &schema).await?;
    let before = n_rows(&cluster, &schema);
    let error = carry(&cluster, &file.path, &schema).await.expect_err("it was imported");
    let said = chain(&error);
    assert!(matches!(error, ImportError::Filled { .. }), "{said}");
    for word in [schema.as_str(), "organizations 1", "executors 3", "requests 2", "--database-schema"] {
        assert!(said.contains(word), "{word} is not in {said}");
    }
    assert_eq!(n_rows(&cluster, &schema), before);
    Ok(())
}

async fn sources(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let schema = new_schema();
    let refused = async |path: &Path| chain(&carry(&cluster, path, &schema).await.expect_err("refused"));
    let file = File::filled().await;
    let held = file.open().await;
    let said = refused(&file.path).await;
    assert!(said.contains(&format!("process {}", std::process::id())) && said.contains("stop it first"), "{said}");
    drop(held);
    let nowhere = file.path.with_file_name("nowhere.db");
    let said = refused(&nowhere).await;
    assert!(said.contains("nowhere.db") && said.contains("no embedded store"), "{said}");
    assert_eq!(std::fs::read_dir(nowhere.parent().expect("a folder"))?.filter(is_of("nowhere")).count(), 0);
    let foreign = File::new();
    foreign.sql("CREATE TABLE theirs (a)");
    let said = refused(&foreign.path).await;
    assert!(said.contains("not one of Novacula"), "{said}");
    let old = File::filled().await;
    old.sql("DROP TABLE request_aliases; DELETE FROM migrations WHERE version > 1");
    let said = refused(&old.path).await;
    assert!(said.contains("novacula-server migrate") && said.contains("taken 1 of"), "{said}");
    let new = File::filled().await;
    new.sql("INSERT INTO migrations VALUES (1000, '1000-tomorrow', 'x', '99.0.0', 0)");
    let said = refused(&new.path).await;
    assert!(said.contains("1000-tomorrow") && said.contains("99.0.0"), "{said}");
    // Nobody had to connect to say so.
    assert_eq!(cluster.sql(&format!("SELECT to_regnamespace('{schema}') IS NULL"))?, "t");
    Ok(())
}

fn is_of(stem: &'static str) -> impl Fn(&std::io::Result<std::fs::DirEntry>) -> bool {
    move |entry| entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with(stem))
}

async fn values(cluster: Arc<Cluster>) -> Result<(), Failed> {
    for (sql, named) in [
        ("UPDATE organizations SET display_name = 'a' || char(0) || 'b'", "display_name of organizations acme"),
        ("UPDATE executors SET pending = 'X' WHERE pending IS NOT NULL", "pending of executors 0"),
        ("UPDATE join_tokens SET secret_sha256 = 'zz' WHERE id = 'once'", "secret_sha256 of join_tokens once"),
        ("UPDATE events SET details = '{' WHERE sequence = 2", "details of events 2"),
    ] {
        let (file, schema) = (File::filled().await, new_schema());
        file.sql(sql);
        let error = carry(&cluster, &file.path, &schema).await.expect_err("it cannot be kept");
        assert!(chain(&error).contains(named), "{named}: {}", chain(&error));
        assert_eq!(n_rows(&cluster, &schema), 0, "{named}");
    }
    Ok(())
}

async fn failures(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let file = File::filled().await;
    let schema = new_schema();
    drop(serve(&cluster, &schema).await);
    cluster.sql(&format!("ALTER TABLE {schema}.events ADD CONSTRAINT injected CHECK (sequence < 3)"))?;
    let error = carry(&cluster, &file.path, &schema).await.expect_err("a row is refused");
    assert!(matches!(error, ImportError::Target { step: "copy", what: "events", .. }), "{}", chain(&error));
    assert_eq!(n_rows(&cluster, &schema), 0);
    cluster.sql(&format!("ALTER TABLE {schema}.events DROP CONSTRAINT injected"))?;
    // The connection is cut, at both steps, with all before it done.
    for (step, table) in [(Step::Copy, "organizations"), (Step::Copy, "attempts"), (Step::Check, "events")] {
        let cut = |progress: Progress| {
            if (progress.step, progress.table) == (step, table) {
                let locks = format!("SELECT pid FROM pg_locks WHERE relation = '{schema}.tokens'::regclass");
                let cut = cluster.sql(&format!("SELECT pg_terminate_backend(pid) FROM ({locks}) AS importers LIMIT 1"));
                assert_eq!(cut.expect("cut"), "t");
            }
        };
        let run = once_free(async || import(&file.path, &options(&cluster, &schema), &cut).await);
        let error = run.await.expect_err("cut");
        assert!(matches!(error, ImportError::Target { .. }), "{step:?} {table}: {}", chain(&error));
        assert_eq!(n_rows(&cluster, &schema), 0, "{step:?} {table}");
    }
    carry(&cluster, &file.path, &schema).await?;
    assert_same(&file, &cluster, &schema, "the last run").await;
    Ok(())
}

/// Something in the database writes other rows than it was given.
async fn tampered(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let file = File::filled().await;
    let one = uid(1).to_string();
    let cases = [
        (
            "attempts",
            "NEW.phase := 'ended'; RETURN NEW;",
            Difference::Column { table: "attempts", key: attempt_id(1).to_string(), column: "phase" },
        ),
        (
            "executors",
            "NEW.labels := '{\"a\": \"x\"}'; RETURN NEW;",
            Difference::Column { table: "executors", key: one.clone(), column: "labels" },
        ),
        (
            "sessions",
            "NEW.end_time := NEW.end_time + interval '1 microsecond'; RETURN NEW;",
            Difference::Column { table: "sessions", key: format!("{one}/1"), column: "end_time" },
        ),
        (
            "requests",
            "IF NEW.request_id = 'made-it' THEN RETURN NULL; END IF; RETURN NEW;",
            Difference::Lacks { table: "requests", key: "acme/made-it".to_owned() },
        ),
        (
            "events",
            "IF NEW.sequence = 2 THEN RETURN NULL; END IF; RETURN NEW;",
            Difference::Row { table: "events", found: "3".to_owned(), wanted: "2".to_owned() },
        ),
        (
            "events",
            "IF NEW.sequence = 1 THEN INSERT INTO {schema}.releases VALUES \
             ('agent-9.9.9', 'agent', 1, 'stable', 'draft', '', NULL, NULL, '[]', now(), NULL, NULL); END IF; RETURN NEW;",
            Difference::More { table: "releases", key: "agent-9.9.9".to_owned() },
        ),
    ];
    for (table, body, wanted) in cases {
        let schema = new_schema();
        drop(serve(&cluster, &schema).await);
        let body = body.replace("{schema}", &schema);
        cluster.sql(&format!(
            "CREATE FUNCTION {schema}.tamper() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$; \
             CREATE TRIGGER tamper BEFORE INSERT ON {schema}.{table} FOR EACH ROW EXECUTE FUNCTION {schema}.tamper()"
        ))?;
        let error = carry(&cluster, &file.path, &schema).await.expect_err("it was tampered with");
        assert!(matches!(&error, ImportError::Different(found) if *found == wanted), "{wanted}: {}", chain(&error));
        assert_eq!(n_rows(&cluster, &schema), 0);
    }
    Ok(())
}
