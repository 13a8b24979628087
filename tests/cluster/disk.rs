//! Disks that are full, and disks that lie.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use harness::yjs::{self, Frame};
use harness::{Event, Server, ServerOptions, Socket, wait_for};
use tempfile::TempDir;

const CLIENT: u64 = 9;

/// A small file system in memory.
struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    fn mount(size: &str) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(folder.path())
            .output();
        match mount {
            Ok(output) if output.status.success() => Ok(Self { folder }),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, because a server that is about to end may still hold files.
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}

/// Types kilobytes until nothing comes back for some seconds or the socket ends; returns how far it was shown.
fn type_until_it_stops(socket: &mut Socket, clock: &mut u64) -> u64 {
    let text = "y".repeat(4096);
    let mut shown = 0;
    let mut heard_at = Instant::now();
    while heard_at.elapsed() < Duration::from_secs(3) {
        if *clock < shown + 64 * 4096 {
            if socket.send(&yjs::update_frame(&yjs::typed(CLIENT, *clock, &text))).is_err() {
                return shown;
            }
            *clock += 4096;
        }
        match socket.receive(Duration::from_millis(2)) {
            Event::Message(message) => {
                let before = shown;
                shown = shown.max(shown_by(&message));
                if shown > before {
                    heard_at = Instant::now();
                }
            }
            Event::Silence => {}
            Event::Closed { .. } | Event::Ended => return shown,
        }
    }
    shown
}

fn shown_by(message: &[u8]) -> u64 {
    let clock = |contents: yjs::Contents| contents.clocks.get(&CLIENT).copied().unwrap_or(0);
    match yjs::frame(message) {
        Frame::Step1(clocks) => clocks.get(&CLIENT).copied().unwrap_or(0),
        Frame::Step2(update) | Frame::Update(update) => clock(yjs::contents(&update)),
        Frame::Awareness(_) | Frame::Other(_) => 0,
    }
}

fn stored(server: &Server) -> u64 {
    yjs::contents(&server.state("full")).clocks.get(&CLIENT).copied().unwrap_or(0)
}

#[test]
fn a_full_disk_loses_nothing_that_was_shown_and_says_so() {
    let disk = match SmallDisk::mount("12m") {
        Ok(disk) => disk,
        Err(why) => return harness::skip(&format!("cannot mount a small tmpfs: {why}")),
    };
    let ballast = disk.folder.path().join("ballast");
    std::fs::write(&ballast, vec![0; 6 << 20]).unwrap();
    let options = ServerOptions::at(&disk.path()).announce("full").announce("disk").announce("store");
    let mut server = Server::start_with(options.clone());
    let mut socket = Socket::open(server.editors(), "/full");
    let mut clock = 0;
    let shown = type_until_it_stops(&mut socket, &mut clock);
    assert!(shown > 0, "something fitted");
    assert!(shown < clock, "the disk never filled up");
    let log = server.log_text();
    assert!(log.contains("full") || log.contains("ENOSPC"), "the log says what is wrong:\n{log}");

    // Space again: the process goes on where it was, or has ended in order.
    std::fs::remove_file(&ballast).unwrap();
    if server.has_ended() {
        harness::figure("with a full disk the process ended");
    } else {
        harness::figure("with a full disk the process waited");
        let mut late = shown;
        wait_for("what waited for the disk is shown", Duration::from_secs(40), || {
            match socket.receive(Duration::from_millis(100)) {
                Event::Message(message) => late = late.max(shown_by(&message)),
                Event::Silence => {}
                // It may also begin anew with its editors.
                Event::Closed { .. } | Event::Ended => return Some(()),
            }
            (late >= clock).then_some(())
        });
        assert!(stored(&server) >= late.max(shown), "what was shown is there");
    }
    server.kill();
    drop(server);
    // The log may have grown meanwhile, and a start copies it into the database: that needs room.
    let bigger = tempfile::tempdir().unwrap();
    copy_folder(&disk.path(), bigger.path());
    let server = Server::start_with(ServerOptions { data: Some(bigger.path().into()), ..options });
    let kept = stored(&server);
    assert!(kept >= shown, "{kept} of {shown} are left");
    harness::figure(&format!("full disk: {shown} units shown, {kept} kept, 0 lost"));
}

