//! What the files hold that a configuration names: a key that is not its certificate's is a mistake of the configuration,
//! and told before anything is bound or written, like any other.

use std::error::Error;
use std::fs;

use crate::app::minisign::ReleaseKey;
use crate::clusters::Clusters;
use crate::config::Config;
use crate::observe;
use crate::oidc;
use crate::tls::authority::{Authority, Source};
use crate::tls::config::read_given;

/// Each names setting, file and rule.
pub(super) fn mistakes(config: &Config) -> Vec<String> {
    let mut mistakes = Vec::new();
    let mut note = |setting: &str, error: &(dyn Error + 'static)| {
        mistakes.push(format!("{setting}: {}", observe::chain(error)));
    };
    if let Some(given) = &config.server_certificate
        && let Err(error) = read_given(&given.certificate, &given.key)
    {
        note("tls_certificate", &error);
    }
    if let Source::Given(files) | Source::Store { first: Some(files), .. } = &config.authority
        && let Err(error) = Authority::given(files, &config.trust_domain)
    {
        note("authority_certificate", &error);
    }
    if let Source::Store { keys, .. } = &config.authority
        && let Err(error) = keys.read()
    {
        note("authority_encryption_key_file", &error);
    }
    if let Some(path) = &config.trusted_clusters
        && let Err(wrong) = Clusters::read(path)
    {
        mistakes.extend(wrong.into_iter().map(|wrong| format!("trusted_clusters: {wrong}")));
    }
    if let Some(path) = &config.oidc
        && let Err(wrong) = oidc::read(path)
    {
        mistakes.extend(wrong.into_iter().map(|wrong| format!("oidc: {wrong}")));
    }
    if let Some(path) = &config.release_keys {
        match fs::read_to_string(path) {
            Ok(text) => {
                if let Err(error) = ReleaseKey::parse_all(&text) {
                    mistakes.push(format!("release_keys: {}: {}", path.display(), observe::chain(&error)));
                }
            }
            Err(error) => mistakes.push(format!("release_keys: {}: {error}", path.display())),
        }
    }
    mistakes
}
