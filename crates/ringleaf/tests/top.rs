//! `ringleaf top` on a terminal.

#![allow(clippy::unwrap_used, reason = "a panic is how a test says no")]

mod common;

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::process::Command;

use common::{Server, ringleaf};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// A terminal, and the name by which a process opens its other end.
fn terminal() -> (File, String) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    tcsetwinsize(&ours, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let theirs = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
    (File::from(ours), theirs)
}

/// Reads what is written on it, until that holds.
fn read_until(terminal: &mut File, shown: &mut String, holds: impl Fn(&str) -> bool) {
    let mut bytes = [0; 4_096];
    while !holds(shown) {
        // An error: nobody has the other end open any more.
        let read = terminal.read(&mut bytes).unwrap_or(0);
        if read == 0 {
            return;
        }
        shown.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
}

#[test]
fn whatever_ends_it_leaves_the_terminal_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["data"]);
    for signal in ["TERM", "HUP"] {
        let (mut ours, theirs) = terminal();
        let open = || OpenOptions::new().read(true).write(true).open(&theirs).unwrap();
        let (stdin, stdout, stderr) = (open(), open(), open());
        let before = tcgetattr(&ours).unwrap().local_modes;
        let mut command = ringleaf(folder.path());
        command.args(["top", "--admin", &format!("http://{}", server.admin)]);
        let mut top = command.stdin(stdin).stdout(stdout).stderr(stderr).spawn().unwrap();
        // It holds the other end too.
        drop(command);
        let mut shown = String::new();
        read_until(&mut ours, &mut shown, |shown| shown.contains("\x1b[?1049h") && shown.contains("\x1b[H"));
        assert!(!tcgetattr(&ours).unwrap().local_modes.contains(LocalModes::ICANON), "{shown:?}");
        let sent =
            Command::new("kill").args([&format!("-{signal}"), &top.id().to_string()]).status().unwrap();
        assert!(sent.success());
        read_until(&mut ours, &mut shown, |_| false);
        assert!(top.wait().unwrap().success(), "{signal}: {shown:?}");
        assert!(shown.ends_with("\x1b[?7h\x1b[?25h\x1b[?1049l"), "{signal}: {shown:?}");
        assert_eq!(tcgetattr(&ours).unwrap().local_modes, before, "{signal}");
    }
    server.stop();
}
