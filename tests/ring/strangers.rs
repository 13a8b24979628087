//! Where certificates are asked for, who shows none of the right authority and an allowed name is no part of the cluster.

use std::path::Path;
use std::process::{Command, Stdio};

use harness::{Cluster, ClusterOptions, Socket, yjs};

use crate::{DEATHS, wait_acknowledged};

/// What a node says of a process that has a certificate of the authority, and not one of a process of this cluster.
const REFUSED: &str = "a process whose certificate has none of the allowed names was refused";

/// And of one whose certificate is not of the authority.
const NOT_ACCEPTED: &str = "a certificate was not accepted";

/// Makes `ca.pem`, `other-ca.pem`, and for each of them a certificate of 127.0.0.1 with its key. Of `ca.pem` there is another
/// one with a name elsewhere.
const CERTIFICATES: &str = "
    set -e
    echo subjectAltName=IP:127.0.0.1,DNS:any.ringleaf.internal > names
    echo subjectAltName=IP:127.0.0.1,DNS:any.elsewhere.internal > renamed-names
    for side in '' other-; do
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ${side}ca.key -out ${side}ca.pem -subj /CN=${side}ca -days 2
        openssl req -newkey rsa:2048 -nodes -keyout ${side}leaf.key -out leaf.csr -subj /CN=leaf
        openssl x509 -req -in leaf.csr -CA ${side}ca.pem -CAkey ${side}ca.key -CAcreateserial -out ${side}leaf.pem -days 2 \\
            -extfile names
    done
    openssl req -newkey rsa:2048 -nodes -keyout renamed-leaf.key -out leaf.csr -subj /CN=leaf
    openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out renamed-leaf.pem -days 2 \\
        -extfile renamed-names
";

fn make_certificates(folder: &Path) -> bool {
    let mut make = Command::new("sh");
    make.args(["-c", CERTIFICATES]).current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
    make.status().is_ok_and(|status| status.success())
}

fn certified(folder: &Path, authority: &str, leaf: &str) -> Vec<String> {
    let file = |name: String| folder.join(name).to_str().unwrap().to_owned();
    let flags = [("--peer-ca", format!("{authority}ca.pem")), ("--peer-cert", format!("{leaf}leaf.pem"))];
    let key = [("--peer-key", format!("{leaf}leaf.key"))];
    flags.into_iter().chain(key).flat_map(|(flag, name)| [flag.to_owned(), file(name)]).collect()
}

#[test]
fn processes_show_each_other_certificates_and_a_stranger_reaches_nobody() {
    let folder = tempfile::tempdir().unwrap();
    if !make_certificates(folder.path()) {
        harness::skip("openssl is not installed or cannot make certificates");
        return;
    }
    let options = DEATHS.into_iter().fold(ClusterOptions::new(2, 3), ClusterOptions::announce);
    let options = options.announce(REFUSED).announce(NOT_ACCEPTED);
    let cluster = Cluster::start_with(&options, |_, name| match name {
        // They trust the others. But the one's own certificate is of an authority that those do not know,
        "r2" => certified(folder.path(), "", "other-"),
        // and the other's is of a process that is none of theirs.
        "r3" => certified(folder.path(), "", "renamed-"),
        "r1" => certified(folder.path(), "", ""),
        _ => {
            let allowed = ["--peer-allowed-names".into(), "*.ringleaf.internal".into()];
            certified(folder.path(), "", "").into_iter().chain(allowed).collect()
        }
    });
    let Some(cluster) = cluster else { return };
    for document in ["a", "b", "c", "d"] {
        let mut socket = Socket::open(cluster.server("r1").editors(), &format!("/{document}"));
        socket.send(&yjs::update_frame(&yjs::typed(7, 0, "hello"))).unwrap();
        wait_acknowledged(&mut socket, 7, 5);
        for stranger in ["r2", "r3"] {
            let refused = Socket::try_open(cluster.server(stranger).editors(), &format!("/{document}"), "");
            assert_eq!(refused.unwrap_err().0.status, 503, "it finds nobody who would host the document");
        }
    }
    let said =
        |node: &String| cluster.server(node).log_text().lines().filter(|line| line.contains(REFUSED)).count();
    let said: Vec<usize> = cluster.nodes().iter().map(said).collect();
    assert!(
        said.iter().all(|times| *times <= 3) && said.iter().any(|times| *times > 0),
        "it is said once a minute, not at every try: {said:?}"
    );
    let log = cluster.nodes().iter().map(|node| cluster.server(node).log_text()).collect::<String>();
    assert!(log.contains("any.elsewhere.internal"), "by name");
    assert!(log.contains(NOT_ACCEPTED) && log.contains("UnknownIssuer"), "and why");
}
