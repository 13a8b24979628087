//! Runs tests: those that work as many at a time as there are cores, those that mostly wait beside them, those that
//! measure alone.

use std::collections::VecDeque;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::TestOptions;
use super::binaries::{Binary, Built};
use super::report::Report;

/// Tests that hang are ended.
const TEST_TIMEOUT: Duration = Duration::from_mins(5);
const LONG_TEST_TIMEOUT: Duration = Duration::from_hours(3);
/// More of them would only wait for each other's processes to start.
const WAITING_AT_ONCE: usize = 16;

/// A module of this name holds tests that mostly wait; they take no core.
const WAITING: &str = "waiting::";
/// A module of this name holds tests that measure; they run alone.
const ALONE: &str = "alone::";

#[derive(Debug, Clone)]
pub(crate) struct Test {
    pub(crate) binary: Binary,
    pub(crate) name: String,
}

impl Test {
    pub(crate) fn title(&self) -> String {
        format!("{} {}", self.binary.name, self.name)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Skipped(String),
    Failed,
}

#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) test: Test,
    pub(crate) took: Duration,
    pub(crate) outcome: Outcome,
    pub(crate) output: String,
}

pub(crate) fn run_all(built: &Built, options: &TestOptions, report: &mut Report) {
    let (mut working, mut waiting, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for binary in &built.tests {
        let names = match binary.tests() {
            Ok(names) => names,
            Err(error) => {
                report.failed(&binary.name, Duration::ZERO, &format!("{error:#}"));
                continue;
            }
        };
        for name in names {
            let test = Test { binary: binary.clone(), name };
            if !options.wants(&test.title()) {
                continue;
            }
            let is_in =
                |module: &str| test.name.starts_with(module) || test.name.contains(&format!("::{module}"));
            let class = if is_in(WAITING) {
                &mut waiting
            } else if is_in(ALONE) {
                &mut alone
            } else {
                &mut working
            };
            class.push(test);
        }
    }
    let cores = thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let how = How { server: &built.server, long: options.long, fault: None };
    run_side_by_side(working, cores, waiting, how, report);
    run_side_by_side(alone, 1, Vec::new(), how, report);
}

/// What every test is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How<'a> {
    pub(crate) server: &'a Path,
    pub(crate) long: bool,
    /// The mistake that the server and the tests make; only what `mutants` has built can.
    pub(crate) fault: Option<&'a str>,
}

fn run_side_by_side(working: Vec<Test>, cores: usize, waiting: Vec<Test>, how: How<'_>, report: &mut Report) {
    let working = Mutex::new(VecDeque::from(working));
    let waiting = Mutex::new(VecDeque::from(waiting));
    // At their full figures many of them take cores as well.
    let waiting_at_once = if how.long { 2 * cores } else { WAITING_AT_ONCE };
    let (sender, receiver) = mpsc::sync_channel::<Finished>(64);
    thread::scope(|scope| {
        for (queue, workers) in [(&waiting, waiting_at_once), (&working, cores)] {
            for _ in 0..workers {
                let sender = sender.clone();
                scope.spawn(move || {
                    while let Some(test) = next(queue) {
                        if sender.send(run_one(test, how)).is_err() {
                            return;
                        }
                    }
                });
            }
        }
        drop(sender);
        for finished in receiver {
            show(&finished, report);
        }
    });
}

fn next(queue: &Mutex<VecDeque<Test>>) -> Option<Test> {
    queue.lock().ok()?.pop_front()
}

fn show(finished: &Finished, report: &mut Report) {
    let title = finished.test.title();
    match &finished.outcome {
        Outcome::Passed => report.passed(&title, finished.took),
        Outcome::Skipped(why) => report.skipped(&title, finished.took, why),
        Outcome::Failed => report.failed(&title, finished.took, &finished.output),
    }
    for figure in finished.output.lines().filter_map(|line| line.strip_prefix("figure: ")) {
        report.figure(figure);
    }
}

pub(crate) fn run_one(test: Test, how: How<'_>) -> Finished {
    let started_at = Instant::now();
    let mut command = Command::new(&test.binary.path);
    command.args([&test.name, "--exact", "--nocapture"]);
    if how.long {
        command.arg("--include-ignored").env("RINGLEAF_TEST_LONG", "1");
    }
    command.current_dir(&test.binary.folder).env("CARGO_MANIFEST_DIR", &test.binary.folder);
    command.env("RINGLEAF_BINARY", how.server);
    if let Some(fault) = how.fault {
        command.env("RINGLEAF_FAULT", fault);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own, so that a test that hangs is ended together with the servers that it started.
    command.process_group(0);
    let (outcome, output) = match command.spawn() {
        Ok(child) => wait(child, if how.long { LONG_TEST_TIMEOUT } else { TEST_TIMEOUT }),
        Err(error) => (Outcome::Failed, error.to_string()),
    };
    Finished { test, took: started_at.elapsed(), outcome, output }
}

fn wait(mut child: Child, timeout: Duration) -> (Outcome, String) {
    let group = child.id();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stop, stopped) = mpsc::sync_channel::<()>(1);
    thread::scope(|scope| {
        let out = scope.spawn(move || read(stdout));
        let err = scope.spawn(move || read(stderr));
        let guard = scope.spawn(move || {
            let hung = stopped.recv_timeout(timeout) == Err(mpsc::RecvTimeoutError::Timeout);
            if hung {
                end_group(group);
            }
            hung
        });
        let status = child.wait();
        let _ = stop.send(());
        let hung = guard.join().unwrap_or(false);
        // A server that outlives its test would keep our end of its output open.
        end_group(group);
        let mut output = out.join().unwrap_or_default();
        output.push_str(&err.join().unwrap_or_default());
        if hung {
            output.push_str(&format!("\nended after {} s\n", timeout.as_secs()));
        }
        let outcome = match status {
            Ok(status) if status.success() => outcome_of(&output),
            Ok(status) => {
                if let Some(signal) = status.signal() {
                    output.push_str(&format!("\nended by signal {signal}\n"));
                }
                Outcome::Failed
            }
            Err(_) => Outcome::Failed,
        };
        (outcome, output)
    })
}

/// A test that could not do its work says `skip: why`; one that is ignored has its reason in its result line.
fn outcome_of(output: &str) -> Outcome {
    if let Some(why) = output.lines().find_map(|line| line.strip_prefix("skip: ")) {
        return Outcome::Skipped(why.into());
    }
    let ignored = |line: &str| {
        let (_, rest) = line.strip_prefix("test ")?.split_once(" ... ignored")?;
        Some(rest.strip_prefix(", ").unwrap_or("no reason given").to_owned())
    };
    output.lines().find_map(ignored).map_or(Outcome::Passed, Outcome::Skipped)
}

fn read(pipe: Option<impl std::io::Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        let _ = pipe.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn end_group(group: u32) {
    let mut kill = Command::new("kill");
    kill.args(["-KILL", "--", &format!("-{group}")]).stdout(Stdio::null()).stderr(Stdio::null());
    let _ = kill.status();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skipped_test_says_why() {
        let skipped = |output: &str| match outcome_of(output) {
            Outcome::Skipped(why) => why,
            outcome => format!("{outcome:?}"),
        };
        assert_eq!(skipped("running 1 test\nskip: no strace here\ntest a ... ok\n"), "no strace here");
        assert_eq!(skipped("test a ... ignored, runs with --long\n"), "runs with --long");
        assert_eq!(skipped("test a ... ok\n"), "Passed");
    }
}
