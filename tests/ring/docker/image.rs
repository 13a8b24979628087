//! The Dockerfile.

use std::collections::BTreeMap;

use super::{is_plain, root, text};

/// An instruction and what it says, with continued lines joined.
fn instructions(dockerfile: &str) -> Vec<(String, String)> {
    let lines = dockerfile.lines().filter(|line| !line.trim_start().starts_with('#'));
    let joined = lines.fold(String::new(), |text, line| match line.strip_suffix('\\') {
        Some(line) => text + line + " ",
        None => text + line + "\n",
    });
    let words = joined.lines().filter_map(|line| line.trim().split_once(char::is_whitespace));
    words.map(|(instruction, rest)| (instruction.to_owned(), rest.trim().to_owned())).collect()
}

/// The instructions of each stage, by its name.
pub(super) fn stages() -> BTreeMap<String, Vec<(String, String)>> {
    let mut stages = BTreeMap::<String, Vec<(String, String)>>::new();
    let mut current = None;
    for (instruction, rest) in instructions(&text("Dockerfile")) {
        if instruction == "FROM" {
            let (image, name) = rest.split_once(" AS ").unwrap_or_else(|| panic!("{rest} has no name"));
            assert!(is_plain(image), "{image} names a registry");
            assert!(image.contains(':'), "{image} could be any version");
            current = Some(name.to_owned());
        }
        stages.entry(current.clone().expect("FROM comes first")).or_default().push((instruction, rest));
    }
    stages
}

/// What a stage says last of an instruction.
pub(super) fn said<'a>(stage: &'a [(String, String)], instruction: &str) -> Option<&'a str> {
    stage.iter().rev().find(|(said, _)| said == instruction).map(|(_, rest)| rest.as_str())
}

pub(super) fn words(json: &str) -> Vec<String> {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json} is no list of words"))
}

#[test]
fn the_image_runs_ringleaf_as_nobody_and_knows_how_it_is() {
    let stages = stages();
    let image = &stages["ringleaf"];
    let user = said(image, "USER").unwrap();
    let ids: Vec<u32> = user.split(':').map(|id| id.parse().unwrap()).collect();
    assert!(ids.len() == 2 && ids.iter().all(|id| *id > 999), "{user}");
    assert_eq!(said(image, "STOPSIGNAL"), Some("SIGTERM"));
    assert_eq!(said(image, "VOLUME"), Some("/data"));
    let health = said(image, "HEALTHCHECK").unwrap().split_once("CMD ").unwrap().1;
    assert_eq!(words(health)[..2], ["ringleaf", "healthcheck"]);
    assert_eq!(words(said(image, "ENTRYPOINT").unwrap()), ["ringleaf"]);
    let command = words(said(image, "CMD").unwrap());
    let read = super::print_config(command.iter().map(String::as_str));
    assert!(read.status.success(), "{command:?}: {}", String::from_utf8_lossy(&read.stderr));
}

#[test]
fn stages_copy_what_is_there() {
    let stages = stages();
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let version = manifest.split("rust-version = \"").nth(1).unwrap().split('"').next().unwrap();
    let builder = said(&stages["build"], "FROM").unwrap();
    assert!(builder.starts_with(&format!("rust:{version}-")), "{builder} is not Rust {version}");
    for (name, instructions) in &stages {
        for (_, rest) in instructions.iter().filter(|(instruction, _)| instruction == "COPY") {
            if let Some(from) = rest.strip_prefix("--from=") {
                let stage = from.split_whitespace().next().unwrap();
                assert!(stages.contains_key(stage), "{name} copies from {stage}");
            } else {
                let source = rest.split_whitespace().next().unwrap();
                assert!(root().join(source).exists(), "{name} copies {source}");
            }
        }
    }
    // What the build does not see, it cannot need.
    for line in text("Dockerfile.dockerignore").lines() {
        if let Some(path) = line.strip_prefix('!') {
            assert!(root().join(path).exists(), "{path} is not ignored, and not there");
        }
    }
}
