//! Certificates for a throw-away PostgreSQL.

use std::fs;
use std::io;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

/// Why there are none.
#[derive(Debug)]
pub(crate) enum Error {
    Made(rcgen::Error),
    Written(io::Error),
}

impl From<rcgen::Error> for Error {
    fn from(error: rcgen::Error) -> Self {
        Self::Made(error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Written(error)
    }
}

/// Writes an authority, a server's certificate for `localhost`, and a client's for the user.
pub(crate) fn write(folder: &Path) -> Result<(), Error> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "a database's authority");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    fs::write(folder.join("root.pem"), authority.pem())?;
    for (name, common_name, names) in
        [("server", "localhost", vec!["localhost".to_owned()]), ("client", crate::USER, Vec::new())]
    {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, common_name);
        let leaf = params.signed_by(&key, &authority)?;
        fs::write(folder.join(format!("{name}.pem")), leaf.pem())?;
        fs::write(folder.join(format!("{name}.key")), key.serialize_pem())?;
    }
    Ok(())
}
