//! The pull secrets of the namespace, read anew for each look: whoever rotates a password does not restart the operator.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use super::credentials::{self, Keyring};

/// Why a pull secret was passed over, as the kubelet passes it over. For people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pull secret {name:?} is not used: {why}")]
pub struct PassedOver {
    /// Which.
    pub name: String,
    /// Why.
    pub why: String,
}

/// The credentials of the named Secrets, in their order, and those that gave none.
pub async fn keyring(client: &Client, namespace: &str, names: &[String]) -> (Keyring, Vec<PassedOver>) {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let (mut keyring, mut passed_over) = (Keyring::default(), Vec::new());
    for name in names {
        let added = match api.get(name).await {
            Ok(secret) => add(&mut keyring, secret).map_err(|error| error.to_string()),
            Err(kube::Error::Api(status)) if status.code == 404 => {
                Err(format!("there is none in namespace {namespace}"))
            }
            Err(kube::Error::Api(status)) if status.code == 403 => Err(format!(
                "the cluster does not allow this operator to get it; name it in a Role with get on secrets: {}",
                status.message
            )),
            Err(error) => Err(executor_sdk::report::chain(&error)),
        };
        if let Err(why) = added {
            passed_over.push(PassedOver { name: name.clone(), why });
        }
    }
    (keyring, passed_over)
}

fn add(keyring: &mut Keyring, secret: Secret) -> Result<(), credentials::Error> {
    let data = secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, zeroize::Zeroizing::new(value.0)));
    keyring.add(&secret.type_.unwrap_or_default(), &data.collect())
}
