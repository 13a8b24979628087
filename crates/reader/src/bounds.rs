//! What a reader process may take.

use std::time::Duration;

use ringleaf_types::Limits;
use ringleaf_types::faults::{self, Fault};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// A library that recurses once for each client or level gets a quarter of the memory for that, but so much at least…
const STACK_BYTES_MIN: u64 = 16 << 20;
/// … and no more than this.
const STACK_BYTES_MAX: u64 = 256 << 20;

/// The limits of one reader process. They travel on its command line, so that it has them before it reads anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Address space. None: as much as there is.
    pub memory_bytes_max: Option<u64>,
    /// CPU time of one request, in whole seconds. None: no limit.
    pub cpu_seconds_max: Option<u64>,
    /// One request or answer.
    pub message_bytes_max: u64,
}

impl Bounds {
    /// What the configuration allows.
    pub fn of(limits: &Limits) -> Self {
        let free = faults::active(Fault::ReaderWithoutLimits);
        let seconds = limits.reader_cpu_timeout.as_millis().div_ceil(1_000);
        Self {
            memory_bytes_max: (!free).then_some(limits.reader_memory_bytes_max as u64),
            cpu_seconds_max: (!free).then(|| u64::try_from(seconds).unwrap_or(u64::MAX)),
            // Limit: a length is a `u32`, and one byte of it says what follows.
            message_bytes_max: (limits.reader_message_bytes_max as u64).min(u64::from(u32::MAX) - 1),
        }
    }

    /// As words of a command line. Zero stands for no limit.
    pub fn arguments(&self) -> [String; 3] {
        let memory = self.memory_bytes_max.unwrap_or(0);
        let seconds = self.cpu_seconds_max.unwrap_or(0);
        [memory, seconds, self.message_bytes_max].map(|number| number.to_string())
    }

    /// The opposite of [`arguments`](Self::arguments).
    pub fn from_arguments([memory, seconds, message]: [u64; 3]) -> Self {
        let limit = |number| Some(number).filter(|number| *number > 0);
        Self { memory_bytes_max: limit(memory), cpu_seconds_max: limit(seconds), message_bytes_max: message }
    }

    /// The stack of the thread that reads.
    pub(crate) fn stack_bytes(&self) -> usize {
        let memory = self.memory_bytes_max.unwrap_or(u64::MAX);
        (memory / 4).clamp(STACK_BYTES_MIN, STACK_BYTES_MAX) as usize
    }

    /// Puts this process under the limits that hold for all its life. There is no way back.
    pub(crate) fn enter(&self) -> rustix::io::Result<()> {
        // Raising it needs no rights. When a machine or a container runs out of memory, this process goes, not the server.
        let _without_proc = std::fs::write("/proc/self/oom_score_adj", "1000");
        forever(Resource::Core, 0)?;
        match self.memory_bytes_max {
            Some(bytes) => forever(Resource::As, bytes),
            None => Ok(()),
        }
    }

    /// Gives this process its CPU time for one more request.
    pub(crate) fn renew_cpu(&self) -> rustix::io::Result<()> {
        let Some(seconds) = self.cpu_seconds_max else { return Ok(()) };
        let maximum = getrlimit(Resource::Cpu).maximum;
        let used = u64::try_from(clock_gettime(ClockId::ProcessCPUTime).tv_sec).unwrap_or(0);
        // The kernel counts whole seconds; the one that has begun is not taken away from the request.
        let limit = used.saturating_add(1).saturating_add(seconds);
        let current = maximum.map_or(limit, |maximum| maximum.min(limit));
        setrlimit(Resource::Cpu, Rlimit { current: Some(current), maximum })
    }
}

/// Sets a limit that cannot be raised again, unless a lower one holds already.
fn forever(resource: Resource, limit: u64) -> rustix::io::Result<()> {
    let limit = getrlimit(resource).maximum.map_or(limit, |maximum| maximum.min(limit));
    setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })
}

/// A limit as a person would write it.
pub(crate) fn seconds(span: Duration) -> String {
    format!("{} s", (span.as_secs_f64() * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_survive_the_command_line() {
        let bounds = Bounds { memory_bytes_max: Some(7), cpu_seconds_max: None, message_bytes_max: 9 };
        assert_eq!(bounds.arguments(), ["7", "0", "9"]);
        assert_eq!(Bounds::from_arguments([7, 0, 9]), bounds);
    }

    #[test]
    fn a_fraction_of_a_second_of_cpu_time_is_a_second() {
        let limits = Limits { reader_cpu_timeout: Duration::from_millis(200), ..Limits::default() };
        assert_eq!(Bounds::of(&limits).cpu_seconds_max, Some(1));
    }
}
