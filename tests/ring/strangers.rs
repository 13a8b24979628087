//! Where certificates are asked for, who shows none of the right authority is no part of the cluster.

use std::path::Path;
use std::process::{Command, Stdio};

use harness::{Cluster, ClusterOptions, Socket, yjs};

use crate::{DEATHS, wait_acknowledged};

/// Makes `ca.pem`, `other-ca.pem`, and for each of them a certificate of 127.0.0.1 with its key.
const CERTIFICATES: &str = "
    set -e
    echo subjectAltName=IP:127.0.0.1 > names
    for side in '' other-; do
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ${side}ca.key -out ${side}ca.pem -subj /CN=${side}ca -days 2
        openssl req -newkey rsa:2048 -nodes -keyout ${side}leaf.key -out leaf.csr -subj /CN=leaf
        openssl x509 -req -in leaf.csr -CA ${side}ca.pem -CAkey ${side}ca.key -CAcreateserial -out ${side}leaf.pem -days 2 \\
            -extfile names
    done
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
    let options = DEATHS.into_iter().fold(ClusterOptions::new(2, 2), ClusterOptions::announce);
    let cluster = Cluster::start_with(&options, |_, name| match name {
        // It trusts the others, but its own certificate is of an authority that they do not know.
        "r2" => certified(folder.path(), "", "other-"),
        _ => certified(folder.path(), "", ""),
    });
    let Some(cluster) = cluster else { return };
    for document in ["a", "b", "c", "d"] {
        let mut socket = Socket::open(cluster.server("r1").editors(), &format!("/{document}"));
        socket.send(&yjs::update_frame(&yjs::typed(7, 0, "hello"))).unwrap();
        wait_acknowledged(&mut socket, 7, 5);
        let stranger = Socket::try_open(cluster.server("r2").editors(), &format!("/{document}"), "");
        assert_eq!(stranger.unwrap_err().0.status, 503, "it finds nobody who would host the document");
    }
}
