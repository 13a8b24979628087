//! Nobody reads what the server logs: a terminal in which somebody pressed ^S, a log collector that hangs.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use harness::{Server, ServerOptions, Socket, wait_for, yjs};

/// Writes until the pipe takes nothing more.
fn fill(pipe: &mut File) {
    for size in [4_096, 1] {
        let filler = vec![b' '; size];
        let refused = std::iter::repeat_with(|| pipe.write(&filler)).find_map(Result::err);
        assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::WouldBlock));
    }
}

#[test]
fn a_log_that_nobody_reads_stops_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    // Open for both, so that neither side waits for the other to open it.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut pipe = File::options().read(true).write(true).custom_flags(nonblocking).open(&path).unwrap();
    let mut options = ServerOptions::default().limit("RINGLEAF_LOG_FILTER", "trace");
    let into_the_pipe = format!("exec \"$@\" 2>'{}'", path.display());
    options.wrapper = vec!["sh".into(), "-c".into(), into_the_pipe, "sh".into()];
    let mut server = Server::start_with(options);
    let mut first = [0_u8; 1];
    pipe.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"{", "it logs into the pipe");
    fill(&mut pipe);

    for number in 1..50_u64 {
        let room = format!("room{number}");
        let mut socket = Socket::open(server.editors(), &format!("/{room}"));
        socket.send(&yjs::update_frame(&yjs::typed(number, 0, "still here"))).unwrap();
        wait_for("an edit is durable", Duration::from_secs(30), || {
            (server.last_slot(&room) > 0).then_some(())
        });
    }
    server.signal("TERM");
    let status = server.wait_exit(Duration::from_secs(60));
    assert!(status.success(), "{status}");
}
