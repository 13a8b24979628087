//! Every admin command, on a server and on a stopped server's folder, as text and as JSON.

#![allow(clippy::unwrap_used, reason = "a panic is how a test says no")]

mod common;

use std::path::Path;
use std::process::Output;

use common::{Server, code, json, long_update, nested_update, ringleaf, run, stderr, stdout, update};
use serde_json::Value;

/// Where the commands go.
enum Mode<'a> {
    Server(&'a Server),
    Folder,
}

impl Mode<'_> {
    fn run(&self, folder: &Path, arguments: &[&str]) -> Output {
        match self {
            Mode::Server(server) => server.command(folder, arguments),
            Mode::Folder => ringleaf(folder).args(arguments).args(["--data", "data"]).output().unwrap(),
        }
    }

    fn json(&self, folder: &Path, arguments: &[&str], expected: i32) -> Value {
        let output = self.run(folder, &[arguments, &["-o", "json"]].concat());
        assert_eq!(code(&output), expected, "{arguments:?}: {}{}", stdout(&output), stderr(&output));
        json(&output)
    }

    fn text(&self, folder: &Path, arguments: &[&str], expected: i32) -> String {
        let output = self.run(folder, arguments);
        assert_eq!(code(&output), expected, "{arguments:?}: {}{}", stdout(&output), stderr(&output));
        stdout(&output) + &stderr(&output)
    }
}

/// The life of a document, told by commands alone.
fn every_command(mode: &Mode<'_>, folder: &Path) {
    let at = |arguments: &[&str]| mode.json(folder, arguments, 0);
    std::fs::write(folder.join("hi.update"), update(1)).unwrap();

    assert_eq!(at(&["doc", "list"])["documents"], Value::Array(Vec::new()));
    let imported = at(&["doc", "import", "notes/today", "hi.update"]);
    assert_eq!(imported["name"], "notes/today");
    assert_eq!(at(&["doc", "get", "notes/today"])["t"], "hi");
    assert_eq!(mode.text(folder, &["doc", "get", "notes/today", "-o", "text"], 0), "hi");
    let bytes = mode.run(folder, &["doc", "get", "notes/today", "-o", "update"]).stdout;
    assert_eq!(bytes, update(1));

    let exported = at(&["doc", "export", "notes/today", "out.update"]);
    assert_eq!(exported["bytes"], update(1).len());
    assert_eq!(std::fs::read(folder.join("out.update")).unwrap(), update(1));
    let again = mode.json(folder, &["doc", "export", "notes/today", "out.update"], 5);
    assert_eq!(again["error"]["code"], "file_exists");
    at(&["doc", "export", "notes/today", "out.update", "--force"]);
    assert_eq!(mode.run(folder, &["doc", "export", "notes/today", "-"]).stdout, update(1));

    let listed = at(&["doc", "list", "notes/"]);
    assert_eq!(listed["documents"][0]["name"], "notes/today");
    assert_eq!(at(&["doc", "list", "other/"])["documents"], Value::Array(Vec::new()));
    assert_eq!(at(&["doc", "show", "notes/today"])["name"], "notes/today");
    assert_eq!(at(&["doc", "verify", "notes/today"])["sound"], true);
    assert_eq!(at(&["doc", "verify", "notes/today", "--deep"])["reader_bytes"], update(1).len());

    let unconfirmed = mode.json(folder, &["doc", "rm", "notes/today"], 5);
    assert_eq!(unconfirmed["error"]["code"], "not_confirmed");
    assert_eq!(at(&["doc", "rm", "notes/today", "--yes"])["outcome"], "deleted");
    let deleted = mode.json(folder, &["doc", "get", "notes/today"], 5);
    assert_eq!(deleted["error"]["code"], "document_deleted");
    assert_eq!(at(&["doc", "show", "notes/today"])["deleted"], true);
    assert_eq!(at(&["doc", "undelete", "notes/today"])["outcome"], "undeleted");
    assert_eq!(at(&["doc", "get", "notes/today"])["t"], "hi");

    let missing = mode.json(folder, &["doc", "show", "nothing"], 3);
    assert_eq!(missing["error"]["code"], "document_not_found");
    assert!(!missing["error"]["message"].as_str().unwrap().is_empty());
    assert_eq!(
        mode.json(folder, &["doc", "import", "x", "no-such-file"], 3)["error"]["code"],
        "file_not_found"
    );
    std::fs::write(folder.join("rubbish"), b"not an update").unwrap();
    mode.json(folder, &["doc", "import", "x", "rubbish"], 1);

    assert_eq!(at(&["doc", "quarantine", "list"])["documents"], Value::Array(Vec::new()));
    mode.json(folder, &["doc", "quarantine", "show", "notes/today"], 3);
    mode.json(folder, &["doc", "quarantine", "release", "notes/today", "--yes"], 3);

    let backup = at(&["backup", "all.backup"]);
    assert_eq!(backup["outcome"], "written");
    assert!(backup["bytes"].as_u64().unwrap() > 0);
    assert_eq!(mode.json(folder, &["backup", "all.backup"], 5)["error"]["code"], "file_exists");
    assert_eq!(mode.json(folder, &["backup", "no/such/folder/f"], 1)["error"]["code"], "cannot_write");

    let status = at(&["status"]);
    assert_eq!(status["store"]["kind"], "sqlite");
}

