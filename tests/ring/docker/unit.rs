//! ringleaf.service.

use std::process::Command;

use super::{root, text};

/// What a unit says for a key, in order.
fn said<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

fn reads_its_flags(command: &str) {
    let words = command.strip_prefix("/usr/local/bin/ringleaf ").unwrap_or_else(|| panic!("{command}"));
    // As /etc/ringleaf/environment would say.
    let cluster = "--etcd http://127.0.0.1:2379 --store postgres://ringleaf@127.0.0.1/ringleaf \
                   --peer-ca ca.crt --peer-cert n1.crt --peer-key n1.key";
    let environment = if words.starts_with("node ") { cluster } else { "" };
    let read = super::print_config(words.split_whitespace().chain(environment.split_whitespace()));
    assert!(read.status.success(), "{command}: {}", String::from_utf8_lossy(&read.stderr));
}

#[test]
fn what_the_unit_starts_can_be_started() {
    let unit = text("ringleaf.service");
    let starts = said(&unit, "ExecStart");
    assert_eq!(starts.len(), 1);
    reads_its_flags(starts[0]);
    for key in ["DynamicUser", "NoNewPrivileges", "PrivateDevices", "MemoryDenyWriteExecute"] {
        assert_eq!(said(&unit, key), ["yes"], "{key}");
    }
    assert_eq!(said(&unit, "ProtectSystem"), ["strict"]);
    assert_eq!(said(&unit, "CapabilityBoundingSet"), [""]);
    // The drop-in of the runbook.
    let runbook = text("RUNBOOK.md");
    let drop_in = said(&runbook, "ExecStart");
    assert_eq!(drop_in.len(), 2, "it takes away what was there, and says what is started");
    reads_its_flags(drop_in[1]);
}

#[test]
fn systemd_knows_every_word_of_the_unit() {
    let unit = root().join("docker/ringleaf.service");
    let Ok(checked) = Command::new("systemd-analyze").arg("verify").arg(&unit).output() else {
        return harness::skip("systemd-analyze is not installed (apt-get install systemd)");
    };
    let trouble = String::from_utf8_lossy(&checked.stderr);
    let ours = trouble.lines().filter(|line| line.contains("ringleaf.service"));
    let trouble: Vec<_> = ours.filter(|line| !line.contains("is not executable")).collect();
    assert!(trouble.is_empty(), "{trouble:#?}");
}
