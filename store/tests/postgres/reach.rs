//! How the database is reached, and what is said when it is not.

use std::error::Error as _;
use std::sync::Arc;

use cluster::{Cluster, DATABASE, PASSWORD, USER};
use libtest_mimic::{Failed, Trial};
use novacula_store::StoreClock as _;
use novacula_store::postgres::{OpenError, Options, PostgresStore};

use crate::postgres;
use crate::world::{new_schema, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("tls_with_names_checked_and_scram_opens", tls),
        trial("a_client_certificate_is_shown", client_certificate),
        trial("a_foreign_authority_or_name_is_refused", foreign),
        trial("what_an_operator_can_mend_is_said_in_one_sentence", sentences),
        trial("the_first_host_that_takes_writes_is_used", several_hosts),
    ]
}

async fn open(url: &str) -> Result<PostgresStore, OpenError> {
    let options = Options::new(url).expect("a URL").with_schema(&new_schema()).expect("a name");
    postgres::serve(&options).await
}

async fn tls(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let store = open(&cluster.tls_url()).await?;
    store.store_now().await?;
    let sql = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND version = 'TLSv1.3'";
    assert_ne!(cluster.sql(sql)?, "0", "the sessions are encrypted");
    Ok(())
}

async fn client_certificate(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let (certificate, key) = cluster.client_certificate();
    let url = format!("{}&sslcert={}&sslkey={}", cluster.tls_url(), certificate.display(), key.display());
    let store = open(&url).await?;
    store.store_now().await?;
    let shown = cluster.sql("SELECT DISTINCT client_dn FROM pg_stat_ssl WHERE client_dn IS NOT NULL")?;
    assert!(shown.contains(USER), "{shown}");
    Ok(())
}

/// All that an error says, down to its first cause.
fn chain(error: &OpenError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

async fn refused(url: &str) -> OpenError {
    let error = open(url).await.expect_err("refused");
    let said = chain(&error);
    assert!(!said.contains(PASSWORD), "{said}");
    error
}

async fn foreign(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let (certificate, _) = cluster.client_certificate();
    let roots = cluster.root_certificate();
    // A certificate that signed nothing, in the place of the authority.
    let url = cluster.tls_url().replace(&roots.display().to_string(), &certificate.display().to_string());
    let error = refused(&url).await;
    assert!(chain(&error).contains("certificate"), "{}", chain(&error));
    // The right authority, for another name.
    let url = cluster.tls_url().replace("localhost", "127.0.0.1");
    let error = refused(&url).await;
    assert!(chain(&error).contains("not valid for name"), "{}", chain(&error));
    open(&url.replace("verify-full", "verify-ca")).await?;
    Ok(())
}

async fn sentences(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let tls = cluster.tls_url();
    let error = refused(&tls.replace(PASSWORD, "wrong")).await;
    assert!(matches!(error, OpenError::Refused { .. }) && error.is_configuration(), "{}", chain(&error));
    let error = refused(&tls.replace(&format!("/{DATABASE}?"), "/nowhere?")).await;
    assert!(matches!(error, OpenError::NoDatabase { .. }) && error.to_string().contains("nowhere"), "{error}");
    let error = refused(&tls.replace(&cluster.port().to_string(), "1")).await;
    assert!(matches!(error, OpenError::Unreachable { .. }) && !error.is_configuration(), "{}", chain(&error));
    let error = refused(&tls.replace("root.pem", "nothing.pem")).await;
    assert!(matches!(error, OpenError::Tls(_)) && chain(&error).contains("nothing.pem"), "{}", chain(&error));
    cluster.sql("CREATE ROLE looker LOGIN")?;
    let socket = cluster.socket_url().replace(&format!("{USER}@"), "looker@");
    let error = refused(&socket).await;
    assert!(matches!(error, OpenError::Rights { .. }) && error.to_string().contains("looker"), "{}", chain(&error));
    Ok(())
}

async fn several_hosts(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let port = cluster.port();
    let url = cluster.tls_url();
    let url = url.replace(&format!("localhost:{port}"), &format!("localhost:1,localhost:{port}"));
    let store = open(&format!("{url}&target_session_attrs=read-write")).await?;
    store.store_now().await?;
    Ok(())
}