fn tables(mode: &Mode<'_>, folder: &Path) {
    let list = mode.text(folder, &["doc", "list"], 0);
    let mut lines = list.lines();
    assert_eq!(
        lines.next().unwrap().split_whitespace().collect::<Vec<_>>(),
        ["NAME", "SIZE", "STATE", "SESSIONS", "UPDATES/S", "CHANGED"]
    );
    assert!(lines.next().unwrap().starts_with("notes/today  "), "{list}");
    let wide = mode.text(folder, &["doc", "list", "-o", "wide"], 0);
    assert!(wide.lines().next().unwrap().contains("CREATED"), "{wide}");
    assert_eq!(mode.text(folder, &["doc", "quarantine", "list"], 0), "no document is in quarantine\n");
    assert_eq!(
        mode.text(folder, &["doc", "rm", "notes/today"], 5),
        "ringleaf: this would delete the document \"notes/today\" for everybody, and there is no terminal to ask on; \
         say --yes to do it\n"
    );
}

#[test]
fn every_command_works_on_a_running_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["data"]);
    every_command(&Mode::Server(&server), folder.path());
    tables(&Mode::Server(&server), folder.path());
    let status = Mode::Server(&server).text(folder.path(), &["status"], 0);
    assert!(status.starts_with("● serving for "), "{status}");
    assert!(status.contains(&format!("ws://{}/<document>", server.listen)), "{status}");
    server.stop_after(&["backup not written"]);
}

#[test]
fn every_command_works_on_a_stopped_servers_folder() {
    let folder = tempfile::tempdir().unwrap();
    Server::start(folder.path(), &["data"]).stop();
    every_command(&Mode::Folder, folder.path());
    tables(&Mode::Folder, folder.path());
    let status = Mode::Folder.text(folder.path(), &["status"], 0);
    assert!(status.starts_with("● stopped: nobody serves this folder\n"), "{status}");
}

#[test]
fn what_a_server_keeps_its_folder_keeps() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["data"]);
    std::fs::write(folder.path().join("hi.update"), update(1)).unwrap();
    Mode::Server(&server).json(folder.path(), &["doc", "import", "a", "hi.update"], 0);
    let busy = Mode::Folder.json(folder.path(), &["doc", "list"], 8);
    assert_eq!(busy["error"]["code"], "folder_in_use");
    server.stop();
    assert_eq!(Mode::Folder.json(folder.path(), &["doc", "get", "a"], 0)["t"], "hi");
}

#[test]
fn a_backup_is_a_folder_that_can_be_served() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["data"]);
    std::fs::write(folder.path().join("hi.update"), update(1)).unwrap();
    let mode = Mode::Server(&server);
    mode.json(folder.path(), &["doc", "import", "a", "hi.update"], 0);
    let text = mode.text(folder.path(), &["backup", "all.backup"], 0);
    assert!(text.contains("all.backup written ("), "{text}");
    mode.json(folder.path(), &["doc", "rm", "a", "--yes"], 0);
    server.stop();

    let restored = folder.path().join("restored");
    std::fs::create_dir(&restored).unwrap();
    std::fs::copy(folder.path().join("all.backup"), restored.join("ringleaf.db")).unwrap();
    let output = run(folder.path(), &["doc", "get", "a", "--data", "restored", "-o", "json"]);
    assert_eq!(json(&output)["t"], "hi");
}

