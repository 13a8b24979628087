//! compose.yaml, as far as it concerns what runs.

use std::collections::BTreeMap;

use serde_json::Value;

use super::image::stages;
use super::{is_plain, text};

/// What is used for the variables that whoever starts it sets.
pub(super) const PASSWORD: &str = "a-password";

/// All services, with what they take from one another filled in.
pub(super) fn services() -> BTreeMap<String, Value> {
    let compose: Value = serde_saphyr::from_str(&text("compose.yaml")).unwrap();
    let services = compose["services"].as_object().unwrap();
    services.iter().map(|(name, service)| (name.clone(), service.clone())).collect()
}

/// Those that run ringleaf.
pub(super) fn processes() -> BTreeMap<String, Value> {
    services().into_iter().filter(|(_, service)| service["image"] == "ringleaf").collect()
}

pub(super) fn words(list: &Value) -> Vec<String> {
    let words = list.as_array().unwrap_or_else(|| panic!("{list} is no list")).iter();
    words.map(|word| word.as_str().unwrap_or_else(|| panic!("{word} is no text")).to_owned()).collect()
}

/// A service's environment, with variables filled in.
pub(super) fn environment(service: &Value) -> BTreeMap<String, String> {
    let variables = service["environment"].as_object().into_iter().flatten();
    let fill = |value: &Value| {
        let value = value.as_str().unwrap_or_else(|| panic!("{value} is no text"));
        let Some((before, rest)) = value.split_once("${") else { return value.to_owned() };
        let (variable, after) = rest.split_once('}').unwrap();
        assert!(variable.starts_with("POSTGRES_PASSWORD:?"), "{variable} must be set");
        format!("{before}{PASSWORD}{after}")
    };
    variables.map(|(name, value)| (name.clone(), fill(value))).collect()
}

#[test]
fn there_are_three_nodes_and_two_routers_with_little_power() {
    let processes = processes();
    assert_eq!(processes.keys().collect::<Vec<_>>(), ["n1", "n2", "n3", "r1", "r2"]);
    for (name, service) in &processes {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(words(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(words(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        assert_eq!(words(&service["healthcheck"]["test"])[..3], ["CMD", "ringleaf", "healthcheck"], "{name}");
        for needed in ["certificates", "etcd", "postgres"] {
            assert!(service["depends_on"][needed].is_object(), "{name} does not wait for {needed}");
        }
        let published = service["ports"].as_array().into_iter().flatten();
        for port in published.filter_map(Value::as_str) {
            assert!(port.starts_with("127.0.0.1:"), "{name} is published to everybody: {port}");
            assert!(port.ends_with(":1234"), "{name} publishes more than editors need: {port}");
        }
    }
}

#[test]
fn services_need_only_what_there_is() {
    let compose: Value = serde_saphyr::from_str(&text("compose.yaml")).unwrap();
    let (services, stages) = (services(), stages());
    for (name, service) in &services {
        match (service["image"].as_str(), service["build"]["target"].as_str()) {
            (image, Some(target)) => {
                assert!(image.is_none_or(is_plain), "{name}");
                assert!(stages.contains_key(target), "{name} is built as {target}");
            }
            (Some(image), None) => {
                assert!(is_plain(image) && image.contains(':'), "{name} is {image}");
            }
            (None, None) => panic!("{name} is nothing"),
        }
        for (needed, how) in service["depends_on"].as_object().into_iter().flatten() {
            let needed = services.get(needed).unwrap_or_else(|| panic!("{name} waits for {needed}"));
            if how["condition"] == "service_healthy" {
                assert!(
                    needed["healthcheck"]["test"].is_array(),
                    "{name} waits for health that nobody checks"
                );
            }
        }
        for volume in words(&service["volumes"]) {
            let source = volume.split(':').next().unwrap();
            assert!(compose["volumes"].get(source).is_some(), "{name} has a volume {source}");
        }
    }
}
