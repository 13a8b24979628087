//! What the kernel knows of this process.

use std::fs;

/// One look at `/proc/self`. What cannot be read is zero.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub(crate) struct Process {
    pub(crate) resident_bytes: u64,
    pub(crate) virtual_bytes: u64,
    pub(crate) open_files: u64,
    pub(crate) open_files_max: u64,
    pub(crate) threads: u64,
    pub(crate) cpu_seconds: f64,
    /// Seconds since 1970.
    pub(crate) started_at: f64,
}

impl Process {
    pub(crate) fn now() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
        // The second field is the command's name in parentheses, which may itself contain anything.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        let field =
            |number: usize| fields.get(number - 3).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        // Linux reports these in hundredths of a second on every platform it runs on today.
        let ticks = 100.0;
        let booted = boot.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok());
        Self {
            resident_bytes: kilobytes(&status, "VmRSS:"),
            virtual_bytes: kilobytes(&status, "VmSize:"),
            open_files: fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
            open_files_max: limits
                .lines()
                .find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse().ok())
                .unwrap_or(0),
            threads: number(&status, "Threads:"),
            cpu_seconds: (field(14) + field(15)) / ticks,
            started_at: booted.map_or(0.0, |booted| booted + field(22) / ticks),
        }
    }
}

fn number(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn kilobytes(status: &str, name: &str) -> u64 {
    number(status, name) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_files_threads_and_a_start() {
        let process = Process::now();
        assert!(process.resident_bytes > 1 << 20, "{process:?}");
        assert!(process.open_files >= 3 && process.open_files_max >= process.open_files, "{process:?}");
        assert!(process.threads >= 1, "{process:?}");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(process.started_at > now - 86_400.0 && process.started_at < now + 2.0, "{process:?}");
    }
}