#[test]
fn a_store_is_copied_once_and_then_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("hi.update"), update(1)).unwrap();
    let server = Server::start(folder, &["data"]);
    Mode::Server(&server).json(folder, &["doc", "import", "notes", "hi.update"], 0);
    server.stop();
    let copy = |from: &str, to: &str, expected: i32| {
        let output = ringleaf(folder).args(["store", "copy", from, to, "-o", "json"]).output().unwrap();
        assert_eq!(code(&output), expected, "{}{}", stdout(&output), stderr(&output));
        json(&output)
    };
    assert_eq!(copy("data", "copy", 0)["documents"], 1);
    assert_eq!(copy("data", "copy", 0)["already_there"], 1);
    let there =
        ringleaf(folder).args(["doc", "get", "notes", "-o", "text", "--data", "copy"]).output().unwrap();
    assert_eq!(stdout(&there), "hi");

    std::fs::write(folder.join("other.update"), update(2)).unwrap();
    let import = |data: &str, file: &str| {
        code(&ringleaf(folder).args(["doc", "import", "notes", file, "--data", data]).output().unwrap())
    };
    assert_eq!(copy("data", "other", 0)["documents"], 1);
    assert_eq!(import("other", "other.update"), 0);
    assert_eq!(copy("other", "copy", 0)["already_there"], 0, "what is new goes on top");
    assert_eq!(copy("data", "copy", 1)["failed"][0]["document"], "notes", "and nothing goes back");
    std::fs::write(folder.join("third.update"), update(3)).unwrap();
    std::fs::write(folder.join("fourth.update"), update(4)).unwrap();
    assert_eq!((import("other", "third.update"), import("copy", "fourth.update")), (0, 0));
    let refused = copy("other", "copy", 1);
    assert_eq!(refused["failed"][0]["document"], "notes");
    assert_eq!(copy("data", "data", 2)["error"]["code"], "usage");
    assert_eq!(copy("nowhere", "copy", 3)["error"]["code"], "no_store");
}

/// An export that finds no room leaves what was there, and nothing else.
#[test]
fn an_export_without_room_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let server = Server::start(folder, &["data"]);
    std::fs::write(folder.join("long.update"), long_update(100_000)).unwrap();
    Mode::Server(&server).json(folder, &["doc", "import", "long", "long.update"], 0);
    let without_room = |file: &str, flags: &[&str]| {
        // A limit on the size of files stands for a full disk.
        let mut command = std::process::Command::new("sh");
        command.args([
            "-c",
            "ulimit -f 8 && trap '' XFSZ && exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_ringleaf"),
        ]);
        command.current_dir(folder).args(["doc", "export", "long", file, "--admin", &server.admin]);
        let output = command.args(flags).output().unwrap();
        assert_eq!(code(&output), 1, "{}", stderr(&output));
        assert!(stderr(&output).contains(&format!("{file} cannot be written: ")), "{}", stderr(&output));
    };
    std::fs::write(folder.join("earlier.yjs"), "an earlier export").unwrap();
    without_room("earlier.yjs", &["--force"]);
    assert!(std::fs::read(folder.join("earlier.yjs")).unwrap() == b"an earlier export");
    without_room("new.yjs", &[]);
    let left: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "the data, the update and the earlier export: {left:?}");
    Mode::Server(&server).json(folder, &["doc", "export", "long", "new.yjs"], 0);
    Mode::Server(&server).json(folder, &["doc", "export", "long", "earlier.yjs", "--force"], 0);
    for file in ["new.yjs", "earlier.yjs"] {
        assert!(std::fs::read(folder.join(file)).unwrap() == long_update(100_000), "{file}");
    }
    server.stop();
}

