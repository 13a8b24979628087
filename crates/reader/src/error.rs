//! Why a document could not be read.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use crate::bounds::seconds;

/// One request came to nothing. The document is not affected, and neither is the next request.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no process that could read it.
    #[error("the reader process could not be started")]
    NotStarted {
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Too many others wait, or those before take too long.
    #[error("the reader process is busy with other documents")]
    Busy,
    /// The server is going away.
    #[error("the reader process is being stopped")]
    Stopped,
    /// The document is not even handed over.
    #[error("the document has {bytes} bytes, and a reader process takes at most {max}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// What is allowed.
        max: u64,
    },
    /// The answer is larger than that.
    #[error("what the document holds takes more than {max} bytes when it is written out")]
    AnswerTooLarge {
        /// What is allowed.
        max: u64,
    },
    /// Reading was cut off.
    #[error("the reader process was ended after {} {limit}, while it read the document", seconds(*.after))]
    TooLong {
        /// How long it had.
        after: Duration,
        /// Of which time.
        limit: TimeLimit,
    },
    /// It asked for more memory than it may have.
    #[error("the reader process needs more than {max} bytes of memory to read the document")]
    OutOfMemory {
        /// What is allowed.
        max: u64,
    },
    /// The process is gone.
    #[error("the reader process ended {ended} while it read the document{}", in_brackets(.said))]
    Crashed {
        /// How.
        ended: Ended,
        /// Its last words, if it had any.
        said: String,
    },
    /// The CRDT library read it, and says no.
    #[error("the CRDT library cannot read the document: {why}")]
    Refused {
        /// Its reasons.
        why: String,
    },
}

/// Which time ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeLimit {
    /// That of the processor.
    Cpu,
    /// That of the clock on the wall.
    Wall,
}

impl std::fmt::Display for TimeLimit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Cpu => "of CPU time",
            Self::Wall => "by the clock",
        })
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was stopped by this signal.
    Signal(i32),
    /// It exited with this code.
    Exit(i32),
    /// It did not end, but what it said made no sense; it was killed.
    Nonsense,
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Self {
        match (status.signal(), status.code()) {
            (Some(signal), _) => Self::Signal(signal),
            (None, Some(code)) => Self::Exit(code),
            (None, None) => Self::Nonsense,
        }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Signal(signal) => write!(formatter, "by signal {signal}"),
            Self::Exit(code) => write!(formatter, "with exit code {code}"),
            Self::Nonsense => formatter.write_str("for an answer that made no sense"),
        }
    }
}

fn in_brackets(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_sentences_that_a_person_understands() {
        let crashed = |ended, said: &str| ReadError::Crashed { ended, said: said.into() }.to_string();
        assert_eq!(
            crashed(Ended::Signal(11), ""),
            "the reader process ended by signal 11 while it read the document"
        );
        assert_eq!(
            crashed(Ended::Exit(3), "out of luck"),
            "the reader process ended with exit code 3 while it read the document (out of luck)"
        );
        let late = ReadError::TooLong { after: Duration::from_millis(1_500), limit: TimeLimit::Cpu };
        assert_eq!(
            late.to_string(),
            "the reader process was ended after 1.5 s of CPU time, while it read the document"
        );
    }
}
