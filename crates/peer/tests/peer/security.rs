use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use ringleaf_peer::{
    AllowedNames, ClientTls, Links, LinksConfig, PeerConfig, PeerServer, ProbeError, RunningPeerServer,
    ServerTls,
};
use ringleaf_types::Limits;

use crate::fake::{Host, Process, node};

const TIMEOUT: Duration = Duration::from_secs(5);

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn write(folder: &Path, authority: &CertifiedIssuer<'static, KeyPair>) {
    write_named(folder, authority, &["localhost", "127.0.0.1"]);
}

fn write_named(folder: &Path, authority: &CertifiedIssuer<'static, KeyPair>, names: &[&str]) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    write_signed(folder, authority, CertificateParams::new(names).unwrap());
}

fn write_signed(folder: &Path, authority: &CertifiedIssuer<'static, KeyPair>, params: CertificateParams) {
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    let files =
        [("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem()), ("ca.pem", authority.pem())];
    // Some file systems tell times apart by seconds only.
    let later = SystemTime::now() + Duration::from_secs(10);
    for (name, text) in files {
        let path = folder.join(name);
        let again = path.exists();
        std::fs::write(&path, text).unwrap();
        if again {
            std::fs::File::options().write(true).open(path).unwrap().set_modified(later).unwrap();
        }
    }
}

fn client(folder: &Path) -> ClientTls {
    let file = |name| folder.join(name);
    ClientTls::from_files(&file("cert.pem"), &file("key.pem"), &file("ca.pem")).unwrap()
}

fn links(tls: Option<ClientTls>) -> Arc<Links> {
    Links::new(LinksConfig { this: "router-1".into(), tls, limits: Arc::new(Limits::default()) })
}

fn server(folder: &Path, allowed: &[&str]) -> RunningPeerServer {
    let file = |name| folder.join(name);
    let allowed: Vec<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
    let [certificate, key, authority] = ["cert.pem", "key.pem", "ca.pem"].map(file);
    let tls = ServerTls::from_files(&certificate, &key, &authority, AllowedNames::new(&allowed)).unwrap();
    let (listen, limits) = ("127.0.0.1:0".parse().unwrap(), Arc::new(Limits::default()));
    let config = PeerConfig { listen, tls: Some(tls), limits };
    PeerServer::bind(config).unwrap().start(Arc::new(Host::default()), Arc::new(Process::default()))
}

#[tokio::test]
async fn only_those_with_an_allowed_name_come_in() {
    let (authority, server_files) = (authority(), tempfile::tempdir().unwrap());
    write(server_files.path(), &authority);
    let server = server(server_files.path(), &["r1.example.com", "*.nodes.internal"]);
    let address = server.local_addr().to_string();
    let comes_in = async |names: &[&str]| {
        let files = tempfile::tempdir().unwrap();
        write_named(files.path(), &authority, names);
        links(Some(client(files.path()))).probe(&node(), &address, TIMEOUT).await.is_ok()
    };
    for names in [&["R1.example.com"][..], &["localhost", "n1.nodes.internal"], &["*.nodes.internal"]] {
        assert!(comes_in(names).await, "{names:?}");
    }
    for names in [&["r2.example.com"][..], &["a.n1.nodes.internal", "nodes.internal"], &["127.0.0.1"], &[]] {
        assert!(!comes_in(names).await, "{names:?}");
    }
}

#[tokio::test]
async fn only_those_with_a_certificate_come_in_and_new_ones_count_at_once() {
    let (server_files, client_files, foreign_files) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = authority();
    write(server_files.path(), &first);
    write(client_files.path(), &first);
    write(foreign_files.path(), &authority());
    let server = server(server_files.path(), &[]);
    let address = server.local_addr().to_string();

    let trusted = links(Some(client(client_files.path())));
    assert!(trusted.probe(&node(), &address, TIMEOUT).await.is_ok());
    for stranger in [links(None), links(Some(client(foreign_files.path())))] {
        assert_eq!(stranger.probe(&node(), &address, TIMEOUT).await, Err(ProbeError::Unreachable));
    }
    // Trusts the server, but has nothing that the server trusts.
    std::fs::copy(client_files.path().join("ca.pem"), foreign_files.path().join("ca.pem")).unwrap();
    let stranger = links(Some(client(foreign_files.path())));
    assert_eq!(stranger.probe(&node(), &address, TIMEOUT).await, Err(ProbeError::Unreachable));

    let old_files = tempfile::tempdir().unwrap();
    write(old_files.path(), &first);
    let old = links(Some(client(old_files.path())));
    assert!(old.probe(&node(), &address, TIMEOUT).await.is_ok());
    let second = authority();
    write(server_files.path(), &second);
    assert_eq!(trusted.probe(&node(), &address, TIMEOUT).await, Err(ProbeError::Unreachable));
    write(client_files.path(), &second);
    assert!(trusted.probe(&node(), &address, TIMEOUT).await.is_ok());
    // Has seen the new authority only, so that the server must have.
    let new = links(Some(client(client_files.path())));
    assert!(new.probe(&node(), &address, TIMEOUT).await.is_ok());
    assert_eq!(old.probe(&node(), &address, TIMEOUT).await, Err(ProbeError::Unreachable));
}

/// What this thread logs.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Logged {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn both_sides_say_once_that_a_certificate_has_expired() {
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let (authority, files, expired_files) =
        (authority(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(files.path(), &authority);
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    write_signed(expired_files.path(), &authority, params);

    let (fresh, expired) = (server(files.path(), &[]), server(expired_files.path(), &[]));
    for (client_files, server) in [(&expired_files, &fresh), (&files, &expired)] {
        let (links, address) = (links(Some(client(client_files.path()))), server.local_addr().to_string());
        for _ in 0..2 {
            assert_eq!(links.probe(&node(), &address, TIMEOUT).await, Err(ProbeError::Unreachable));
        }
    }
    let text = logged.text();
    let said: Vec<&str> =
        text.lines().filter(|line| line.contains("a certificate was not accepted")).collect();
    // The fresh server of its client, the expired server by its client's alert, and that client.
    assert_eq!(said.len(), 3, "{text}");
    assert!(
        said.iter().all(|line| line.contains("WARN") && line.to_lowercase().contains("expired")),
        "{text}"
    );
}
