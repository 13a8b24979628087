//! Mutual TLS between processes, with certificates that are read again when their files change.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tonic::transport::server::Connected;
use tracing::warn;

mod names;

pub use names::AllowedNames;

/// Whoever is refused tries again and again: that is said once in this time.
const SAID_FOR: Duration = Duration::from_secs(60);

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "names and types say what the fields are")]
pub enum TlsError {
    #[error("{path} cannot be read")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} has no usable certificate or key")]
    Pem { path: PathBuf, source: rustls::pki_types::pem::Error },
    #[error("certificate, key and authority do not go together")]
    Config(#[from] rustls::Error),
    #[error("the authority's certificates cannot check clients")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// The files of one side, and what was made of them.
struct Files<C> {
    certificate: PathBuf,
    key: PathBuf,
    authority: PathBuf,
    build: Build<C>,
    last: Mutex<Built<C>>,
    said_at: Mutex<Option<Instant>>,
}

type Build<C> = Box<dyn Fn(Material) -> Result<C, TlsError> + Send + Sync>;

struct Built<C> {
    changed_at: [Option<SystemTime>; 3],
    config: Arc<C>,
}

struct Material {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: RootCertStore,
}

impl<C> Files<C> {
    fn read(paths: [&Path; 3], build: Build<C>) -> Result<Self, TlsError> {
        let [certificate, key, authority] = paths.map(Path::to_path_buf);
        let changed_at = changed_at(&paths);
        let config = Arc::new(build(material(paths)?)?);
        let last = Mutex::new(Built { changed_at, config });
        Ok(Self { certificate, key, authority, build, last, said_at: Mutex::default() })
    }

    /// What the files say now. Files that make no sense change nothing.
    fn current(&self) -> Arc<C> {
        let paths = [&*self.certificate, &*self.key, &*self.authority];
        let changed_at = changed_at(&paths);
        let mut last = self.last.lock().expect("no holder of this lock panics");
        if last.changed_at != changed_at {
            match material(paths).and_then(&self.build) {
                Ok(config) => *last = Built { changed_at, config: Arc::new(config) },
                Err(error) => {
                    // Perhaps only half written: the next connection looks again.
                    warn!(error = &error as &dyn std::error::Error, "new certificates cannot be used");
                }
            }
        }
        Arc::clone(&last.config)
    }

    /// Warns that a certificate, ours or theirs, was not accepted. Other ends of a handshake are no news.
    fn complain(&self, peer: &str, error: &io::Error) {
        if !about_certificates(error) {
            return;
        }
        let mut said_at = self.said_at.lock().expect("no holder of this lock panics");
        if said_at.is_none_or(|at| at.elapsed() >= SAID_FOR) {
            *said_at = Some(Instant::now());
            warn!(peer, %error, certificate = %self.certificate.display(), "a certificate was not accepted");
        }
    }
}

fn about_certificates(error: &io::Error) -> bool {
    use rustls::{CertificateError, Error};
    match error.get_ref().and_then(|cause| cause.downcast_ref::<Error>()) {
        // `names` has said that it is about names, and which.
        Some(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)) => false,
        Some(Error::InvalidCertificate(_) | Error::NoCertificatesPresented | Error::AlertReceived(_)) => true,
        _ => false,
    }
}

fn changed_at(paths: &[&Path; 3]) -> [Option<SystemTime>; 3] {
    paths.map(|path| std::fs::metadata(path).and_then(|found| found.modified()).ok())
}

fn material([certificate, key, authority]: [&Path; 3]) -> Result<Material, TlsError> {
    let pem = |path: &Path| {
        let path = path.to_path_buf();
        move |source| TlsError::Pem { path, source }
    };
    let read = |path: &Path| {
        std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_path_buf(), source })
    };
    let certificates = |path: &Path| {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
        found.map_err(pem(path))
    };
    let mut roots = RootCertStore::empty();
    for root in certificates(authority)? {
        roots.add(root)?;
    }
    let key_of = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(pem(key))?;
    Ok(Material { chain: certificates(certificate)?, key: key_of, roots })
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn server_config(material: Material, allowed: AllowedNames) -> Result<ServerConfig, TlsError> {
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(material.roots), provider()).build()?;
    let clients = allowed.on_top_of(clients);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(clients)
        .with_single_cert(material.chain, material.key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn client_config(material: Material) -> Result<ClientConfig, TlsError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(material.roots)
        .with_client_auth_cert(material.chain, material.key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// How a process shows itself to those that connect to it, and whom it lets in.
#[derive(Clone)]
pub struct ServerTls(Arc<Files<ServerConfig>>);

impl ServerTls {
    /// Reads three PEM files: the certificate chain, its key, and the authority that signed the clients' certificates.
    /// They are read again when they change. A client's certificate must have one of the names, if there are any.
    pub fn from_files(
        certificate: &Path,
        key: &Path,
        authority: &Path,
        allowed: AllowedNames,
    ) -> Result<Self, TlsError> {
        let build = Box::new(move |material| server_config(material, allowed.clone()));
        Ok(Self(Arc::new(Files::read([certificate, key, authority], build)?)))
    }

    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<PeerStream> {
        let acceptor = TlsAcceptor::from(self.0.current());
        let peer = stream.peer_addr()?;
        let accepted = acceptor.accept(stream).await;
        accepted
            .map(|stream| PeerStream(Box::pin(stream)))
            .inspect_err(|error| self.0.complain(&peer.to_string(), error))
    }
}

/// How a process shows itself to those that it connects to, and whom it trusts.
#[derive(Clone)]
pub struct ClientTls(Arc<Files<ClientConfig>>);

impl ClientTls {
    /// Reads three PEM files: the certificate chain, its key, and the authority that signed the servers' certificates.
    /// They are read again when they change. A server's certificate must name the host that is connected to.
    pub fn from_files(certificate: &Path, key: &Path, authority: &Path) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(Files::read([certificate, key, authority], Box::new(client_config))?)))
    }
}

/// Connects to `host:port`.
pub(crate) async fn dial(address: String, tls: Option<ClientTls>) -> io::Result<PeerStream> {
    let stream = TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(PeerStream(Box::pin(stream))) };
    let host = address.rsplit_once(':').map_or(&*address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    let connector = TlsConnector::from(tls.0.current());
    let connected = connector.connect(name, stream).await;
    connected.map(|stream| PeerStream(Box::pin(stream))).inspect_err(|error| tls.0.complain(&address, error))
}

trait Io: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// A connection between two processes, encrypted or not.
pub(crate) struct PeerStream(Pin<Box<dyn Io>>);

impl PeerStream {
    pub(crate) fn plain(stream: TcpStream) -> Self {
        Self(Box::pin(stream))
    }
}

impl Connected for PeerStream {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}

impl AsyncRead for PeerStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.get_mut().0.as_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().0.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().0.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().0.as_mut().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().0.as_mut().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}
