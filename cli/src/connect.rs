//! The channel to the API listener: TLS 1.3 (or 1.2) against the given authority, and the bearer token in each request's metadata.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use crate::context::Settings;
use crate::error::Error;

/// Longest time to open a connection. An SRE is waiting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A channel that carries the token.
pub(crate) type Api = InterceptedService<Channel, Bearer>;

/// Puts the token into each request.
#[derive(Clone)]
pub(crate) struct Bearer {
    header: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        if let Some(header) = &self.header {
            request.metadata_mut().insert("authorization", header.clone());
        }
        Ok(request)
    }
}

/// Opens the channel.
pub(crate) async fn open(settings: &Settings, timeout: Option<Duration>) -> Result<Api, Error> {
    let uri = parse_server(&settings.server)?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(443);
    let name = ServerName::try_from(host.clone())
        .map_err(|_| Error::Config(format!("--server: {host:?} is neither a host name nor an address")))?;
    let tls = TlsConnector::from(Arc::new(tls_config(settings.ca.as_deref())?));

    let mut endpoint = Endpoint::from(uri).connect_timeout(CONNECT_TIMEOUT).http2_adaptive_window(true);
    if let Some(timeout) = timeout {
        endpoint = endpoint.timeout(timeout);
    }
    let dial = service_fn(move |_: Uri| {
        let (tls, name, host) = (tls.clone(), name.clone(), host.clone());
        async move {
            let tcp = TcpStream::connect((host.as_str(), port)).await?;
            tcp.set_nodelay(true)?;
            Ok::<_, std::io::Error>(TokioIo::new(tls.connect(name, tcp).await?))
        }
    });
    let channel = endpoint
        .connect_with_connector(dial)
        .await
        .map_err(|source| Error::Unreachable { server: settings.server.clone(), source: Box::new(source) })?;
    Ok(InterceptedService::new(channel, Bearer { header: header(settings)? }))
}

fn header(settings: &Settings) -> Result<Option<MetadataValue<Ascii>>, Error> {
    let Some(token) = &settings.token else {
        return Ok(None);
    };
    let mut header: MetadataValue<Ascii> = format!("Bearer {}", token.as_str())
        .parse()
        .map_err(|_| Error::Config("the token is not printable ASCII".to_owned()))?;
    header.set_sensitive(true);
    Ok(Some(header))
}

fn parse_server(server: &str) -> Result<Uri, Error> {
    let full = if server.contains("://") { server.to_owned() } else { format!("https://{server}") };
    let uri: Uri = full.parse().map_err(|_| Error::Config(format!("--server: {server:?} is not https://host:port")))?;
    if uri.scheme_str() != Some("https") || uri.host().is_none() {
        return Err(Error::Config(format!(
            "--server: {server:?} is not https://host:port; there is no plain-text mode"
        )));
    }
    Ok(uri)
}

fn tls_config(ca: Option<&Path>) -> Result<rustls::ClientConfig, Error> {
    let Some(path) = ca else {
        return Err(Error::Config(
            "no authority to trust: give --ca <data-dir>/ca.pem, set NOVACULA_CA, or use a context (novacula login)"
                .to_owned(),
        ));
    };
    let pem = fs::read(path).map_err(|error| Error::file("read", path, error))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate =
            certificate.map_err(|error| Error::Config(format!("{}: not PEM: {error}", path.display())))?;
        roots.add(certificate).map_err(|error| Error::Config(format!("{}: {error}", path.display())))?;
    }
    if roots.is_empty() {
        return Err(Error::Config(format!("{} holds no certificate", path.display())));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::local("set up TLS", error))?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_is_dialled() {
        assert!(parse_server("http://127.0.0.1:1").is_err());
        assert!(parse_server("unix:///x").is_err());
        assert_eq!(parse_server("localhost:7443").expect("short").to_string(), "https://localhost:7443/");
    }

    #[test]
    fn without_an_authority_it_says_how_to_give_one() {
        assert!(tls_config(None).expect_err("none").to_string().contains("--ca"));
    }
}
