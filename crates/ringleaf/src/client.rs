//! Asks the admin routes: over HTTP, or in this process on a stopped server's folder. Commands cannot tell which.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::cli::Target;
use crate::exit::{Exit, Failure, chain};
use crate::local::Local;

/// The largest answer: a document's state, with room to spare.
const ANSWER_BYTES_MAX: u64 = 4 << 30;
/// Larger bodies are announced first.
const SENT_UNASKED_BYTES_MAX: usize = 64 << 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Everything but what may stand in a path segment unescaped.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A document's name, as one segment of a path.
pub(crate) fn segment(name: &str) -> String {
    // A lone dot would be taken out of the path on the way.
    match name {
        "." | ".." => name.replace('.', "%2E"),
        name => utf8_percent_encode(name, SEGMENT).to_string(),
    }
}

/// Whoever answers.
pub(crate) enum Client {
    Remote { agent: ureq::Agent, base: String },
    Local(Box<Local>),
}

/// A request, with a body or without.
pub(crate) struct Ask<'a> {
    pub(crate) method: &'static str,
    pub(crate) path: &'a str,
    /// Content type and bytes.
    pub(crate) body: Option<(&'static str, Vec<u8>)>,
}

impl<'a> Ask<'a> {
    pub(crate) fn get(path: &'a str) -> Self {
        Self { method: "GET", path, body: None }
    }

    pub(crate) fn post(path: &'a str) -> Self {
        Self { method: "POST", path, body: None }
    }

    pub(crate) fn delete(path: &'a str) -> Self {
        Self { method: "DELETE", path, body: None }
    }
}

impl Client {
    pub(crate) fn open(target: &Target) -> Result<Self, Failure> {
        match &target.data {
            Some(folder) => Self::folder(folder),
            None => Self::remote(target),
        }
    }

    fn folder(folder: &Path) -> Result<Self, Failure> {
        Ok(Self::Local(Box::new(Local::open(folder)?)))
    }

    fn remote(target: &Target) -> Result<Self, Failure> {
        let base = match &target.admin {
            Some(text) => base(text)?,
            None => base(&crate::config::admin_address())?,
        };
        let timeout = Duration::from_secs(target.timeout.max(1));
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // The admin port is addressed directly; a proxy for the internet knows nothing of it.
            .proxy(None)
            .timeout_connect(Some(CONNECT_TIMEOUT.min(timeout)))
            .timeout_recv_response(Some(timeout))
            .timeout_per_read(Some(timeout))
            .user_agent(concat!("ringleaf/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Self::Remote { agent, base })
    }

    /// Who is asked, for people.
    pub(crate) fn whom(&self) -> String {
        match self {
            Self::Remote { base, .. } => base.clone(),
            Self::Local(local) => local.folder().display().to_string(),
        }
    }

    /// The bytes of an answer; an answer that is an error becomes a failure.
    pub(crate) fn bytes(&self, ask: Ask<'_>) -> Result<Vec<u8>, Failure> {
        let (status, mut body) = self.send(ask)?;
        let mut bytes = Vec::new();
        body.read_to_end(&mut bytes).map_err(|error| self.broken(&error))?;
        if (200..300).contains(&status) { Ok(bytes) } else { Err(refusal(status, &bytes)) }
    }

    pub(crate) fn json(&self, ask: Ask<'_>) -> Result<Value, Failure> {
        let bytes = self.bytes(ask)?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|error| self.no_json(&error))
    }

    /// An answer that is only shown, with its lines indented.
    pub(crate) fn json_text(&self, ask: Ask<'_>) -> Result<Vec<u8>, Failure> {
        let mut bytes = self.bytes(ask)?;
        if let Ok(value) = serde_json::from_slice::<Value>(&bytes) {
            return Ok(format!("{value:#}\n").into_bytes());
        }
        // Nested too deeply to be read as a value, but not to be checked: it is shown as it came.
        serde_json::from_slice::<IgnoredAny>(&bytes).map_err(|error| self.no_json(&error))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    fn no_json(&self, error: &serde_json::Error) -> Failure {
        let message = format!("{} answered with something else than JSON: {error}", self.whom());
        Failure::new(Exit::Failed, "not_json", message).advise("is it a ringleaf admin port?")
    }

    /// Reads an answer of many JSON lines as they come.
    pub(crate) fn lines(&self, ask: Ask<'_>, mut each: impl FnMut(Value)) -> Result<(), Failure> {
        let (status, mut body) = self.send(ask)?;
        if !(200..300).contains(&status) {
            let mut bytes = Vec::new();
            body.read_to_end(&mut bytes).map_err(|error| self.broken(&error))?;
            return Err(refusal(status, &bytes));
        }
        for line in BufReader::new(body).lines() {
            let line = line.map_err(|error| self.broken(&error))?;
            let value: Value = serde_json::from_str(&line).unwrap_or(Value::Null);
            match value.get("error") {
                Some(_) => return Err(refusal(500, line.as_bytes())),
                None => each(value),
            }
        }
        Ok(())
    }

    fn send(&self, ask: Ask<'_>) -> Result<(u16, Box<dyn Read + '_>), Failure> {
        match self {
            Self::Local(local) => local.send(ask),
            Self::Remote { agent, base } => {
                let request =
                    ureq::http::Request::builder().method(ask.method).uri(format!("{base}{}", ask.path));
                let response = match ask.body {
                    Some((content_type, bytes)) => asking_first(request, bytes.len())
                        .header("content-type", content_type)
                        .body(bytes)
                        .map_err(ureq::Error::from)
                        .and_then(|request| agent.run(request)),
                    None => {
                        request.body(()).map_err(ureq::Error::from).and_then(|request| agent.run(request))
                    }
                };
                let response = response.map_err(|error| self.unreachable(&error))?;
                let status = response.status().as_u16();
                let body = response.into_body().into_with_config().limit(ANSWER_BYTES_MAX).reader();
                Ok((status, Box::new(body)))
            }
        }
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        match error {
            ureq::Error::Timeout(_) => Failure::new(
                Exit::TimedOut,
                "timed_out",
                format!("no answer from {} in time", self.whom()),
            )
            .advise("say --timeout to wait longer"),
            ureq::Error::Io(error) if ends_a_connection(error) => Failure::new(
                Exit::Unreachable,
                "cut_off",
                format!("{} ended the connection before it answered: {error}", self.whom()),
            )
            .advise("look at its log, and try again"),
            error => Failure::new(
                Exit::Unreachable,
                "unreachable",
                format!("no server answers at {}: {}", self.whom(), plainly(error)),
            )
            .advise("start one with `ringleaf serve`, or name another with --admin (`ringleaf doc` reads a stopped server's folder too: --data)"),
        }
    }

    fn broken(&self, error: &std::io::Error) -> Failure {
        let timed_out = matches!(error.kind(), std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock);
        let (exit, code) =
            if timed_out { (Exit::TimedOut, "timed_out") } else { (Exit::Unreachable, "cut_off") };
        Failure::new(exit, code, format!("the answer of {} was cut off: {error}", self.whom()))
    }
}

/// A large body is sent only when the server wants it. One that refuses it answers and reads no further, and who is still
/// writing would hear of a broken pipe instead of the answer.
fn asking_first(request: ureq::http::request::Builder, bytes: usize) -> ureq::http::request::Builder {
    if bytes > SENT_UNASKED_BYTES_MAX { request.header("expect", "100-continue") } else { request }
}

fn ends_a_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// The operating system's words, without what only programmers read.
fn plainly(error: &ureq::Error) -> String {
    let ureq::Error::Io(error) = error else { return chain(error) };
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "nobody listens there".into(),
        _ => error.to_string(),
    }
}

/// `127.0.0.1:1235`, `http://127.0.0.1:1235/` and an address that was listened on, as the start of a URL.
fn base(text: &str) -> Result<String, Failure> {
    let wrong = |reason: &str| {
        Failure::new(Exit::Usage, "usage", format!("{text:?} is no admin address: {reason}"))
            .advise("write it like http://127.0.0.1:1235")
    };
    let host = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    if host.contains("://") {
        return Err(wrong("only http is spoken there"));
    }
    if host.is_empty() || host.contains('/') {
        return Err(wrong("it is a host and a port"));
    }
    // A word alone is hardly meant to be asked at port 80.
    if !text.starts_with("http://")
        && host.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err())
    {
        return Err(wrong("there is no port"));
    }
    // A server that listens on all addresses is reached on this one.
    let host = match host.parse::<std::net::SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() => format!("127.0.0.1:{}", address.port()),
        Ok(_) | Err(_) => host.to_owned(),
    };
    Ok(format!("http://{host}"))
}

