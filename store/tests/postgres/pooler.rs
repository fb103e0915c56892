//! Through PgBouncer in transaction mode, where each transaction may run in another session; only LISTEN goes past it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use cluster::{Cluster, DATABASE, USER};
use libtest_mimic::{Failed, Trial};
use novacula_store::import::import;
use novacula_store::postgres::Options;
use novacula_store::{ChangeFeed as _, ExecutorStore as _};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::import::file::{File, once_free};
use crate::postgres;
use crate::world::{SOON, commit, enrol, executor, new_schema, prepare, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("everything_but_listen_goes_through_a_transaction_pooler", pooled)]
}

/// PgBouncer; gone when dropped.
struct Pooler {
    child: Child,
    folder: TempDir,
    port: u16,
}

impl Pooler {
    fn start(cluster: &Cluster) -> Result<Self, Failed> {
        let folder = tempfile::Builder::new().prefix("novacula-pgbouncer-").tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777))?;
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let path = folder.path().display();
        let socket = cluster.socket_folder().display().to_string();
        let configuration = format!(
            "[databases]\n{DATABASE} = host={socket} port={} user={USER}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir = {path}\nauth_type = trust\nauth_file = {path}/users\n\
             pool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 50\n",
            cluster.port()
        );
        fs::write(folder.path().join("pgbouncer.ini"), configuration)?;
        fs::write(folder.path().join("users"), format!("\"{USER}\" \"\"\n"))?;
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", "600"]);
        if rustix::process::geteuid().is_root() {
            command.args(["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]);
        }
        let log = fs::File::create(folder.path().join("log"))?;
        command.arg(program()).arg(folder.path().join("pgbouncer.ini"));
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        Ok(Self { child, folder, port })
    }

    fn url(&self) -> String {
        let folder = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://{USER}@{folder}:{}/{DATABASE}", self.port)
    }
}

/// Debian keeps it where an ordinary user's PATH does not look.
fn program() -> &'static str {
    const DEBIAN: &str = "/usr/sbin/pgbouncer";
    if Path::new(DEBIAN).is_file() { DEBIAN } else { "pgbouncer" }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // `timeout` hands SIGTERM on; SIGKILL it could not.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

async fn pooled(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let found = Command::new(program()).arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        return Err("PgBouncer is missing: apt-get install pgbouncer".into());
    }
    let pooler = Pooler::start(&cluster)?;
    let socket = pooler.folder.path().join(format!(".s.PGSQL.{}", pooler.port));
    timeout(SOON, async {
        while !socket.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await?;
    let options = Options::new(&pooler.url())?.with_listen_url(&cluster.socket_url())?;
    let options = options.with_schema(&new_schema())?.with_pool_size(8)?;
    let (one, two) = (postgres::serve(&options).await?, postgres::serve(&options).await?);
    prepare(&one).await;
    let mut there = two.change_subscribe();
    // More clients than sessions behind the pooler: what hung on a session would break.
    let mut working = JoinSet::new();
    for n in 0..8 {
        let store = if n % 2 == 0 { one.clone() } else { two.clone() };
        working.spawn(async move {
            enrol(&store, n).await;
            for _ in 0..10 {
                let row = executor(&store, n).await;
                store.executor_commit(commit(&row)).await.expect("a commit");
            }
        });
    }
    working.join_all().await;
    let row = executor(&one, 1).await;
    let committed = one.executor_commit(commit(&row)).await?;
    timeout(SOON, async { while there.recv().await.expect("open").number < committed.change {} }).await?;
    let file = File::filled().await;
    for _ in 0..2 {
        let options = options.clone().with_schema(&new_schema())?;
        once_free(async || import(&file.path, &options, |_| {}).await).await?;
    }
    Ok(())
}
