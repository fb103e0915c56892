//! Where bytes may come from, and the HTTP client for it.
//!
//! Which addresses an external URL may lead to is decided where names are resolved, on the addresses that are then
//! connected to: a name that means something else a moment later changes nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use domain::attempt::{ErrorCode, Stage};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url, redirect};
use rustls::{ClientConfig, RootCertStore};

use super::{ControlPlane, LocalAddresses, Policy};
use crate::connect;
use crate::executor::Failure;

/// TCP and TLS have to be done within this.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// A connection without a byte for this long is given up and resumed; well below the stall deadline.
const READ_DEADLINE: Duration = Duration::from_secs(30);

/// Most redirects followed, all on one origin.
const REDIRECTS_MAX: usize = 5;

/// One URL and the client that may fetch it.
pub(super) struct Source {
    pub(super) url: Url,
    pub(super) client: Client,
    addresses: LocalAddresses,
}

impl Source {
    /// Judges `uri` and makes its client.
    pub(super) fn new(uri: &str, control_plane: &ControlPlane, policy: &Policy) -> Result<Self, Failure> {
        if uri.starts_with('/') { Self::own(uri, control_plane) } else { Self::external(uri, policy) }
    }

    fn own(path: &str, control_plane: &ControlPlane) -> Result<Self, Failure> {
        let base = format!("https://{}", control_plane.endpoint);
        let base = Url::parse(&base).map_err(|error| not_allowed(path, &error.to_string()))?;
        let url = base.join(path).map_err(|error| not_allowed(path, &error.to_string()))?;
        // `//elsewhere/x` and its relatives are paths to the eye and hosts to the parser.
        if url.origin() != base.origin() || !url.username().is_empty() {
            return Err(not_allowed(path, "it leads away from the executor listener"));
        }
        let mut tls = ClientConfig::clone(&control_plane.tls);
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let client = client(tls).redirect(redirect::Policy::none()).build();
        let client = client.map_err(|error| unusable(&error))?;
        Ok(Self { url, client, addresses: LocalAddresses::Allowed })
    }

