//! A reader process, as its parent has it.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::bounds::Bounds;
use crate::error::Ended;
use crate::protocol::{self, GREETING, HEADER_BYTES, Kind, Outcome};

/// What a child may say before its greeting.
const PREFACE_BYTES_MAX: usize = 4 << 10;
/// What is kept of what it said before it died.
const LAST_WORDS_BYTES_MAX: u64 = 1 << 10;
/// A child that closed its pipes ends by itself within this time, or is killed.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// The program that is started, and the words before its limits.
#[derive(Debug, Clone)]
pub struct Program {
    /// Where it is.
    pub path: PathBuf,
    /// What makes it a reader; [`Bounds::arguments`] follow.
    pub arguments: Vec<OsString>,
}

impl Default for Program {
    /// This very program, as it was when it was started, though another version may lie in its place by now.
    fn default() -> Self {
        Self { path: "/proc/self/exe".into(), arguments: vec!["reader".into()] }
    }
}

/// A running child. When it is dropped it is killed.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    stderr: ChildStderr,
    greeted: bool,
}

/// What a child said to a request.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) outcome: Outcome,
    pub(crate) bytes: Vec<u8>,
}

/// The end of a child, and its last words.
#[derive(Debug)]
pub(crate) struct Death {
    pub(crate) ended: Ended,
    pub(crate) said: String,
}

impl Death {
    /// It was too early to ask anything.
    pub(crate) fn before_ready(self, error: &io::Error) -> io::Error {
        let Self { ended, said } = self;
        io::Error::new(error.kind(), format!("it ended {ended} before it was ready: {said}"))
    }
}

impl Process {
    /// Starts a child.
    pub(crate) fn spawn(program: &Program, bounds: &Bounds) -> io::Result<Self> {
        let mut command = Command::new(&program.path);
        command.args(&program.arguments).args(bounds.arguments());
        // What runs there may be in the hands of whoever wrote a document: it gets no secrets, and no interrupt from the
        // terminal that its parent should have.
        command.env_clear().process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let missing = || io::Error::other("a pipe is missing");
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = BufReader::new(child.stdout.take().ok_or_else(missing)?);
        let stderr = child.stderr.take().ok_or_else(missing)?;
        Ok(Self { child, stdin, stdout, stderr, greeted: false })
    }

    /// Waits until it is under its limits and can be asked.
    ///
    /// # Errors
    ///
    /// It is no reader process, or has ended.
    pub(crate) async fn ready(&mut self) -> io::Result<()> {
        if !self.greeted {
            pass_greeting(&mut self.stdout).await?;
            self.greeted = true;
        }
        Ok(())
    }

    /// Hands over a state and waits for the answer.
    ///
    /// # Errors
    ///
    /// The child is gone, or says something that makes no sense. It is of no use any more.
    pub(crate) async fn ask(&mut self, kind: Kind, state: &[u8], bytes_max: u64) -> io::Result<Said> {
        self.stdin.write_all(&protocol::header(kind.byte(), state.len())).await?;
        self.stdin.write_all(state).await?;
        self.stdin.flush().await?;
        let mut header = [0; HEADER_BYTES];
        self.stdout.read_exact(&mut header).await?;
        let nonsense = || io::Error::from(io::ErrorKind::InvalidData);
        let (length, outcome) = protocol::read_header(header).ok_or_else(nonsense)?;
        let outcome = Outcome::from_byte(outcome).filter(|_| length <= bytes_max).ok_or_else(nonsense)?;
        let mut bytes = Vec::new();
        (&mut self.stdout).take(length).read_to_end(&mut bytes).await?;
        if bytes.len() as u64 == length {
            Ok(Said { outcome, bytes })
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// Waits until it has ended by itself.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn ended(&mut self) {
        let _how = self.child.wait().await;
    }

    /// Waits for its end, which it brought about itself.
    pub(crate) async fn death(mut self) -> Death {
        let ended = match timeout(END_TIMEOUT, self.child.wait()).await {
            Ok(Ok(status)) => status.into(),
            Ok(Err(_)) | Err(_) => {
                self.kill().await;
                Ended::Nonsense
            }
        };
        let mut said = Vec::new();
        let mut stderr = self.stderr.take(LAST_WORDS_BYTES_MAX);
        let _what_there_is = timeout(END_TIMEOUT, stderr.read_to_end(&mut said)).await;
        let said = String::from_utf8_lossy(&said).split_whitespace().collect::<Vec<_>>().join(" ");
        Death { ended, said }
    }

    /// Ends it, and waits until it is gone.
    pub(crate) async fn end(mut self) {
        self.kill().await;
    }

    async fn kill(&mut self) {
        // The only error is that it has been waited for already.
        let _gone = self.child.kill().await;
    }
}

/// Reads up to the end of the greeting.
async fn pass_greeting(stdout: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut said = Vec::new();
    while !said.ends_with(GREETING) {
        if said.len() == PREFACE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no reader process"));
        }
        said.push(stdout.read_u8().await?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_greeting_may_have_something_before_it_but_not_for_ever() {
        let polite = [b"running 1 test\ntest a ... ", GREETING, b"rest"].concat();
        let mut said = polite.as_slice();
        pass_greeting(&mut said).await.unwrap();
        assert_eq!(said, b"rest");
        assert!(pass_greeting(&mut &[b'x'; 2 * PREFACE_BYTES_MAX][..]).await.is_err());
        assert!(pass_greeting(&mut &GREETING[..5]).await.is_err());
    }
}
