//! Generates the code of `peer.proto`, without a `protoc`.
#![allow(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", folder.display());
    let described = protox::compile(["ringleaf/v1/peer.proto"], [&folder])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("peer.bin"), described.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(described)?;
    Ok(())
}
