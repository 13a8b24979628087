//! Which crate may use which.

use std::collections::BTreeSet;
use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// What each crate may use of ours, and which libraries it alone may use.
struct Grant {
    name: &'static str,
    uses: &'static [&'static str],
    alone: &'static [&'static str],
}

const fn grant(name: &'static str, uses: &'static [&'static str], alone: &'static [&'static str]) -> Grant {
    Grant { name, uses, alone }
}

const GRANTS: [Grant; 11] = [
    grant("types", &[], &[]),
    grant("wire", &["types"], &[]),
    grant("ring", &["types"], &["hashring"]),
    grant("document", &["types", "wire"], &[]),
    grant("reader", &["types", "wire"], &["yrs"]),
    grant("store", &["types"], &["rusqlite"]),
    grant("coordinator", &["types", "ring"], &["etcd-client"]),
    grant(
        "peer",
        &["types", "wire", "ring"],
        &["tonic", "tonic-health", "tonic-prost", "tonic-reflection", "prost"],
    ),
    grant("router", &["types", "wire", "ring", "coordinator", "peer"], &["tokio-tungstenite"]),
    grant("node", &["types", "wire", "ring", "document", "reader", "store", "coordinator", "peer"], &[]),
    grant(
        "ringleaf",
        &["types", "wire", "ring", "document", "reader", "store", "coordinator", "peer", "node", "router"],
        &["tracing-subscriber", "anyhow", "clap"],
    ),
];

/// These are not part of the server and may use what they like.
const TOOLS: [&str; 3] = ["ringleaf-tests", "ringleaf-xtask", "ringleaf-fuzz"];

/// What the pure crates must do without: everything that waits, reads a clock or draws a number.
const PURE: [&str; 4] = ["types", "wire", "ring", "document"];
const IMPURE: [&str; 8] =
    ["tokio", "tokio-util", "rand", "rusqlite", "axum", "hyper", "tokio-tungstenite", "socket2"];

fn metadata() -> Metadata {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    MetadataCommand::new().manifest_path(manifest).no_deps().exec().expect("cargo reads the workspace")
}

fn short(name: &str) -> &str {
    name.strip_prefix("ringleaf-").unwrap_or(name)
}

fn ours(package: &Package) -> bool {
    !TOOLS.contains(&package.name.as_str())
}

fn dependencies(package: &Package, with_tests: bool) -> BTreeSet<String> {
    let wanted = |kind| kind != DependencyKind::Development || with_tests;
    let kept = package.dependencies.iter().filter(|dependency| wanted(dependency.kind));
    kept.map(|dependency| dependency.name.clone()).collect()
}

#[test]
fn every_crate_has_its_place() {
    let metadata = metadata();
    let found = metadata.packages.iter().filter(|package| ours(package));
    let found: BTreeSet<_> = found.map(|package| short(&package.name)).collect();
    let granted = GRANTS.iter().map(|grant| grant.name).collect();
    assert_eq!(found, granted, "a new crate needs a line in the table above, and in crates/README.md");
}

#[test]
fn a_crate_uses_only_what_it_is_granted() {
    for package in metadata().packages.iter().filter(|package| ours(package)) {
        let grant = GRANTS.iter().find(|grant| grant.name == short(&package.name)).unwrap();
        for dependency in dependencies(package, false) {
            if GRANTS.iter().any(|grant| dependency == format!("ringleaf-{}", grant.name)) {
                let used = short(&dependency);
                assert!(grant.uses.contains(&used), "{} must not use {used}", grant.name);
            }
        }
    }
}

#[test]
fn some_libraries_belong_to_one_crate() {
    for package in metadata().packages.iter().filter(|package| ours(package)) {
        let name = short(&package.name);
        for dependency in dependencies(package, false) {
            if let Some(owner) = GRANTS.iter().find(|grant| grant.alone.contains(&dependency.as_str())) {
                assert_eq!(owner.name, name, "{dependency} belongs to {} alone", owner.name);
            }
        }
    }
}

#[test]
fn the_pure_core_has_no_clock_no_thread_and_no_dice() {
    for package in metadata().packages.iter().filter(|package| PURE.contains(&short(&package.name))) {
        for dependency in dependencies(package, false) {
            assert!(!IMPURE.contains(&dependency.as_str()), "{} must not use {dependency}", package.name);
        }
    }
}

#[test]
fn versions_lints_and_licence_come_from_the_workspace() {
    for package in &metadata().packages {
        let manifest = std::fs::read_to_string(&package.manifest_path).unwrap();
        let name = &package.name;
        assert!(manifest.contains("[lints]\nworkspace = true"), "{name} does not inherit the lints");
        assert!(manifest.contains("license.workspace = true"), "{name} does not inherit the licence");
        assert!(manifest.contains("edition.workspace = true"), "{name} does not inherit the edition");
        let mut in_dependencies = false;
        for line in manifest.lines() {
            if line.starts_with('[') {
                in_dependencies = line.contains("dependencies");
            } else if in_dependencies && line.contains('=') && !line.trim_start().starts_with('#') {
                let inherited = line.contains("workspace = true");
                assert!(inherited, "{name}: {line:?} has a version of its own");
            }
        }
    }
}

/// `cargo xtask mutants` asks for it on its command line, and nothing else does.
#[test]
fn no_build_has_faults_unless_it_is_asked_for_by_name() {
    for package in &metadata().packages {
        let name = &package.name;
        let has = package.features.contains_key("faults");
        assert_eq!(has, ["ringleaf-types", "ringleaf"].contains(&name.as_str()), "{name}");
        let asks = |feature: &String| feature.contains("faults");
        let others = package.features.iter().filter(|(name, _)| *name != "faults");
        assert!(!others.flat_map(|(_, asked)| asked).any(asks), "{name} has them in another feature");
        for dependency in &package.dependencies {
            assert!(!dependency.features.iter().any(asks), "{name} asks {} for them", dependency.name);
        }
    }
}
