//! What is in `docker/`: there need not be a container engine here, so the files are read, and what they would run is run
//! on this machine, with addresses of this machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

mod compose;
mod image;
mod runbook;
mod unit;
mod waiting;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn text(file: &str) -> String {
    std::fs::read_to_string(root().join("docker").join(file))
        .unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Has ringleaf read the flags that start a server, without starting it.
fn print_config<'a>(words: impl IntoIterator<Item = &'a str>) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(harness::binary());
    command.args(words).arg("--print-config").current_dir(folder.path());
    command.output().unwrap()
}

/// No registry is named: whoever builds has the usual one, or their own.
fn is_plain(image: &str) -> bool {
    let first = image.split('/').next().unwrap_or_default();
    !image.contains('/') || !first.contains(['.', ':'])
}
