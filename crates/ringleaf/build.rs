//! Chooses the page that is embedded: the built one if it is there, else a small one that says how to get it.
//! So a plain `cargo build` works without Node.

use std::path::{Path, PathBuf};
use std::{env, fs};

const PLACEHOLDER: [(&str, &str); 2] =
    [("index.html", include_str!("placeholder.html")), ("placeholder.js", include_str!("placeholder.js"))];

fn main() {
    let built = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("page/dist");
    let folder = if built.join("index.html").is_file() { built.clone() } else { placeholder() };
    println!("cargo::rustc-env=RINGLEAF_PAGE_FOLDER={}", folder.display());
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=placeholder.html");
    println!("cargo::rerun-if-changed=placeholder.js");
    // A path that does not exist counts as changed at every build, so the folder is made: git ignores it.
    if built.parent().is_some_and(Path::is_dir) {
        let _read_only_sources = fs::create_dir_all(&built);
    }
    println!("cargo::rerun-if-changed={}", built.display());
}

fn placeholder() -> PathBuf {
    let folder = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("page");
    fs::create_dir_all(&folder).expect("OUT_DIR can be written to");
    for (name, text) in PLACEHOLDER {
        fs::write(folder.join(name), text).expect("OUT_DIR can be written to");
    }
    folder
}
