//! Stores that released versions have written stay readable.
//!
//! `tests/vectors/store-1` was written by version 0.1 (`TESTS_RECORD=1 cargo test -p ringleaf-tests --test ring released`
//! writes it anew; whoever changes a format adds a folder instead): a database file, the same in SQL, and what must come out.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use harness::{Cluster, ClusterOptions, Group, Role, Server, ServerOptions, Socket, wait_for, yjs};

const SCHEMA: &str = include_str!("../../crates/store/src/postgres/schema_1.sql");
/// Tables in an order in which they can be filled, with their columns.
const TABLES: [(&str, &[&str]); 4] = [
    ("ringleaf_format", &["format"]),
    ("ringleaf_documents", &["document", "created_at"]),
    ("ringleaf_slots", &["document", "slot", "at", "kind", "record"]),
    ("ringleaf_snapshots", &["document", "upto", "at", "changed_at", "deleted", "record"]),
];
/// Tables that later versions have made beside those of format 1. Version 0.1 passes over them, so they need no format
/// of their own.
const BESIDE: [(&str, &[&str]); 1] = [("ringleaf_remainders", &["document", "id", "record"])];
/// Tables of format 1 that the recorded stores leave empty.
const EMPTY: [(&str, &[&str]); 2] = [
    ("ringleaf_attempts", &["document", "attempts", "reason"]),
    ("ringleaf_quarantine", &["document", "reason", "since"]),
];
const LARGE_BYTES: usize = 40_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/store-1")
}

/// What each document holds, and whether it is deleted.
fn expected() -> Vec<(&'static str, String, bool)> {
    vec![
        ("compacted", "abcdefghij".repeat(6), false),
        ("deleted", "gone".into(), true),
        ("plain", "one two three".into(), false),
        ("undeleted", "back again".into(), false),
        ("über/größe 1", "x".repeat(LARGE_BYTES), false),
    ]
}

fn percent(name: &str) -> String {
    name.bytes().fold(String::new(), |path, byte| match byte {
        byte if byte.is_ascii_alphanumeric() || byte == b'/' => path + &char::from(byte).to_string(),
        byte => path + &format!("%{byte:02X}"),
    })
}

fn typed(server: &Server, name: &str, clock: u64, text: &str) -> u64 {
    let mut socket = Socket::open(server.editors(), &format!("/{}", percent(name)));
    socket.send(&yjs::update_frame(&yjs::typed(7, clock, text))).unwrap();
    let end = clock + text.len() as u64;
    crate::wait_acknowledged(&mut socket, 7, end);
    end
}

