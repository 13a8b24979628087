//! Documents that are read for people, in a process of their own.

use std::time::Duration;

use harness::{Server, ServerOptions, wait_for};

const PATIENCE: Duration = Duration::from_secs(30);

/// So many arrays beside each other: the smallest structs there are, which take the CRDT library a hundred times their bytes.
fn arrays(count: u64) -> Vec<u8> {
    let mut update = vec![1];
    number(&mut update, count);
    update.extend([1, 0, 7, 1, 1, b't', 0]);
    for left in 0..count - 1 {
        update.extend([0x87, 1]);
        number(&mut update, left);
        update.push(0);
    }
    update.push(0);
    update
}

fn number(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn import(server: &Server, name: &str, update: &[u8]) {
    let answer = server.admin_request("PUT", &format!("/api/v1/documents/{name}/content"), update);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn get(server: &Server, name: &str) -> (u16, String) {
    let answer = server.admin_request("GET", &format!("/api/v1/documents/{name}/content"), b"");
    (answer.status, answer.text())
}

/// The children of a process, those that nobody has waited for included.
fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let process = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // Behind the name, which is in brackets: its state and its parent.
        let of: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        (of == parent).then_some(process)
    });
    processes.collect()
}

fn only_child(server: &Server) -> u32 {
    let children = children(server.process());
    let [child] = children[..] else { panic!("one reader process is enough: {children:?}") };
    child
}

/// A small one is read before and after, so that it fails for what it takes.
#[test]
fn a_document_that_takes_more_memory_than_a_reader_process_may_is_not_read() {
    let server = Server::start_with(
        ServerOptions::default().limit("RINGLEAF_LIMITS_READER_MEMORY_BYTES_MAX", "256MiB"),
    );
    import(&server, "small", &arrays(3));
    import(&server, "large", &arrays(600_000));
    let small = (200, "{\"t\":[[],[],[]]}".to_owned());
    assert_eq!(get(&server, "small"), small);
    let child = only_child(&server);
    let (status, text) = get(&server, "large");
    assert_eq!(status, 422, "{}", text.get(..200).unwrap_or(&text));
    assert!(text.contains("more than 268435456 bytes of memory"), "{text}");
    assert_eq!(children(server.process()), Vec::<u32>::new(), "nobody has waited for it");
    assert_eq!(get(&server, "small"), small);
    assert_ne!(only_child(&server), child);
    let exported = server.admin_request("GET", "/api/v1/documents/large/content?as=update", b"");
    assert_eq!(exported.status, 200);
    assert!(exported.body == arrays(600_000), "it is what was imported");
}

#[test]
fn no_reader_process_outlives_its_server() {
    for kill in [false, true] {
        let mut server = Server::start();
        import(&server, "small", &arrays(3));
        assert_eq!(get(&server, "small").0, 200);
        let child = only_child(&server);
        if kill {
            server.kill();
        } else {
            server.signal("TERM");
            assert!(server.wait_exit(PATIENCE).success());
        }
        // It is somebody else's child now, who may take a while to wait for it.
        wait_for("its reader process has ended", PATIENCE, || {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat"));
            stat.map_or(Some(()), |stat| stat.contains(") Z ").then_some(()))
        });
    }
}
