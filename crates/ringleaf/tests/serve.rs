//! `ringleaf serve` as a process: how it starts, why it does not, and how it ends.

#![allow(clippy::unwrap_used, reason = "a panic is how a test says no")]

mod common;

use std::io::Read;
use std::net::TcpListener;

use common::{Server, code, request, ringleaf, run, stderr, wait_for};

#[test]
fn it_listens_says_where_and_stops_in_order_on_either_signal() {
    let folder = tempfile::tempdir().unwrap();
    for signal in ["TERM", "INT"] {
        let mut server = Server::start(folder.path(), &["data", "--ports-file", "ports.json"]);
        let ports = std::fs::read_to_string(folder.path().join("ports.json")).unwrap();
        let ports: serde_json::Value = serde_json::from_str(&ports).unwrap();
        assert_eq!(ports["listen"], *server.listen);
        assert_eq!(ports["admin"], *server.admin);
        assert_eq!(ports["pid"], server.pid());
        server.signal(signal);
        // The second round opens the same folder, so its lock was released.
        assert_eq!(server.wait().code(), Some(0));
        assert_eq!(server.complaints(), Vec::<serde_json::Value>::new());
        assert_eq!(server.lines().last().unwrap()["message"], "stopped");
    }
}

#[test]
fn health_and_metrics_answer() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["data"]);
    assert_eq!(server.get("/livez").body, "ok\n");
    let ready = server.get("/readyz");
    assert_eq!((ready.status, ready.body.as_str()), (200, "ok\n"));
    let verbose = server.get("/readyz?verbose");
    assert_eq!(verbose.body, "[+] store: answers\n[+] listener: open\n[+] stopping: no\nok\n");
    let metrics = server.get("/metrics");
    assert_eq!(metrics.content_type, "text/plain; version=0.0.4; charset=utf-8");
    for name in
        ["process_resident_memory_bytes ", "process_cpu_seconds_total ", "ringleaf_build_info{version="]
    {
        assert!(metrics.body.lines().any(|line| line.starts_with(name)), "{name}: {}", metrics.body);
    }
    let nothing = server.get("/nothing");
    assert_eq!(nothing.status, 404);
    assert!(nothing.body.contains("\"code\":\"no_such_path\""), "{}", nothing.body);
    server.stop();
}

#[test]
fn every_metric_is_described() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["data"]);
    let text = server.get("/metrics").body;
    for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
        let name = line.split_whitespace().nth(2).unwrap();
        assert!(text.contains(&format!("# HELP {name} ")), "{name} has no description");
    }
    server.stop();
}

#[test]
fn pages_of_other_origins_and_rebound_names_are_kept_from_the_admin_port() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["data"]);
    let url = format!("http://{}/api/v1/status", server.admin);
    assert_eq!(request("GET", &url, &[]).status, 200);
    assert_eq!(request("GET", &url, &[("origin", "https://evil.example")]).status, 403);
    assert_eq!(request("GET", &url, &[("host", "evil.example")]).status, 403);
    assert_eq!(
        request("DELETE", &format!("http://{}/api/v1/documents/x", server.admin), &[("origin", "null")])
            .status,
        403
    );
    server.stop();
}

#[test]
fn every_failure_on_the_admin_port_has_the_same_shape() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["data"]);
    for (method, path, status, code) in [
        ("GET", "/nothing", 404, "no_such_path"),
        ("POST", "/livez", 405, "method_not_allowed"),
        ("DELETE", "/api/v1/status", 405, "method_not_allowed"),
        ("PUT", "/api/v1/documents/notes", 405, "method_not_allowed"),
        ("GET", "/api/v1/busiest?sort=x", 400, "bad_request"),
        ("GET", "/api/v1/busiest?limit=-1", 400, "bad_request"),
        ("GET", "/api/v1/documents?sort=x", 400, "bad_request"),
        ("POST", "/api/v1/ring/owners", 400, "bad_request"),
        ("GET", "/api/v1/documents/notes", 404, "document_not_found"),
    ] {
        let answer = request(method, &format!("http://{}{path}", server.admin), &[]);
        let what = format!("{method} {path}: {answer:?}");
        assert_eq!((answer.status, answer.content_type.as_str()), (status, "application/json"), "{what}");
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["error"]["code"], code, "{what}");
        assert!(body["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{what}");
    }
    server.stop();
}

#[test]
fn a_port_in_use_says_by_whom_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for flag in ["--listen", "--admin"] {
        let other = if flag == "--listen" { "--admin" } else { "--listen" };
        let arguments = ["serve", "data", flag, &address.to_string(), other, "127.0.0.1:0"];
        let output = run(folder.path(), &arguments);
        let text = stderr(&output);
        assert_eq!(code(&output), 8, "{text}");
        assert!(text.starts_with(&format!("ringleaf: port {} is in use by ", address.port())), "{text}");
        assert!(text.contains(&format!("(pid {})", std::process::id())), "{text}");
        assert!(text.trim_end().ends_with(&format!("with {flag}")), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!folder.path().join("data").exists(), "ports are bound before any work");
    }
}

