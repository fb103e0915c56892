//! Signing in by an identity provider: OpenID Connect Core 1.0, authorization code flow with PKCE (RFC 7636). A file says which
//! provider, and which of its claims is which role here. What a token is worth is judged purely in [`token`].
//!
//! ```toml
//! issuer = "https://id.example.com"
//! client_id = "novacula"
//! client_secret_file = "oidc-client-secret"       # none: a public client, by PKCE alone
//! redirect_uri = "https://novacula.example.com:7443/signin/oidc/callback"
//! ca_file = "id-ca.pem"                           # none: the system's authorities
//! scopes = ["openid", "profile", "email", "groups"]
//! name = "Example ID"                             # on the button
//!
//! [[role]]                                        # the first that fits counts; none fits: nobody gets in
//! claim = "groups"
//! value = "sre"
//! role = "admin"
//! organization = "acme"
//! ```

pub mod token;

pub mod provider;

use std::fs;
use std::path::Path;

use domain::{OrganizationId, Role};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::clusters::keys;
use provider::{Client, Provider};

/// What is asked for when the file does not say.
const SCOPES: [&str; 3] = ["openid", "profile", "email"];

/// Longest setting, in bytes.
const MAX: usize = 512;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    issuer: String,
    client_id: String,
    client_secret_file: Option<String>,
    redirect_uri: String,
    ca_file: Option<String>,
    scopes: Option<Vec<String>>,
    name: Option<String>,
    #[serde(default)]
    role: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    claim: String,
    value: String,
    role: String,
    organization: Option<String>,
}

/// Whoever has this claim gets this role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The claim: a text, or a list of texts.
    pub claim: String,
    /// What it has to be, or hold.
    pub value: String,
    /// Who they are here.
    pub role: Role,
}

/// Reads the file. Paths in it are relative to its own folder. Blocks on the disk.
///
/// # Errors
/// Every mistake, one sentence each.
pub fn read(path: &Path) -> Result<Provider, Vec<String>> {
    let at = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let text = fs::read_to_string(path).map_err(|error| vec![at(&error)])?;
    let file: File = toml::from_str(&text).map_err(|error| vec![at(&error.to_string().trim())])?;
    let mut mistakes = Vec::new();
    let made = judge(&file, path.parent().unwrap_or(Path::new("")), &mut |why| mistakes.push(at(&why)));
    made.filter(|_| mistakes.is_empty()).ok_or(mistakes)
}

fn judge(file: &File, folder: &Path, wrong: &mut dyn FnMut(String)) -> Option<Provider> {
    for (setting, value) in [("client_id", &file.client_id), ("issuer", &file.issuer)] {
        if value.is_empty() || value.len() > MAX || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            wrong(format!("{setting} is not 1 to {MAX} printable characters without a space"));
        }
    }
    let issuer =
        provider::https(&file.issuer).ok_or_else(|| wrong(format!("issuer {:?} is not an https URL", file.issuer)));
    let redirect = provider::https(&file.redirect_uri).filter(|url| url.path() == provider::CALLBACK);
    if redirect.is_none() {
        let form = provider::CALLBACK;
        wrong(format!("redirect_uri {:?} is not https://<this control plane>{form}", file.redirect_uri));
    }
    let scopes = file.scopes.clone().unwrap_or_else(|| SCOPES.map(str::to_owned).to_vec());
    if !scopes.iter().any(|scope| scope == "openid") {
        wrong("scopes lacks \"openid\"".to_owned());
    }
    if file.role.is_empty() {
        wrong("there is no [[role]]: nobody could sign in".to_owned());
    }
    let roles = file.role.iter().enumerate().filter_map(|(n, row)| row.judged(n + 1, wrong)).collect();
    let secret = file.client_secret_file.as_ref().map(|name| secret(&folder.join(name)));
    let secret = secret.transpose().map_err(|why| wrong(format!("client_secret_file: {why}")));
    let authority = file.ca_file.as_ref().map(|name| folder.join(name));
    let client = keys::client(authority.as_deref()).map_err(|why| wrong(format!("ca_file: {why}")));
    Some(Provider::new(
        Client {
            issuer: file.issuer.clone(),
            client_id: file.client_id.clone(),
            client_secret: secret.ok()?,
            redirect_uri: redirect?,
            scopes,
            name: file.name.clone().unwrap_or_else(|| "single sign-on".to_owned()),
            roles,
        },
        issuer.ok()?,
        client.ok()?,
    ))
}

fn secret(path: &Path) -> Result<Zeroizing<String>, String> {
    let text = fs::read_to_string(path).map(Zeroizing::new).map_err(|error| format!("{}: {error}", path.display()))?;
    let trimmed = text.trim();
    if trimmed.is_empty() || trimmed.len() > MAX {
        return Err(format!("{} is not 1 to {MAX} bytes", path.display()));
    }
    Ok(Zeroizing::new(trimmed.to_owned()))
}

impl Row {
    fn judged(&self, n: usize, wrong: &mut dyn FnMut(String)) -> Option<Mapping> {
        if self.claim.is_empty() || self.value.is_empty() {
            wrong(format!("role {n}: claim and value may not be empty"));
        }
        let organization = self.organization.as_deref().map(OrganizationId::new).transpose();
        let organization = organization.map_err(|error| wrong(format!("role {n}: organization: {error}"))).ok()?;
        let role = Role::parse(&self.role, organization);
        if role.is_none() {
            wrong(format!(
                "role {n}: {:?} is none of owner, admin, member (with organization), publisher, installation_admin (without)",
                self.role
            ));
        }
        Some(Mapping { claim: self.claim.clone(), value: self.value.clone(), role: role? })
    }
}

#[cfg(test)]
mod tests;