fn done(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Fills a store through its server.
fn write(server: &Server) {
    for (name, text, _) in expected() {
        match name {
            "compacted" => {
                text.as_bytes().chunks(1).enumerate().for_each(|(clock, letter)| {
                    typed(server, name, clock as u64, std::str::from_utf8(letter).unwrap());
                });
                wait_for("a snapshot is there", Duration::from_secs(20), || {
                    let known =
                        server.admin_request("POST", "/api/v1/documents/compacted/verify", b"").json();
                    (known["snapshot_upto"].as_u64()? > 0).then_some(())
                });
            }
            "plain" => {
                text.split_inclusive(' ').fold(0, |clock, word| typed(server, name, clock, word));
            }
            "deleted" => {
                typed(server, name, 0, &text);
                done(&server.command("doc rm deleted --yes"));
            }
            "undeleted" => {
                let clock = typed(server, name, 0, "back ");
                done(&server.command("doc rm undeleted --yes"));
                done(&server.command("doc undelete undeleted"));
                typed(server, name, clock, "again");
            }
            _ => {
                typed(server, name, 0, &text);
            }
        }
    }
}

fn reads_everything(server: &Server) {
    for (name, text, deleted) in expected() {
        let path = |what: &str| {
            let name = percent(name).replace('/', "%2F");
            format!("/api/v1/documents/{name}{what}")
        };
        let ask = |method, what| server.admin_request(method, &path(what), b"");
        assert_eq!(ask("GET", "").json()["deleted"], deleted, "{name}");
        if deleted {
            let answer = ask("POST", "/undelete");
            assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        }
        let answer = ask("GET", "/content?as=text");
        assert_eq!((answer.status, answer.text().trim_end()), (200, text.as_str()), "{name}");
        let verified = ask("POST", "/verify").json();
        assert_eq!(verified["sound"], true, "{name}: {verified}");
        assert_eq!(verified["snapshot_upto"].as_u64() > Some(0), name == "compacted", "{name}: {verified}");
        // It can be written on.
        typed(server, name, text.len() as u64, "!");
    }
}

fn options() -> ServerOptions {
    ServerOptions::default().limit("RINGLEAF_LIMITS_TAIL_SLOTS_MAX", 10)
}

#[test]
fn a_database_file_of_version_1_is_served() {
    let file = folder().join("ringleaf.db");
    if std::env::var_os("TESTS_RECORD").is_some() {
        let server = Server::start_with(options().argument("--node-id").argument("n1"));
        write(&server);
        std::fs::create_dir_all(folder()).unwrap();
        let _old = std::fs::remove_file(&file);
        done(&server.command(&format!("backup {}", file.display())));
    }
    let data = tempfile::tempdir().unwrap();
    let database = data.path().join("ringleaf.db");
    std::fs::copy(file, &database).unwrap();
    let mut server = Server::start_with(ServerOptions::at(data.path()));
    reads_everything(&server);
    server.signal("TERM");
    assert!(server.wait_exit(Duration::from_secs(30)).success());
    // Version 0.1 opens what has these two numbers in its header: the format, and whose file it is.
    let header = std::fs::read(database).unwrap();
    assert_eq!((&header[60..64], &header[68..72]), (&[0, 0, 0, 1][..], &b"RLEF"[..]));
}

#[test]
fn a_postgresql_database_of_version_1_is_served() {
    if let Some(why) = Cluster::missing() {
        return harness::skip(why);
    }
    let file = folder().join("postgres.sql");
    if std::env::var_os("TESTS_RECORD").is_some() {
        let cluster =
            Cluster::start(&ClusterOptions { each: options(), ..ClusterOptions::new(1, 0) }).unwrap();
        write(cluster.server("n1"));
        std::fs::create_dir_all(folder()).unwrap();
        std::fs::write(&file, recorded(&cluster)).unwrap();
    }
    let mut cluster = Cluster::without_processes(Group::default());
    cluster.postgres.sql(&std::fs::read_to_string(file).unwrap());
    let node = ServerOptions { role: Role::Node, ..ServerOptions::default() };
    let node = cluster.place("n1", node);
    cluster.add("n1", node);
    cluster.wait_ready("n1");
    reads_everything(cluster.server("n1"));
    // Version 0.1 opens what has this format and these tables.
    assert_eq!(cluster.postgres.sql("SELECT format FROM ringleaf_format"), "1");
    assert_eq!(cluster.postgres.sql(COLUMNS), columns());
}

const COLUMNS: &str = "
    SELECT table_name || ': ' || string_agg(column_name, ', ' ORDER BY ordinal_position)
    FROM information_schema.columns WHERE table_schema = current_schema() GROUP BY table_name
    ORDER BY table_name COLLATE \"C\"";

fn columns() -> String {
    let mut lines: Vec<String> = [&TABLES[..], &BESIDE, &EMPTY]
        .concat()
        .iter()
        .map(|(table, columns)| format!("{table}: {}", columns.join(", ")))
        .collect();
    lines.sort();
    lines.join("\n")
}

/// The tables as SQL, a line for each row.
fn recorded(cluster: &Cluster) -> String {
    let mut text = format!("CREATE TABLE ringleaf_format (format INT8 PRIMARY KEY);\n{SCHEMA}\n");
    for (table, columns) in TABLES {
        let (marks, list) = (vec!["%L"; columns.len()].join(", "), columns.join(", "));
        let insert = format!("INSERT INTO {table} ({list}) VALUES ({marks});");
        text +=
            &cluster.postgres.sql(&format!("SELECT format('{insert}', {list}) FROM {table} ORDER BY {list}"));
        text.push('\n');
    }
    text
}

#[test]
fn the_recorded_stores_are_small() {
    for file in ["ringleaf.db", "postgres.sql"] {
        let bytes = std::fs::metadata(folder().join(file)).unwrap().len();
        assert!(bytes < 300_000, "{file} has {bytes} bytes");
    }
}
