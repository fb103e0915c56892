//! Lines to copy into a shell, with the secret in them. Pure.
//!
//! `printf` is the shell's own, so that no process list shows the secret.

use proto::v1;
use proto::v1::artifact::Artifact as Delivered;
use proto::v1::release::Status;

/// Where the newest published operator is, or what stands for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Without tag or digest.
    pub repository: String,
    /// `sha256:…`.
    pub digest: String,
    /// Whether the catalog has one.
    pub is_known: bool,
}

/// The image of the newest published stable release, of operators, newest first.
#[must_use]
pub fn image(releases: &[v1::Release]) -> Image {
    let offered = releases
        .iter()
        .filter(|release| release.status() == Status::Published && release.channel() == v1::Channel::Stable);
    let mut images = offered.flat_map(|release| &release.artifacts).filter_map(|artifact| match &artifact.artifact {
        Some(Delivered::Operator(operator)) => Some(operator),
        Some(Delivered::Agent(_)) | None => None,
    });
    match images.next() {
        Some(operator) => Image { repository: operator.image.clone(), digest: operator.digest.clone(), is_known: true },
        None => Image {
            repository: "registry.example/novacula/operator".to_owned(),
            digest: "sha256:…".to_owned(),
            is_known: false,
        },
    }
}

/// What a host runs as root, beside the agent's binary.
#[must_use]
pub fn agent(secret: &str) -> String {
    let secret = quoted(secret);
    format!(
        "(umask 077 && printf '%s\\n' {secret} > join-token)\n\
         ./novacula-agent install --no-start && /opt/novacula/bin/novacula-agent enroll --join-token-file join-token \
         && rm join-token && systemctl start novacula-agent"
    )
}

/// What installs the operator in a cluster.
#[must_use]
pub fn helm(secret: &str, image: &Image) -> String {
    let secret = quoted(secret);
    let Image { repository, digest, .. } = image;
    format!(
        "kubectl create namespace novacula-system\n\
         kubectl label namespace novacula-system pod-security.kubernetes.io/enforce=restricted\n\
         printf '%s' {secret} | kubectl -n novacula-system create secret generic novacula-join-token --from-file=token=/dev/stdin\n\
         helm install novacula-operator deploy/helm/novacula-operator -n novacula-system \
         --set image.repository={repository} --set image.digest={digest} --set joinToken.existingSecret=novacula-join-token"
    )
}

/// What signs the command line in.
#[must_use]
pub fn login(secret: &str, host: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    let host = if !host.is_empty() && host.bytes().all(plain) { host } else { "control.example:7443" };
    let secret = quoted(secret);
    format!(
        "(umask 077 && printf '%s\\n' {secret} > novacula.token)\n\
         novacula login --server https://{host} --ca ca.pem --token-file novacula.token"
    )
}

/// One word to a shell, whatever is in it.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operator(version: &str, status: Status, channel: v1::Channel) -> v1::Release {
        let image = v1::OperatorArtifact { image: format!("r.example/{version}"), digest: "sha256:00".to_owned() };
        v1::Release {
            status: status.into(),
            channel: channel.into(),
            artifacts: vec![v1::Artifact {
                artifact: Some(Delivered::Operator(image)),
                minisign_signatures: Vec::new(),
            }],
            ..v1::Release::default()
        }
    }

    #[test]
    fn the_line_names_what_is_offered_to_everybody() {
        let releases = [
            operator("3", Status::Draft, v1::Channel::Stable),
            operator("2", Status::Published, v1::Channel::Beta),
            operator("1", Status::Published, v1::Channel::Stable),
        ];
        assert_eq!(image(&releases).repository, "r.example/1");
        assert!(!image(&[]).is_known);
    }

    #[test]
    fn a_secret_is_one_word() {
        assert!(agent("nvj1_a'b").contains("'nvj1_a'\\''b'"));
        assert!(helm("s", &image(&[])).contains("printf '%s' 's' | kubectl"));
    }

    #[test]
    fn a_host_that_is_none_is_not_put_into_a_shell() {
        assert!(login("s", "control.acme.example:7443").contains("https://control.acme.example:7443 "));
        assert!(login("s", "a; rm -rf /").contains("https://control.example:7443 "));
    }
}
