//! The process in which the library runs.

use std::io::{BufRead, BufReader, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::time::Duration;

use ringleaf_wire::stand_in;
use yrs::updates::decoder::Decode;
use yrs::{Doc, ReadTxn, StateVector, Transact, Update};

const STACK_BYTES: usize = 2 << 20;

/// How much memory a document of a case may take: so many bytes for each of its own, and what an allocator may grow by
/// on its own.
const MEMORY_FACTOR_MAX: u64 = 64;
const MEMORY_BYTES_SPARE: u64 = 16 << 20;

/// Longer than this no case takes, however busy the machine is.
const TIME_MAX: Duration = Duration::from_secs(60);

/// More address space than this the child cannot have: reserving it without use is a fault, too.
const ADDRESS_SPACE_KIB: u64 = 4 << 20;

/// What the library did with a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It took everything, and read what it wrote.
    Taken,
    /// It decoded everything and refused to apply something.
    Refused,
    /// It did not decode something, or what it wrote itself.
    NotDecoded,
    /// Something that was complete is pending.
    Pending,
    /// It panicked.
    Panicked(String),
    /// The process is gone.
    Died,
    /// It took so many bytes.
    Memory(u64),
    /// It does not come to an end.
    Hangs,
    /// What it merged is not the same.
    MergedWrongly,
}

/// A running child, and the pipes to it.
pub(crate) struct Child {
    process: std::process::Child,
    stdin: Option<std::process::ChildStdin>,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Child {
    pub(crate) fn start() -> Self {
        let mut process = Command::new("sh")
            .arg("-c")
            .arg(format!("ulimit -v {ADDRESS_SPACE_KIB}; exec \"$0\" \"$@\""))
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "child_process", "--ignored", "--nocapture", "--test-threads=1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = process.stdin.take();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        Self { process, stdin, stdout }
    }

    /// Has the child take these updates in a new document, one after the other.
    pub(crate) fn run(&mut self, case: &[Vec<u8>]) -> Outcome {
        let mut message = (case.len() as u32).to_be_bytes().to_vec();
        for update in case {
            message.extend((update.len() as u32).to_be_bytes());
            message.extend(update);
        }
        if self.stdin.as_mut().unwrap().write_all(&message).is_err() {
            return Outcome::Died;
        }
        self.answer()
    }

    fn answer(&mut self) -> Outcome {
        loop {
            let mut line = String::new();
            if self.stdout.read_line(&mut line).unwrap_or(0) == 0 {
                return Outcome::Died;
            }
            // The test harness writes its own lines between.
            let Some((_, answer)) = line.trim_end().split_once("outcome ") else { continue };
            let (word, rest) = answer.split_once(' ').unwrap_or((answer, ""));
            return match word {
                "taken" => Outcome::Taken,
                "refused" => Outcome::Refused,
                "not-decoded" => Outcome::NotDecoded,
                "pending" => Outcome::Pending,
                "hangs" => Outcome::Hangs,
                "merged-wrongly" => Outcome::MergedWrongly,
                "memory" => Outcome::Memory(rest.parse().unwrap()),
                _ => Outcome::Panicked(rest.to_owned()),
            };
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Its input ends, so it does.
        self.stdin.take();
        let _ = self.process.wait();
    }
}

/// The child: takes cases until its input ends.
pub(crate) fn serve() {
    let mut stdin = std::io::stdin().lock();
    let mut stdout = std::io::stdout();
    while let Some(count) = read_number(&mut stdin) {
        let case: Vec<Vec<u8>> = (0..count)
            .map(|_| {
                let length = read_number(&mut stdin).unwrap();
                let mut update = vec![0; length as usize];
                stdin.read_exact(&mut update).unwrap();
                update
            })
            .collect();
        let answer = match measured(case) {
            Outcome::Taken => "taken".to_owned(),
            Outcome::Refused => "refused".to_owned(),
            Outcome::NotDecoded => "not-decoded".to_owned(),
            Outcome::Pending => "pending".to_owned(),
            Outcome::Memory(bytes) => format!("memory {bytes}"),
            Outcome::Panicked(text) => format!("panicked {}", text.replace('\n', " ")),
            Outcome::Hangs => "hangs".to_owned(),
            Outcome::MergedWrongly => "merged-wrongly".to_owned(),
            Outcome::Died => unreachable!("the dead do not answer"),
        };
        writeln!(stdout, "outcome {answer}").unwrap();
        stdout.flush().unwrap();
    }
}

fn read_number(input: &mut impl Read) -> Option<u32> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes).ok()?;
    Some(u32::from_be_bytes(bytes))
}

