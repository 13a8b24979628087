//! What happened, in order: hashed always, printed when a seed is replayed.

use std::fmt::{self, Write as _};
use std::time::Duration;

pub(crate) struct Trace {
    hash: u64,
    lines: u64,
    /// Print every line as it comes.
    loud: bool,
}

impl Trace {
    pub(crate) fn new(loud: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: 0, loud }
    }

    pub(crate) fn line(&mut self, at: Duration, what: fmt::Arguments<'_>) {
        self.lines += 1;
        // Writing into a hash does not fail.
        let _ = write!(self, "{} {what}", at.as_micros());
        if self.loud {
            println!("{:>12.6} {what}", at.as_secs_f64());
        }
    }

    /// Two runs of one seed have the same.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }
}

impl fmt::Write for Trace {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}