/// The server answers before it has read all, and closes.
#[test]
fn an_import_that_is_too_large_hears_the_servers_reason() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("ringleaf.toml"), "[limits]\ndocument_bytes_max = \"1MiB\"\n").unwrap();
    let server = Server::start(folder, &["data"]);
    for bytes in [(1 << 20) + 1, 8 << 20, 64 << 20] {
        std::fs::File::create(folder.join("large")).unwrap().set_len(bytes).unwrap();
        let failure = Mode::Server(&server).json(folder, &["doc", "import", "large", "large"], 5);
        assert_eq!(failure["error"]["code"], "update_too_large", "{failure}");
        let message = format!("the update has {bytes} bytes, and a document at most 1048576");
        assert_eq!(failure["error"]["message"], message.as_str());
    }
    std::fs::write(folder.join("long.update"), long_update(1_000_000)).unwrap();
    Mode::Server(&server).json(folder, &["doc", "import", "long", "long.update"], 0);
    server.stop();
}

#[test]
fn values_may_be_nested_deeper_than_a_json_library_reads() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let server = Server::start(folder, &["data"]);
    std::fs::write(folder.join("deep.update"), nested_update(200)).unwrap();
    Mode::Server(&server).json(folder, &["doc", "import", "deep", "deep.update"], 0);
    let text = Mode::Server(&server).text(folder, &["doc", "get", "deep"], 0);
    assert_eq!(text, format!("{{\"t\":{}{}}}\n", "[".repeat(201), "]".repeat(201)));
    server.stop();
}

#[test]
fn a_server_that_keeps_nothing_has_nothing_to_copy() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--memory"]);
    let failure = Mode::Server(&server).json(folder.path(), &["backup", "all.backup"], 5);
    assert_eq!(failure["error"]["code"], "keeps_nothing");
}

#[test]
fn a_server_that_is_not_there_is_a_failure_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    // A port that was just free, and that nobody listens on.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for command in [&["status"][..], &["doc", "list"], &["doc", "get", "x"], &["backup", "f"]] {
        let output = run(folder.path(), &[command, &["--admin", &free, "-o", "json"]].concat());
        assert_eq!(code(&output), 4, "{command:?}");
        assert_eq!(json(&output)["error"]["code"], "unreachable");
    }
    let output = run(folder.path(), &["status", "--admin", &free]);
    let text = stderr(&output);
    assert!(
        text.starts_with(&format!(
            "ringleaf: no server answers at http://{free}: nobody listens there; start "
        )),
        "{text}"
    );
    assert_eq!(code(&run(folder.path(), &["healthcheck", "--admin", &free])), 1);
    let output = run(folder.path(), &["doc", "list", "--data", "nowhere", "-o", "json"]);
    assert_eq!((code(&output), json(&output)["error"]["code"].as_str()), (3, Some("no_store")));
    assert!(!folder.path().join("nowhere").exists(), "a command never makes a folder");
}

#[test]
fn a_healthy_server_is_healthy() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["data"]);
    let output = server.command(folder.path(), &["healthcheck"]);
    assert_eq!((code(&output), stdout(&output), stderr(&output)), (0, String::new(), String::new()));
    server.stop();
}

#[test]
fn the_admin_address_is_found_in_the_environment_or_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["data"]);
    let output = ringleaf(folder.path()).arg("status").env("RINGLEAF_ADMIN", &server.admin).output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    // A folder that is named by a flag wins over a server that is named by the environment.
    let mut on_folder = ringleaf(folder.path());
    on_folder.args(["doc", "list", "--data", "data"]).env("RINGLEAF_ADMIN", &server.admin);
    assert_eq!(code(&on_folder.output().unwrap()), 8, "the folder is in use");
    std::fs::write(folder.path().join("ringleaf.toml"), format!("admin = \"{}\"\n", server.admin)).unwrap();
    let output = run(folder.path(), &["status"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    server.stop();
}

#[test]
fn wrong_usage_is_json_too_when_json_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["doc", "lst", "-o", "json"]);
    assert_eq!(code(&output), 2);
    assert_eq!(json(&output)["error"]["code"], "usage");
    let output = run(folder.path(), &["doc", "lst"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("unrecognized subcommand 'lst'"), "{}", stderr(&output));
}