/// What an answer with an error status says.
fn refusal(status: u16, body: &[u8]) -> Failure {
    let exit = match status {
        404 => Exit::NotFound,
        409 | 410 | 412 | 413 | 423 | 403 => Exit::Refused,
        408 | 504 => Exit::TimedOut,
        _ => Exit::Failed,
    };
    let value: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let text = |name: &str| value["error"][name].as_str().map(str::to_owned);
    let plain = || match String::from_utf8_lossy(body).trim() {
        "" => format!("the server answered with status {status}"),
        text => text.lines().next().unwrap_or_default().to_owned(),
    };
    Failure {
        exit,
        code: text("code").unwrap_or_else(|| format!("http_{status}")),
        message: text("message").unwrap_or_else(plain),
        advice: text("advice").unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment_of_the_path() {
        assert_eq!(segment("notes/today"), "notes%2Ftoday");
        assert_eq!(segment("a b?c#d%e"), "a%20b%3Fc%23d%25e");
        assert_eq!(segment("é"), "%C3%A9");
        assert_eq!(segment(".."), "%2E%2E");
        assert_eq!(segment("..."), "...");
    }

    #[test]
    fn an_admin_address_may_be_written_in_three_ways() {
        for text in ["127.0.0.1:1235", "http://127.0.0.1:1235", "http://127.0.0.1:1235/", "0.0.0.0:1235"] {
            assert_eq!(base(text).unwrap(), "http://127.0.0.1:1235", "{text}");
        }
        for text in ["https://127.0.0.1:1235", "", "127.0.0.1:1235/x", "n1", "127.0.0.1", "[::1]"] {
            assert_eq!(base(text).unwrap_err().exit, Exit::Usage, "{text}");
        }
    }

    #[test]
    fn the_status_decides_the_exit_code_and_the_body_the_words() {
        let body = br#"{"error": {"code": "document_not_found", "message": "there is no document", "advice": "look"}}"#;
        let failure = refusal(404, body);
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::NotFound, "document_not_found"));
        assert_eq!(failure.to_string(), "there is no document; look");
        assert_eq!(refusal(410, b"").exit, Exit::Refused);
        assert_eq!(refusal(500, b"<html>").to_string(), "<html>");
        assert_eq!(refusal(502, b"").to_string(), "the server answered with status 502");
    }
}
