//! The schema and its steps.

use std::process::Command;
use std::sync::Arc;

use cluster::Cluster;
use libtest_mimic::{Failed, Trial};
use novacula_store::StoreClock as _;
use novacula_store::postgres::OpenError;

use crate::postgres;
use crate::world::{new_schema, options, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("replicas_that_start_at_once_make_one_schema", at_once),
        trial("a_fresh_schema_equals_a_migrated_one", fresh_equals_migrated),
        trial("a_strangers_schema_is_refused", strangers),
        trial("a_schema_from_the_future_is_refused_by_name", future),
        trial("a_step_that_this_build_can_live_with_is_no_obstacle", next_release),
        trial("an_edited_step_is_refused", edited),
        trial("a_reader_without_rights_to_create_may_run", without_create),
    ]
}

async fn at_once(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let schema = new_schema();
    let mut opening = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let options = options(&cluster, &schema);
        opening.spawn(async move { postgres::serve(&options).await });
    }
    let mut stores = Vec::new();
    while let Some(opened) = opening.join_next().await {
        stores.push(opened??);
    }
    assert_eq!(cluster.sql(&format!("SELECT count(*) FROM {schema}.migrations WHERE version = 1"))?, "1");
    Ok(())
}

/// What the first release made, and nothing since.
const FIRST: &str = include_str!("../../migrations/postgres/0001-initial.sql");

async fn fresh_equals_migrated(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let (fresh, migrated) = (new_schema(), new_schema());
    drop(postgres::serve(&options(&cluster, &fresh)).await?);
    cluster.sql(&format!("CREATE SCHEMA {migrated}"))?;
    cluster.sql(&FIRST.replace("novacula", &migrated))?;
    cluster.sql(&format!(
        "CREATE TABLE {migrated}.migrations (LIKE {fresh}.migrations INCLUDING ALL);
         INSERT INTO {migrated}.migrations SELECT * FROM {fresh}.migrations WHERE version = 1"
    ))?;
    assert_ne!(dump(&cluster, &migrated)?, dump(&cluster, &fresh)?, "there is a step to take");
    drop(postgres::serve(&options(&cluster, &migrated)).await?);
    assert_eq!(dump(&cluster, &migrated)?, dump(&cluster, &fresh)?);
    let history = |schema: &str| {
        cluster.sql(&format!("SELECT version, name, sha256, oldest_build FROM {schema}.migrations ORDER BY version"))
    };
    assert_eq!(history(&migrated)?, history(&fresh)?);
    Ok(())
}

/// A schema as SQL, under a name that says nothing.
fn dump(cluster: &Cluster, schema: &str) -> Result<String, Failed> {
    let program = cluster::programs().ok_or("PostgreSQL is not installed")?.join("pg_dump");
    let mut command = Command::new(program);
    command.args(["--schema-only", "--no-owner", "--schema", schema, "--dbname", &cluster.socket_url()]);
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let text = String::from_utf8(output.stdout)?;
    // Newer versions frame a dump with a word of its own.
    let lines = text.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
    Ok(lines.map(|line| line.replace(schema, "schema")).collect::<Vec<_>>().join("\n"))
}

async fn refusal(cluster: &Cluster, schema: &str) -> String {
    let error = postgres::serve(&options(cluster, schema)).await.expect_err("refused");
    assert!(matches!(error, OpenError::Schema { .. }) && error.is_configuration(), "{error:?}");
    std::error::Error::source(&error).expect("why").to_string()
}

async fn strangers(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let schema = new_schema();
    cluster.sql(&format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.theirs (a text)"))?;
    let said = refusal(&cluster, &schema).await;
    assert!(said.contains("not Novacula's"), "{said}");
    let left = format!("SELECT count(*) FROM pg_class WHERE relnamespace = '{schema}'::regnamespace AND relkind = 'r'");
    assert_eq!(cluster.sql(&left)?, "1", "nothing was written into it");
    Ok(())
}

async fn with_step(cluster: &Cluster, oldest_build: &str) -> Result<String, Failed> {
    let schema = new_schema();
    drop(postgres::serve(&options(cluster, &schema)).await?);
    cluster.sql(&format!(
        "INSERT INTO {schema}.migrations (version, name, sha256, build, oldest_build, apply_time) \
         VALUES (1000, '1000-tomorrow', 'x', '99.1.0', '{oldest_build}', now())"
    ))?;
    Ok(schema)
}

async fn future(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let schema = with_step(&cluster, "99.0.0").await?;
    let said = refusal(&cluster, &schema).await;
    assert!(said.contains("1000-tomorrow") && said.contains("99.1.0") && said.contains("99.0.0"), "{said}");
    Ok(())
}

async fn next_release(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let schema = with_step(&cluster, "1.0.0").await?;
    postgres::serve(&options(&cluster, &schema)).await?.store_now().await?;
    Ok(())
}

async fn edited(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let schema = new_schema();
    drop(postgres::serve(&options(&cluster, &schema)).await?);
    cluster.sql(&format!("UPDATE {schema}.migrations SET sha256 = 'other'"))?;
    let said = refusal(&cluster, &schema).await;
    assert!(said.contains("0001-initial"), "{said}");
    Ok(())
}

async fn without_create(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let schema = new_schema();
    drop(postgres::serve(&options(&cluster, &schema)).await?);
    cluster.sql(&format!(
        "CREATE ROLE runner LOGIN; GRANT USAGE ON SCHEMA {schema} TO runner; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO runner; \
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO runner"
    ))?;
    let url = cluster.socket_url().replace(&format!("{}@", cluster::USER), "runner@");
    let options = novacula_store::postgres::Options::new(&url)?.with_schema(&schema)?;
    postgres::serve(&options).await?.store_now().await?;
    Ok(())
}