#[test]
fn the_configuration_is_checked_and_shown_with_origins() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["config", "check"]);
    assert_eq!(stdout(&output), "the configuration is fine; there is no ringleaf.toml here\n");
    std::fs::write(folder.path().join("ringleaf.toml"), "[limits]\nretention = \"1h\"\n").unwrap();
    assert_eq!(stdout(&run(folder.path(), &["config", "check"])), "ringleaf.toml is fine\n");
    let shown = stdout(&run(folder.path(), &["config", "show", "--origin", "--listen", "127.0.0.1:7"]));
    assert!(
        shown.contains("listen = \"127.0.0.1:7\"                           # flag --listen\n"),
        "{shown}"
    );
    assert!(
        shown.contains("retention = \"1h\"                                 # ringleaf.toml:2\n"),
        "{shown}"
    );
    let shown = json(&run(folder.path(), &["config", "show", "-o", "json"]));
    let retention =
        shown.as_array().unwrap().iter().find(|entry| entry["key"] == "limits.retention").unwrap();
    assert_eq!(
        (retention["value"].as_str(), retention["origin"].as_str()),
        (Some("1h"), Some("ringleaf.toml:2"))
    );
    let printed = stdout(&run(folder.path(), &["serve", "--print-config"]));
    assert_eq!(printed, stdout(&run(folder.path(), &["config", "show"])));

    std::fs::write(folder.path().join("ringleaf.toml"), "[limits]\nretension = \"1h\"\n").unwrap();
    let output = run(folder.path(), &["config", "check", "-o", "json"]);
    assert_eq!(code(&output), 7);
    let error = &json(&output)["error"];
    assert_eq!(error["code"], "configuration");
    assert_eq!(
        error["message"],
        "ringleaf.toml:2: there is no setting limits.retension; did you mean limits.retention?"
    );
}

#[test]
fn the_configuration_file_that_is_named_is_the_one_that_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("ringleaf.toml"), "node_id = \"standard\"\n").unwrap();
    std::fs::write(folder.join("bad.toml"), "foo = 1\n").unwrap();
    std::fs::write(folder.join("good.conf"), "node_id = \"named\"\n").unwrap();
    std::fs::create_dir(folder.join("data")).unwrap();
    for command in ["check", "show"] {
        let bad = run(folder, &["config", command, "bad.toml"]);
        assert_eq!((code(&bad), stderr(&bad)), (7, "ringleaf: bad.toml:1: there is no setting foo\n".into()));
        let missing = run(folder, &["config", command, "missing.toml"]);
        assert_eq!(code(&missing), 7);
        assert!(
            stderr(&missing).starts_with("ringleaf: missing.toml: cannot be read: "),
            "{}",
            stderr(&missing)
        );
        let two = run(folder, &["config", command, "bad.toml", "--config", "good.conf"]);
        assert_eq!(code(&two), 2, "{}", stderr(&two));
    }
    assert_eq!(stdout(&run(folder, &["config", "check", "good.conf"])), "good.conf is fine\n");
    assert!(stdout(&run(folder, &["config", "show", "good.conf"])).contains("node_id = \"named\"\n"));
    let shown = stdout(&run(folder, &["config", "show", "data"]));
    assert!(shown.contains("data = \"data\"\n") && shown.contains("node_id = \"standard\"\n"), "{shown}");
}

#[test]
fn the_version_is_text_or_json() {
    let folder = tempfile::tempdir().unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(stdout(&run(folder.path(), &["version"])), format!("ringleaf {version}\n"));
    assert_eq!(json(&run(folder.path(), &["version", "-o", "json"]))["version"], version);
}

/// The other builds are what `cargo xtask mutants` makes.
#[cfg(not(feature = "faults"))]
#[test]
fn a_fault_cannot_be_chosen() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [["config", "check"], ["serve", "--listen=127.0.0.1:0"]] {
        let mut command = ringleaf(folder.path());
        let output = command.args(arguments).env("RINGLEAF_FAULT", "no-fence").output().unwrap();
        assert_eq!(code(&output), 7, "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("RINGLEAF_FAULT"), "{output:?}");
    }
}

#[test]
fn every_shell_gets_completions() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(folder.path(), &["completions", shell]);
        assert_eq!(code(&output), 0, "{shell}");
        assert!(stdout(&output).contains("healthcheck"), "{shell}");
    }
}
