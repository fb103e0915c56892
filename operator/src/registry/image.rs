//! Where an image is: the host that is asked, and the name of its repository there.

use domain::Sha256;

/// The API of the one registry whose name in references is not its host's.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// An image by digest, `registry.example:5000/novacula/operator@sha256:…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    reference: String,
    digest: Sha256,
}

/// Why a reference is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the image reference is not host[:port]/path")]
pub struct Malformed(#[source] domain::manifest::Error);

// === impl Image ===

impl Image {
    /// From a reference without tag or digest, and the digest that was signed.
    ///
    /// # Errors
    /// [`Malformed`], by the rules of manifests.
    pub fn new(reference: &str, digest: Sha256) -> Result<Self, Malformed> {
        domain::manifest::check_image(reference).map_err(Malformed)?;
        Ok(Self { reference: reference.to_owned(), digest })
    }

    /// The digest that was signed.
    #[must_use]
    pub const fn digest(&self) -> Sha256 {
        self.digest
    }

    /// As references name the registry: the key of mirrors and credentials.
    #[must_use]
    pub fn registry(&self) -> &str {
        self.reference.split_once('/').map_or("", |(registry, _)| registry)
    }

    /// The host that speaks for the registry.
    pub(super) fn host(&self) -> &str {
        match self.registry() {
            "docker.io" | "index.docker.io" => DOCKER_HUB,
            registry => registry,
        }
    }

    /// The name of the repository at any host.
    pub(super) fn repository(&self) -> String {
        let path = self.reference.split_once('/').map_or("", |(_, path)| path);
        if self.host() == DOCKER_HUB && !path.contains('/') { format!("library/{path}") } else { path.to_owned() }
    }

    /// What credentials are looked up by: as the kubelet writes it, without tag or digest.
    pub(super) fn named_at(&self, registry: &str) -> String {
        let registry = if registry == DOCKER_HUB { "docker.io" } else { registry };
        format!("{registry}/{}", self.repository())
    }
}

impl std::fmt::Display for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@sha256:{}", self.reference, self.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reference: &str, host: &str, repository: &str, named: &str) {
        let image = Image::new(reference, Sha256::new([1; 32])).expect("an image");
        assert_eq!((image.host(), image.repository().as_str()), (host, repository));
        assert_eq!(image.named_at(image.host()), named);
    }

    #[test]
    fn docker_hub_is_asked_at_its_own_host_for_its_own_names() {
        check("registry.example:5000/a/b", "registry.example:5000", "a/b", "registry.example:5000/a/b");
        check("docker.io/nginx", DOCKER_HUB, "library/nginx", "docker.io/library/nginx");
        check("docker.io/acme/operator", DOCKER_HUB, "acme/operator", "docker.io/acme/operator");
        check("index.docker.io/acme/operator", DOCKER_HUB, "acme/operator", "docker.io/acme/operator");
    }

    #[test]
    fn what_no_manifest_may_name_is_no_image() {
        for bad in ["operator", "registry.example/UP", "registry.example/a/../b", "registry.example/a?x=1", ""] {
            assert!(Image::new(bad, Sha256::new([1; 32])).is_err(), "{bad}");
        }
    }
}
