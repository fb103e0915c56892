//! How a cluster is made: its files, its certificates, its settings, and who may connect.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::{Cluster, Durability, Error, PASSWORD, USER, certificates, finished};

impl Cluster {
    /// Its folder, as PostgreSQL and the tests want it.
    pub(crate) fn create(&self, durability: Durability) -> Result<(), Error> {
        let data = self.data();
        let io = |what| move |error| Error::Io(what, error);
        // Others pass through to the socket; PostgreSQL's user keeps its files in it.
        fs::set_permissions(self.folder.path(), Permissions::from_mode(0o755)).map_err(io("open the folder"))?;
        self.give(self.folder.path())?;
        let password = self.folder.path().join("password");
        fs::write(&password, PASSWORD).map_err(io("write the password"))?;
        self.give(&password)?;
        let mut initdb = Command::new("timeout");
        initdb.arg("120");
        self.as_account(&mut initdb).arg(self.programs.join("initdb")).arg("-D").arg(&data);
        initdb.args(["-U", USER, "--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync", "-E", "UTF8"]);
        // Not C: names have to compare by byte whatever the locale is.
        initdb.args(["--locale-provider=icu", "--icu-locale=en-US", "--locale=C.UTF-8"]);
        initdb.arg(format!("--pwfile={}", password.display()));
        if self.disk.is_some() {
            // Of 16 MiB there would be room for few.
            initdb.arg("--wal-segsize=1");
        }
        finished("initdb", initdb.output())?;
        certificates::write(self.folder.path()).map_err(|error| match error {
            certificates::Error::Made(error) => Error::Certificates(error),
            certificates::Error::Written(error) => Error::Io("write certificates", error),
        })?;
        for name in ["server.pem", "server.key"] {
            let path = self.folder.path().join(name);
            fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(io("close the key"))?;
            self.give(&path)?;
        }
        let data = self.seen(&data);
        let configuration = data.join("postgresql.auto.conf");
        fs::write(&configuration, self.configuration(durability)).map_err(io("write the configuration"))?;
        let rules =
            "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\nhostssl all all ::1/128 scram-sha-256\n";
        fs::write(data.join("pg_hba.conf"), rules).map_err(io("write the rules of access"))
    }

    fn configuration(&self, durability: Durability) -> String {
        let folder = self.folder.path().display();
        let fast = match durability {
            Durability::On => "",
            Durability::Off => "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n",
        };
        format!(
            "listen_addresses = 'localhost'\nport = {}\nunix_socket_directories = '{folder}'\nmax_connections = 300\n\
             ssl = on\nssl_cert_file = '{folder}/server.pem'\nssl_key_file = '{folder}/server.key'\n\
             ssl_ca_file = '{folder}/root.pem'\nshared_buffers = 64MB\nlog_min_messages = warning\n{fast}",
            self.port
        )
    }
}
