//! Starts the real binary and waits for facts.
#![allow(dead_code, reason = "each test file uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test says no")]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

/// A machine with two busy cores needs longer than ours; a fact that never comes is still found.
const DEADLINE: Duration = Duration::from_secs(30);

/// One Yjs update: client `client` writes "hi" into the text `t`.
pub(crate) fn update(client: u8) -> Vec<u8> {
    vec![1, 1, client, 0, 4, 1, 1, b't', 2, b'h', b'i', 0]
}

/// A number as Yjs writes it.
fn number(mut number: usize, bytes: &mut Vec<u8>) {
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// The same with so many letters.
pub(crate) fn long_update(letters: usize) -> Vec<u8> {
    let mut bytes = vec![1, 1, 1, 0, 4, 1, 1, b't'];
    number(letters, &mut bytes);
    bytes.resize(bytes.len() + letters, b'x');
    bytes.push(0);
    bytes
}

/// So many arrays, each in the one before it, in the array `t`.
pub(crate) fn nested_update(arrays: usize) -> Vec<u8> {
    let mut bytes = vec![1];
    number(arrays, &mut bytes);
    // The first stands in the root, each other one in its predecessor, which is named by client and clock.
    bytes.extend([1, 0, 7, 1, 1, b't', 0]);
    for parent in 0..arrays - 1 {
        bytes.extend([7, 0, 1]);
        number(parent, &mut bytes);
        bytes.push(0);
    }
    bytes.push(0);
    bytes
}

/// The binary, in a folder, without the surrounding environment's settings.
pub(crate) fn ringleaf(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringleaf"));
    command.current_dir(folder).stdin(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("RINGLEAF_")) {
        command.env_remove(name);
    }
    command
}

/// Runs a command to its end.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    ringleaf(folder).args(arguments).output().expect("the binary starts")
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().expect("it was not killed")
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("stdout is UTF-8")
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("stderr is UTF-8")
}

/// Stdout as the one JSON value that it must be, with nothing on stderr.
pub(crate) fn json(output: &Output) -> Value {
    assert_eq!(stderr(output), "", "with -o json, stderr is silent");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stdout(output)))
}

pub(crate) fn wait_for<T>(what: &str, mut fact: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = fact() {
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A server on free ports, killed when dropped.
pub(crate) struct Server {
    child: Child,
    lines: Arc<Mutex<Vec<Value>>>,
    reader: Option<JoinHandle<()>>,
    pub(crate) listen: String,
    pub(crate) admin: String,
}

impl Server {
    /// Starts `ringleaf serve` in `folder`, and waits until it listens.
    pub(crate) fn start<S: AsRef<OsStr>>(folder: &Path, arguments: &[S]) -> Self {
        let mut command = ringleaf(folder);
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log", "json"]);
        command.args(arguments).stderr(Stdio::piped()).stdout(Stdio::null());
        Self::of(command)
    }

    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the binary starts");
        let stderr = child.stderr.take().expect("stderr is piped");
        let lines: Arc<Mutex<Vec<Value>>> = Arc::default();
        let kept = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                kept.lock().unwrap().push(line);
            }
        });
        let mut server =
            Self { child, lines, reader: Some(reader), listen: String::new(), admin: String::new() };
        let listening = server.wait_for_line("listening");
        server.listen = listening["editors"].as_str().unwrap().into();
        server.admin = listening["admin"].as_str().unwrap().into();
        server
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn lines(&self) -> Vec<Value> {
        self.lines.lock().unwrap().clone()
    }

    /// The log line with this message.
    pub(crate) fn wait_for_line(&mut self, message: &str) -> Value {
        let lines = Arc::clone(&self.lines);
        let child = &mut self.child;
        wait_for(&format!("the log line {message:?}"), || {
            let found = lines.lock().unwrap().iter().find(|line| line["message"] == message).cloned();
            if found.is_none() && child.try_wait().unwrap().is_some() {
                panic!("the server ended: {:?}", lines.lock().unwrap());
            }
            found
        })
    }

    /// Sends a signal by name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(status.expect("kill starts").success());
    }

    /// Waits for the end, and for the last line.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let status = wait_for("the end of the server", || child.try_wait().unwrap());
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        status
    }

    /// Lines that the test did not announce.
    pub(crate) fn complaints(&self) -> Vec<Value> {
        let is_complaint = |line: &Value| !matches!(line["level"].as_str(), Some("INFO" | "DEBUG" | "TRACE"));
        self.lines().into_iter().filter(is_complaint).collect()
    }

    pub(crate) fn stop(self) {
        self.stop_after(&[]);
    }

    /// Stops it in order; besides these messages it has complained about nothing.
    pub(crate) fn stop_after(mut self, announced: &[&str]) {
        self.signal("TERM");
        assert_eq!(self.wait().code(), Some(0));
        let mut complaints = self.complaints();
        complaints.retain(|line| !announced.iter().any(|message| line["message"] == *message));
        assert_eq!(complaints, Vec::<Value>::new());
    }

    /// Asks the admin port.
    pub(crate) fn get(&self, path: &str) -> Answer {
        request("GET", &format!("http://{}{path}", self.admin), &[])
    }

    /// Runs an admin command against this server.
    pub(crate) fn command(&self, folder: &Path, arguments: &[&str]) -> Output {
        ringleaf(folder).args(arguments).args(["--admin", &self.admin]).output().expect("the binary starts")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

pub(crate) fn request(method: &str, url: &str, headers: &[(&str, &str)]) -> Answer {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .timeout_global(Some(DEADLINE))
        .build()
        .into();
    let request = ureq::http::Request::builder().method(method).uri(url);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let mut response = agent.run(request.body(()).unwrap()).expect("the server answers");
    let content_type = response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
    let mut body = Vec::new();
    response.body_mut().as_reader().read_to_end(&mut body).unwrap();
    Answer {
        status: response.status().as_u16(),
        content_type: content_type.unwrap_or_default(),
        body: String::from_utf8(body).unwrap(),
    }
}

/// A WebSocket on a document, as bytes: the handshake is done, frames are the test's affair.
pub(crate) fn open_socket(address: &str, document: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let request = format!(
        "GET /{document} HTTP/1.1\r\nhost: {address}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream
}