    fn external(uri: &str, policy: &Policy) -> Result<Self, Failure> {
        let url = Url::parse(uri).map_err(|error| not_allowed(uri, &error.to_string()))?;
        if url.scheme() != "https" {
            return Err(not_allowed(uri, "only https is fetched"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(not_allowed(uri, "it carries a user name or password"));
        }
        let addresses = policy.local_addresses;
        // A literal address is never looked up, so the resolver below does not see it.
        let literal = url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok());
        if let Some(address) = literal
            && !is_allowed(address, addresses)
        {
            return Err(local(uri, address));
        }
        let origin = url.origin();
        let same_origin = redirect::Policy::custom(move |attempt| {
            if attempt.url().origin() != origin {
                attempt.error("redirected to another origin")
            } else if attempt.previous().len() > REDIRECTS_MAX {
                attempt.error("redirected too often")
            } else {
                attempt.follow()
            }
        });
        let client =
            client(external_tls(policy)?).redirect(same_origin).dns_resolver(Arc::new(Resolver(addresses))).build();
        let client = client.map_err(|error| unusable(&error))?;
        Ok(Self { url, client, addresses })
    }

    /// Whether the address that was really connected to is one we may talk to.
    pub(super) fn check_peer(&self, peer: Option<SocketAddr>) -> Result<(), Failure> {
        match peer {
            Some(peer) if !is_allowed(peer.ip(), self.addresses) => Err(local(self.url.as_str(), peer.ip())),
            _ => Ok(()),
        }
    }
}

fn client(tls: ClientConfig) -> reqwest::ClientBuilder {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .https_only(true)
        .http1_only()
        .no_proxy()
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .referer(false)
        .pool_max_idle_per_host(0)
        .connect_timeout(CONNECT_DEADLINE)
        .read_timeout(READ_DEADLINE)
}

/// The host's authorities, read for this one download, and those that it was given beside.
fn external_tls(policy: &Policy) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots.add_parsable_certificates(policy.authorities.iter().cloned());
    let config = ClientConfig::builder_with_provider(connect::provider()).with_safe_default_protocol_versions();
    let config = config.map_err(|error| unusable(&error))?.with_root_certificates(roots);
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Looks names up, and leaves out addresses that may not be connected to.
struct Resolver(LocalAddresses);

/// A name that leads only to addresses that may not be connected to.
#[derive(Debug, thiserror::Error)]
#[error("{name} leads to {address}, an address of this host or its own network")]
pub(super) struct LocalName {
    name: String,
    address: IpAddr,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let addresses = self.0;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let (allowed, refused): (Vec<_>, Vec<_>) =
                found.into_iter().partition(|found| is_allowed(found.ip(), addresses));
            match (allowed.is_empty(), refused.first()) {
                (true, Some(first)) => Err(LocalName { name: name.as_str().to_owned(), address: first.ip() }.into()),
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

fn is_allowed(address: IpAddr, policy: LocalAddresses) -> bool {
    match policy {
        LocalAddresses::Allowed => true,
        LocalAddresses::Refused => !is_local(address),
    }
}

/// Whether an address is not one of the public internet's: this host, this link, a private network, or nobody's.
fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_local_v4(v4),
        IpAddr::V6(v6) => match embedded_v4(v6) {
            Some(v4) => is_local_v4(v4),
            None => {
                let first = v6.segments()[0];
                // Global unicast is 2000::/3 (RFC 4291); the rest is loopback, link-local, unique local, multicast or unassigned.
                first & 0xe000 != 0x2000 || (first == 0x2001 && v6.segments()[1] == 0x0db8)
            }
        },
    }
}

fn is_local_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let shared = a == 100 && b & 0xc0 == 64;
    let benchmark = a == 198 && b & 0xfe == 18;
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || shared
        || benchmark
        || (a, b, c) == (192, 0, 0)
        || a == 0
        || a >= 240
}

/// The IPv4 address that an IPv6 one stands for: mapped, compatible, NAT64 or 6to4.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = address.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] if high != 0 => v4(high, low),
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            v4(high, low)
        }
        _ => None,
    }
}

fn not_allowed(uri: &str, why: &str) -> Failure {
    let uri: String = uri.chars().take(200).collect();
    Failure::refused(Stage::Download, ErrorCode::UrlNotAllowed, format!("{uri:?} is not fetched: {why}"))
}

fn local(uri: &str, address: IpAddr) -> Failure {
    not_allowed(uri, &format!("{address} is an address of this host or its own network; the host may allow that"))
}

/// What reqwest says about a URL that broke a rule of ours.
pub(super) fn broken_rule(source: &Source, error: &reqwest::Error) -> Option<Failure> {
    if error.is_redirect() {
        return Some(not_allowed(source.url.as_str(), &crate::report::chain(error)));
    }
    let mut next = std::error::Error::source(error);
    while let Some(inner) = next {
        if let Some(name) = inner.downcast_ref::<LocalName>() {
            return Some(not_allowed(source.url.as_str(), &format!("{name}; the host may allow that")));
        }
        next = inner.source();
    }
    None
}

fn unusable(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::failed(Stage::Download, ErrorCode::Io, format!("make an HTTPS client: {}", crate::report::chain(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_host_and_its_networks_are_local_in_every_spelling() {
        for local in [
            "127.0.0.1",
            "127.9.9.9",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "198.18.0.1",
            "192.0.0.8",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::1",
            "2001:db8::1",
        ] {
            assert!(is_local(local.parse().expect("an address")), "{local}");
        }
        for public in
            ["1.1.1.1", "172.32.0.1", "100.128.0.1", "192.0.1.1", "2606:4700::1111", "2a00::1", "64:ff9b::101:101"]
        {
            assert!(!is_local(public.parse().expect("an address")), "{public}");
        }
    }
}
