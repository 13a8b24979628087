use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use ringleaf_peer::{ClientTls, Links, LinksConfig, PeerConfig, PeerServer, ProbeError, ServerTls};
use ringleaf_types::Limits;

use crate::fake::{Host, Process, node};

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn write(folder: &Path, authority: &CertifiedIssuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
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

#[tokio::test]
async fn only_those_with_a_certificate_come_in_and_new_ones_count_at_once() {
    const TIMEOUT: Duration = Duration::from_secs(5);
    let (server_files, client_files, foreign_files) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = authority();
    write(server_files.path(), &first);
    write(client_files.path(), &first);
    write(foreign_files.path(), &authority());
    let file = |name| server_files.path().join(name);
    let tls = Some(ServerTls::from_files(&file("cert.pem"), &file("key.pem"), &file("ca.pem")).unwrap());
    let config =
        PeerConfig { listen: "127.0.0.1:0".parse().unwrap(), tls, limits: Arc::new(Limits::default()) };
    let process = Arc::new(Process::default());
    let server = PeerServer::bind(config).unwrap().start(Arc::new(Host::default()), process);
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
