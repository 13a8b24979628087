//! Brings what is missing: Debian packages when we are root, npm packages always.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::workspace;

/// A program that some tests need, and the Debian package that has it.
struct Program {
    name: &'static str,
    package: &'static str,
    why: &'static str,
}

const BUILD: [Program; 2] = [
    Program { name: "protoc", package: "protobuf-compiler", why: "builds the client of etcd" },
    // Only recommended by the package above, and found by `protoc` beside itself.
    Program {
        name: "../include/google/protobuf/descriptor.proto",
        package: "libprotobuf-dev",
        why: "has the messages that etcd's build on",
    },
];
const NODE: [Program; 2] = [
    Program { name: "node", package: "nodejs", why: "builds the demo page and drives the Yjs clients" },
    Program {
        name: "npm",
        package: "npm",
        why: "installs the Yjs clients and what the demo page is made of",
    },
];
const TESTS: [Program; 2] = [
    Program { name: "chromium", package: "chromium", why: "types into the demo page" },
    Program { name: "strace", package: "strace", why: "makes fsync fail" },
];
const CLUSTER: [Program; 2] = [
    Program { name: "etcd", package: "etcd-server", why: "is what the members of a cluster agree in" },
    Program { name: "postgres", package: "postgresql", why: "keeps the documents of a cluster" },
];

/// Installs what is missing if that is possible here; returns a line for each thing that stays missing.
pub(crate) fn for_tests() -> Vec<String> {
    let mut missing = programs(&BUILD);
    missing.extend(programs(&NODE));
    missing.extend(programs(&TESTS));
    missing.extend(programs(&CLUSTER));
    if missing_node(&missing) {
        return missing;
    }
    missing.extend(npm_packages(&workspace::clients()));
    missing.extend(npm_packages(&workspace::page()));
    missing
}

/// As [`for_tests`], with only what the page needs.
pub(crate) fn for_the_page() -> Vec<String> {
    let mut missing = programs(&BUILD);
    missing.extend(programs(&NODE));
    if !missing_node(&missing) {
        missing.extend(npm_packages(&workspace::page()));
    }
    missing
}

/// As [`for_the_page`], with what a cluster stands on.
pub(crate) fn for_a_cluster() -> Vec<String> {
    let mut missing = for_the_page();
    missing.extend(programs(&CLUSTER));
    missing
}

/// As [`for_tests`], with only the servers that ringleaf is compared with.
pub(crate) fn for_the_bench() -> Vec<String> {
    let mut missing = programs(&BUILD);
    missing.extend(programs(&NODE));
    if !missing_node(&missing) {
        missing.extend(npm_packages(&workspace::peers()));
    }
    missing
}

fn missing_node(missing: &[String]) -> bool {
    missing.iter().any(|line| line.starts_with("node ") || line.starts_with("npm "))
}

fn programs(wanted: &[Program]) -> Vec<String> {
    let absent = || wanted.iter().filter(|program| !workspace::installed(program.name)).collect::<Vec<_>>();
    let packages: Vec<_> = absent().iter().map(|program| program.package).collect();
    if packages.is_empty() {
        return Vec::new();
    }
    if is_root() && workspace::installed("apt-get") {
        println!("installing {} with apt-get", packages.join(", "));
        // The lists of a fresh machine are empty or old.
        apt_get(&["update", "-q"]);
        apt_get(&[&["install", "-q", "-y", "--no-install-recommends"], packages.as_slice()].concat());
    }
    let advice = |program: &Program| {
        let Program { name, package, why } = program;
        format!("{name} is missing ({why}): apt-get install {package}")
    };
    absent().into_iter().map(advice).collect()
}

fn apt_get(arguments: &[&str]) {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
    if let Err(error) = workspace::run(&mut command) {
        eprintln!("warning: {error:#}");
    }
}

/// `npm ci`, unless what is installed was made from this lock file.
fn npm_packages(folder: &Path) -> Option<String> {
    let lock = folder.join("package-lock.json");
    let stamp = folder.join("node_modules/.installed-from");
    let wanted = std::fs::read(&lock).ok()?;
    if std::fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return None;
    }
    println!("installing the npm packages of {}", folder.display());
    let mut command = Command::new("npm");
    command.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(folder);
    command.stdout(Stdio::null());
    if let Err(error) = workspace::run(&mut command) {
        return Some(format!("npm packages of {} are missing: {error:#}", folder.display()));
    }
    // Without the stamp the next run installs again: slower, not wrong.
    let _ = std::fs::write(&stamp, wanted);
    None
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
