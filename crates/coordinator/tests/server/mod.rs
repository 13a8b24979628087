//! An etcd of one, in a folder that goes away with it.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub(crate) struct Server {
    folder: TempDir,
    ports: [u16; 2],
    process: Option<Child>,
    /// With certificates of both sides.
    tls: bool,
}

/// Makes `ca.pem`, and `leaf.pem` with `leaf.key` for both sides.
const CERTIFICATES: &str = "
    set -e
    openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=ca -days 2
    openssl req -newkey rsa:2048 -nodes -keyout leaf.key -out leaf.csr -subj /CN=leaf
    echo subjectAltName=IP:127.0.0.1 > names
    openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out leaf.pem -days 2 -extfile names
";

impl Server {
    /// `None`, with the reason on stderr, when etcd is not installed.
    pub(crate) fn start() -> Option<Self> {
        let mut server = Self::prepare()?;
        server.again();
        Some(server)
    }

    /// As [`start`](Self::start), where both sides have to show a certificate.
    pub(crate) fn start_with_tls() -> Option<Self> {
        let mut server = Self::prepare()?;
        server.tls = true;
        let mut make = Command::new("sh");
        make.args(["-c", CERTIFICATES]).current_dir(server.folder.path());
        if !make.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
            eprintln!("skipped: openssl is not installed or cannot make certificates");
            return None;
        }
        server.again();
        Some(server)
    }

    /// A file of the certificates.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn prepare() -> Option<Self> {
        if Command::new("etcd").arg("--version").stdout(Stdio::null()).status().is_err() {
            eprintln!("skipped: etcd is not installed (apt-get install etcd-server)");
            return None;
        }
        let free = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = free.map(|listener| listener.local_addr().unwrap().port());
        Some(Self { folder: tempfile::tempdir().unwrap(), ports, process: None, tls: false })
    }

    pub(crate) fn address(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.ports[0])
    }

    /// Starts it, with what it had. Who wants something of it waits for it.
    pub(crate) fn again(&mut self) {
        let peer = format!("http://127.0.0.1:{}", self.ports[1]);
        let mut command = Command::new("etcd");
        command.args(["--name", "one", "--unsafe-no-fsync", "--log-level", "error"]);
        command.arg("--data-dir").arg(self.file("data"));
        if self.tls {
            command
                .arg("--cert-file")
                .arg(self.file("leaf.pem"))
                .arg("--key-file")
                .arg(self.file("leaf.key"));
            command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(self.file("ca.pem"));
        }
        command.args(["--listen-client-urls", &self.address(), "--advertise-client-urls", &self.address()]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("one={peer}")]);
        self.process = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    }

    /// Somebody else who reads and writes there, once it answers.
    pub(crate) async fn client(&self) -> etcd_client::Client {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let mut client = etcd_client::Client::connect([self.address()], None).await.unwrap();
            match client.get("anything", None).await {
                Ok(_) => return client,
                Err(error) => assert!(Instant::now() < deadline, "etcd does not start: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops it where it is, or lets it go on.
    pub(crate) fn freeze(&self, frozen: bool) {
        let id = self.process.as_ref().expect("it runs").id();
        let signal = if frozen { "-STOP" } else { "-CONT" };
        assert!(Command::new("kill").args([signal, &id.to_string()]).status().unwrap().success());
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