#[test]
fn a_process_killed_on_a_full_disk_loses_nothing_that_was_shown() {
    let disk = match SmallDisk::mount("6m") {
        Ok(disk) => disk,
        Err(why) => return harness::skip(&format!("cannot mount a small tmpfs: {why}")),
    };
    let options = ServerOptions::at(&disk.path()).announce("full").announce("disk").announce("store");
    let mut server = Server::start_with(options.clone());
    let mut socket = Socket::open(server.editors(), "/full");
    let shown = type_until_it_stops(&mut socket, &mut 0);
    server.kill();
    drop(server);
    // A bigger disk, as a person would see to.
    let bigger = tempfile::tempdir().unwrap();
    copy_folder(&disk.path(), bigger.path());
    let server = Server::start_with(ServerOptions { data: Some(bigger.path().into()), ..options });
    let kept = stored(&server);
    assert!(shown > 0 && kept >= shown, "{kept} of {shown} are left");
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Starts the server under strace, which lets a number of syncs through and fails every later one.
fn with_failing_sync(data: &Path, healthy: usize) -> ServerOptions {
    let inject = format!("inject=fsync,fdatasync:error=EIO:when={healthy}+");
    let wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", &inject];
    ServerOptions { wrapper: wrapper.iter().map(ToString::to_string).collect(), ..ServerOptions::at(data) }
}

fn strace_works() -> Result<(), String> {
    match Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// I4 from outside, on a disk on which every sync takes long. A slow machine only makes it take longer.
#[test]
fn nobody_hears_of_an_edit_before_the_disk_has_it() {
    const SYNC: Duration = Duration::from_millis(700);
    if let Err(why) = strace_works() {
        return harness::skip(&format!("strace does not work here: {why}"));
    }
    let data = tempfile::tempdir().unwrap();
    // So that the files are there, and the start has little to sync.
    drop(Server::start_with(ServerOptions::at(data.path())));
    let inject = format!("inject=fsync,fdatasync:delay_enter={}", SYNC.as_micros());
    let wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", &inject];
    let wrapper = wrapper.iter().map(ToString::to_string).collect();
    let server = Server::start_with(ServerOptions { wrapper, ..ServerOptions::at(data.path()) });
    let mut writer = Socket::open(server.editors(), "/full");
    let mut reader = Socket::open(server.editors(), "/full");
    for clock in 0..3 {
        writer.send(&yjs::update_frame(&yjs::typed(CLIENT, clock, "y"))).unwrap();
        let sent_at = Instant::now();
        for socket in [&mut reader, &mut writer] {
            wait_for("the edit is shown", Duration::from_secs(60), || {
                let Event::Message(message) = socket.receive(Duration::from_millis(20)) else { return None };
                (shown_by(&message) > clock).then_some(())
            });
            assert!(sent_at.elapsed() >= SYNC, "shown after {:?}", sent_at.elapsed());
        }
    }
}

#[test]
fn when_fsync_fails_the_process_ends_and_nothing_shown_is_lost() {
    if let Err(why) = strace_works() {
        return harness::skip(&format!("strace does not work here: {why}"));
    }
    let mut ended = 0;
    for healthy in [40, 41, 55, 80] {
        let data = tempfile::tempdir().unwrap();
        let options = with_failing_sync(data.path(), healthy);
        let mut server = Server::start_with(options.announce("store").announce("disk").announce("sync"));
        let mut socket = Socket::open(server.editors(), "/full");
        let shown = type_until_it_stops(&mut socket, &mut 0);
        wait_for("the process ends by itself", Duration::from_secs(20), || server.has_ended().then_some(()));
        ended += 1;
        let log = server.log_text();
        assert!(log.contains("ERROR"), "the log says why:\n{log}");
        drop(server);
        let server = Server::start_with(ServerOptions::at(data.path()));
        let kept = stored(&server);
        assert!(shown > 0 && kept >= shown, "{kept} of {shown} are left");
    }
    harness::figure(&format!("{ended} failing disks, 0 lost"));
}