fn measured(case: Vec<Vec<u8>>) -> Outcome {
    let bytes: usize = case.iter().map(Vec::len).sum();
    // Lowers the high-water mark to what is in use now.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let before = memory("VmRSS:");
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    thread.spawn(move || drop(tell.send(take(&case)))).unwrap();
    let outcome = match told.recv_timeout(TIME_MAX) {
        Ok(outcome) => outcome,
        Err(_) => return Outcome::Hangs,
    };
    let used = PEAK.load(std::sync::atomic::Ordering::Relaxed).saturating_sub(before);
    if std::env::var("SURVEY").is_ok() {
        return Outcome::Memory(used);
    }
    if outcome == Outcome::Taken && used > bytes as u64 * MEMORY_FACTOR_MAX + MEMORY_BYTES_SPARE {
        return Outcome::Memory(used);
    }
    outcome
}

static PEAK: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let value = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    value.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn take(case: &[Vec<u8>]) -> Outcome {
    match catch_unwind(AssertUnwindSafe(|| apply_all(case))) {
        Ok(outcome) => outcome,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Outcome::Panicked(text.unwrap_or_default())
        }
    }
}

/// As the server hands it to the library.
fn hidden(update: &[u8]) -> Vec<u8> {
    stand_in::hide(update).unwrap().unwrap_or_else(|| update.to_vec())
}

fn shown(encoded: Vec<u8>) -> Vec<u8> {
    stand_in::show(&encoded).unwrap().unwrap_or(encoded)
}

fn apply_all(case: &[Vec<u8>]) -> Outcome {
    let doc = Doc::with_client_id(999);
    for bytes in case {
        let Ok(update) = Update::decode_v1(&hidden(bytes)) else { return Outcome::NotDecoded };
        if doc.transact_mut().apply_update(update).is_err() {
            return Outcome::Refused;
        }
        if doc.transact().has_missing_updates() {
            return Outcome::Pending;
        }
    }
    PEAK.store(memory("VmHWM:"), std::sync::atomic::Ordering::Relaxed);
    let state = shown(doc.transact().encode_state_as_update_v1(&StateVector::default()));
    let vector = doc.transact().state_vector();
    drop(doc);
    // Few updates are merged before they are published.
    if (2..=16).contains(&case.len()) {
        let updates: Vec<Vec<u8>> = case.iter().map(|update| hidden(update)).collect();
        let Ok(merged) = yrs::merge_updates_v1(updates) else { return Outcome::NotDecoded };
        let merged = shown(merged);
        let editor = Doc::with_client_id(997);
        for piece in crate::cases::admit(&[merged]) {
            let Ok(update) = Update::decode_v1(&hidden(&piece)) else { return Outcome::NotDecoded };
            if editor.transact_mut().apply_update(update).is_err() {
                return Outcome::Refused;
            }
        }
        let editor = editor.transact();
        if editor.has_missing_updates() || editor.state_vector() != vector {
            return Outcome::MergedWrongly;
        }
    }
    let again = Doc::with_client_id(998);
    // As the server loads it: judged, and perhaps in pieces.
    for piece in crate::cases::admit(&[state]) {
        let Ok(update) = Update::decode_v1(&hidden(&piece)) else { return Outcome::NotDecoded };
        if again.transact_mut().apply_update(update).is_err() {
            return Outcome::Refused;
        }
    }
    let again = again.transact();
    if again.has_missing_updates() || again.state_vector() != vector {
        Outcome::Pending
    } else {
        Outcome::Taken
    }
}