#[test]
fn a_folder_in_use_says_by_whom() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["data"]);
    let output = run(folder.path(), &["serve", "data", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let text = stderr(&output);
    assert_eq!(code(&output), 8, "{text}");
    assert!(text.starts_with("ringleaf: the data folder data is in use by "), "{text}");
    assert!(text.contains(&server.pid().to_string()), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    server.stop();
}

#[test]
fn a_newer_store_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    Server::start(folder.path(), &["data"]).stop();
    // SQLite keeps the user version, which is our format, in these bytes of the first page.
    let database = folder.path().join("data/ringleaf.db");
    let mut bytes = std::fs::read(&database).unwrap();
    bytes[60..64].copy_from_slice(&99_u32.to_be_bytes());
    std::fs::write(&database, bytes).unwrap();
    let output = run(folder.path(), &["serve", "data", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let text = stderr(&output);
    assert_eq!(code(&output), 5, "{text}");
    assert!(text.contains("was written by a newer ringleaf (format 99"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn a_wrong_configuration_is_told_with_file_and_line_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let file = "listen = \"127.0.0.1:0\"\nadmn = \"127.0.0.1:0\"\n\n[limits]\nretention = 600\n";
    std::fs::write(folder.path().join("ringleaf.toml"), file).unwrap();
    let output = run(folder.path(), &["serve"]);
    assert_eq!(code(&output), 7);
    assert_eq!(
        stderr(&output),
        "ringleaf: ringleaf.toml:2: there is no setting admn; did you mean admin?\n\
         ringleaf: ringleaf.toml:5: limits.retention must be a time such as \"0s\", \"250ms\", \"30s\" or \"10m\", \
         not the number 600\n"
    );
    assert!(!folder.path().join("ringleaf-data").exists());

    let output = run(folder.path(), &["serve", "--log", "json"]);
    let lines: Vec<serde_json::Value> =
        stderr(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["level"], "ERROR");
    assert_eq!(lines[0]["error"], "ringleaf.toml:2: there is no setting admn; did you mean admin?");
    assert_eq!(lines.len(), 2);
}

#[test]
fn other_machines_are_not_served_by_accident() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(code(&output), 7);
    assert_eq!(
        stderr(&output),
        "ringleaf: flag --listen: listen is 0.0.0.0:0, which other machines can reach, and ringleaf does not ask who \
         they are; put a proxy that does in front, and say --open-to-anyone\n"
    );
    assert!(!folder.path().join("ringleaf-data").exists());
}

#[test]
fn a_server_that_keeps_nothing_or_asks_nobody_says_so_loudly() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = ringleaf(folder.path());
    command.args([
        "serve",
        "--memory",
        "--listen",
        "0.0.0.0:0",
        "--open-to-anyone",
        "--admin",
        "127.0.0.1:0",
    ]);
    command.args(["--log", "json"]).stderr(std::process::Stdio::piped());
    let server = Server::of(command);
    let warnings = wait_for("both warnings", || Some(server.complaints()).filter(|lines| lines.len() == 2));
    let texts: Vec<&str> = warnings.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert!(texts[0].starts_with("nothing is kept"), "{texts:?}");
    assert!(texts[1].starts_with("open to anyone"), "{texts:?}");
    let status = server.command(folder.path(), &["status"]);
    let text = common::stdout(&status);
    assert!(text.contains("! keeps nothing (--memory)\n"), "{text}");
    assert!(text.contains("! open to anyone"), "{text}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_demo_page_is_served_only_when_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, page) in [(&["data", "--dev"][..], true), (&["data"], false)] {
        let server = Server::start(folder.path(), arguments);
        let answer = request("GET", &format!("http://{}/", server.listen), &[]);
        assert_eq!(answer.content_type.starts_with("text/html"), page, "{answer:?}");
        server.stop();
    }
}

#[test]
fn sockets_are_told_that_the_server_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["data"]);
    let mut socket = common::open_socket(&server.listen, "notes");
    server.stop();
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).unwrap();
    // A close frame with code 1012 and a word for people.
    let close = [&[0x88, 17][..], &1012_u16.to_be_bytes(), b"server restarts"].concat();
    assert!(bytes.ends_with(&close), "{bytes:?}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("ringleaf.toml"),
        "[limits]\nclose_spread = \"1h\"\nstop_timeout = \"2h\"\n",
    )
    .unwrap();
    // More than once: its last line is written by another thread, so one could be lucky.
    for _ in 0..5 {
        let mut server = Server::start(folder.path(), &["data"]);
        let sockets: Vec<_> = (0..20).map(|_| common::open_socket(&server.listen, "notes")).collect();
        server.signal("TERM");
        server.wait_for_line("stopping");
        // Some of the sockets wait for their turn within the hour.
        assert_eq!(server.get("/livez").status, 200);
        assert!(server.get("/readyz").body.contains("[-] stopping: yes"), "{:?}", server.get("/readyz"));
        server.signal("INT");
        assert_eq!(server.wait().code(), Some(130));
        let last = server.lines().last().unwrap()["message"].as_str().unwrap_or_default().to_owned();
        assert!(last.starts_with("interrupted while stopping; "), "{last}");
        drop(sockets);
    }
}

#[test]
fn an_editor_that_was_there_is_counted_in_the_status() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["data"]);
    let _socket = common::open_socket(&server.listen, "notes");
    wait_for("one session", || {
        let status: serde_json::Value = serde_json::from_str(&server.get("/api/v1/status").body).unwrap();
        let counts = &status["counts"];
        (counts["sessions"] == 1 && counts["documents_resident"] == 1).then_some(())
    });
    server.stop();
}
