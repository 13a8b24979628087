//! Builds the server and every test binary, and asks each for its tests.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::workspace;

/// One test binary.
#[derive(Debug, Clone)]
pub(crate) struct Binary {
    /// How it is called in the report, such as `store` or `tests/cluster`.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Where cargo would run it.
    pub(crate) folder: PathBuf,
}

/// What was built.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) tests: Vec<Binary>,
    /// The server, for the tests that start it.
    pub(crate) server: PathBuf,
}

/// Builds what `cargo test` would run with these arguments.
pub(crate) fn build(what: &[&str]) -> anyhow::Result<Built> {
    let mut command = workspace::cargo();
    command.args(["test", "--quiet", "--no-run", "--message-format=json-render-diagnostics"]).args(what);
    let mut child = command.stdout(Stdio::piped()).spawn().context("could not start cargo")?;
    let stdout = child.stdout.take().context("cargo has no output")?;
    let (mut tests, mut server) = (BTreeMap::new(), None);
    for message in serde_json::Deserializer::from_reader(BufReader::new(stdout)).into_iter::<Value>() {
        let message = message.context("cargo's output is not JSON")?;
        if let Some(binary) = test_binary(&message) {
            tests.insert(binary.name.clone(), binary);
        }
        // Cargo builds it because the package has integration tests.
        if message["profile"]["test"] == false && message["target"]["name"] == "ringleaf" {
            server = message["executable"].as_str().map(PathBuf::from).or(server);
        }
    }
    if !child.wait()?.success() {
        bail!("the tests do not compile");
    }
    let server = server.context("cargo did not build the ringleaf binary")?;
    Ok(Built { tests: tests.into_values().collect(), server })
}

fn test_binary(message: &Value) -> Option<Binary> {
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    let path = PathBuf::from(message["executable"].as_str()?);
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?.to_path_buf();
    let package = folder.file_name()?.to_string_lossy().into_owned();
    let target = message["target"]["name"].as_str()?;
    let is_test = message["target"]["kind"].as_array()?.iter().any(|kind| kind == "test");
    let name = if is_test { format!("{package}/{target}") } else { package };
    Some(Binary { name, path, folder })
}

impl Binary {
    /// The names of its tests.
    pub(crate) fn tests(&self) -> anyhow::Result<Vec<String>> {
        let mut command = Command::new(&self.path);
        command.args(["--list", "--format", "terse"]).current_dir(&self.folder);
        let output = command.output().with_context(|| format!("could not start {}", self.path.display()))?;
        if !output.status.success() {
            bail!("{} does not list its tests", self.path.display());
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
    }
}
