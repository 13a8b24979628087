//! Is it well? One line about a server, and about its cluster if it is in one. Pure.

use serde_json::Value;

use super::ring::etcd_away;
use super::text::{array, cell, count};
use crate::exit::Failure;
use crate::output::span;

/// How it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Well,
    /// It works, and somebody should look.
    Worried,
    /// This server should not be sent work.
    Unwell,
    /// A stopped server's folder.
    Stopped,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) mood: Mood,
    pub(super) text: String,
}

impl Verdict {
    /// There is no answer to judge.
    pub(super) fn of(failure: &Failure) -> Self {
        Self { mood: Mood::Unwell, text: failure.message.clone() }
    }

    /// The line, in color if there is any.
    pub(super) fn line(&self, color: bool) -> String {
        let code = match self.mood {
            Mood::Well => "1;32",
            Mood::Worried => "1;33",
            Mood::Unwell => "1;31",
            Mood::Stopped => "1",
        };
        if color { format!("\x1b[{code}m● {}\x1b[0m", self.text) } else { format!("● {}", self.text) }
    }
}

/// `nodes` is what all nodes said, in a cluster.
pub(super) fn verdict(status: &Value, nodes: Option<&Value>) -> Verdict {
    let uptime = span(status["uptime_seconds"].as_u64().unwrap_or(0));
    let failed = failed_checks(status);
    match (status["stage"].as_str(), failed.is_empty(), nodes) {
        (Some("stopped"), ..) => {
            Verdict { mood: Mood::Stopped, text: "stopped: nobody serves this folder".into() }
        }
        (Some("serving"), true, None) => {
            let note = left_behind(status["counts"]["sessions_left_behind"].as_u64().unwrap_or(0));
            Verdict { mood: Mood::Well, text: format!("serving for {uptime}{note}") }
        }
        (Some("serving"), true, Some(nodes)) => {
            let mut verdict = of_cluster(status, nodes);
            let who = format!("; this is {} {}", cell(status, "role"), cell(status, "node"));
            verdict.text.push_str(&format!("{who}, serving for {uptime}"));
            verdict
        }
        (stage, ..) => Verdict {
            mood: Mood::Unwell,
            text: format!("{}, not ready: {}", stage.unwrap_or("unknown"), failed.join("; ")),
        },
    }
}

/// A note: it is nothing wrong with the server that some editors have sent what cannot be admitted, or not yet.
fn left_behind(sessions: u64) -> String {
    match sessions {
        0 => String::new(),
        1 => ", something that 1 session has sent is not in its document (`ringleaf doc list --sort left-behind`)".into(),
        more => format!(
            ", something that {} sessions have sent is not in their documents (`ringleaf doc list --sort left-behind`)",
            count(more)
        ),
    }
}

fn failed_checks(status: &Value) -> Vec<String> {
    let failed = array(status, "checks").iter().filter(|check| check["ok"] == false);
    failed.map(|check| format!("{}: {}", cell(check, "name"), cell(check, "detail"))).collect()
}

fn of_cluster(status: &Value, nodes: &Value) -> Verdict {
    let members = array(nodes, "members");
    let sum = |key: &str| members.iter().filter_map(|member| member["counts"][key].as_u64()).sum::<u64>();
    let serving = members.iter().filter(|member| member["state"] == "serving").count() as u64;
    let worries = worries(status, nodes);
    if !worries.is_empty() {
        let text = format!("cluster {}: {}", cell(nodes, "cluster"), worries.join("; "));
        return Verdict { mood: Mood::Worried, text };
    }
    let some =
        |number: u64, what: &str| format!("{} {what}{}", count(number), if number == 1 { "" } else { "s" });
    let off: Vec<String> = members
        .iter()
        .filter(|member| member["state"] != "serving")
        .map(|member| {
            let state = if member["cordoned"] == true { "cordoned".into() } else { cell(member, "state") };
            format!(", {} {state}", cell(member, "node"))
        })
        .collect();
    let text = format!(
        "cluster {} is well: {} serve{} {} with {}{}{}{}",
        cell(nodes, "cluster"),
        some(serving, "node"),
        if serving == 1 { "s" } else { "" },
        some(sum("documents_resident"), "document"),
        some(sum("document_sessions"), "session"),
        off.concat(),
        if nodes["moves_paused"] == true { ", moves are paused" } else { "" },
        left_behind(sum("sessions_left_behind")),
    );
    Verdict { mood: Mood::Well, text }
}

/// What somebody should look at. The worst first.
fn worries(status: &Value, nodes: &Value) -> Vec<String> {
    let members = array(nodes, "members");
    let names = |what: &dyn Fn(&Value) -> bool| -> Vec<String> {
        members.iter().filter(|member| what(member)).map(|member| cell(member, "node")).collect()
    };
    let verb = |names: &[String]| if names.len() == 1 { "does" } else { "do" };
    let mut worries = Vec::new();
    let silent = names(&|member| member["answers"] == false);
    if !silent.is_empty() {
        worries.push(format!("{} {} not answer", silent.join(", "), verb(&silent)));
    }
    let unready = names(&|member| {
        member["answers"] == true && member["ready"] == false && member["state"] == "serving"
    });
    if !unready.is_empty() {
        worries.push(format!("{} not ready", unready.join(", ")));
    }
    let aside = members.iter().filter(|member| member["aside"].is_string());
    worries.extend(aside.map(|member| {
        format!("{} has left its documents to the others: {}", cell(member, "node"), cell(member, "aside"))
    }));
    worries.extend(etcd_away(nodes));
    let failing: u64 = members.iter().filter_map(|member| member["counts"]["failing_appends"].as_u64()).sum();
    if failing > 0 {
        worries.push(format!("the store does not take the appends of {} document(s)", count(failing)));
    }
    let quarantined =
        members.iter().filter_map(|member| member["counts"]["documents_quarantined"].as_u64()).max();
    if let Some(number @ 1..) = quarantined {
        worries.push(format!("{} document(s) in quarantine", count(number)));
    }
    let version = &status["ring"]["version"];
    let behind = names(&|member| member["answers"] == true && member["ring_version"] != *version);
    if !behind.is_empty() {
        let knows = if behind.len() == 1 { "knows" } else { "know" };
        worries.push(format!("{} {knows} another ring than version {version}", behind.join(", ")));
    }
    worries
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn member(node: &str) -> Value {
        json!({
            "node": node, "state": "serving", "answers": true, "ready": true, "ring_version": 7,
            "counts": { "documents_resident": 1, "document_sessions": 600, "documents_quarantined": 0, "failing_appends": 0 },
        })
    }

    fn status() -> Value {
        json!({
            "stage": "serving", "uptime_seconds": 61, "role": "router", "node": "r1", "ring": { "version": 7 },
            "checks": [{ "name": "store", "ok": true, "detail": "answers" }],
        })
    }

    fn nodes(members: &[Value]) -> Value {
        json!({ "cluster": "c", "coordinator": { "connected": true }, "members": members })
    }

    fn said(status: &Value, nodes: Option<&Value>) -> (Mood, String) {
        let verdict = verdict(status, nodes);
        (verdict.mood, verdict.text)
    }

    #[test]
    fn a_server_alone_is_well_or_says_what_fails() {
        assert_eq!(said(&status(), None), (Mood::Well, "serving for 1m 1s".into()));
        let mut failing = status();
        failing["checks"][0] = json!({ "name": "store", "ok": false, "detail": "no answer" });
        assert_eq!(said(&failing, None), (Mood::Unwell, "serving, not ready: store: no answer".into()));
        assert_eq!(said(&failing, Some(&nodes(&[]))).0, Mood::Unwell, "its own trouble comes first");
        assert_eq!(said(&json!({ "stage": "stopped" }), None).0, Mood::Stopped);
    }

    #[test]
    fn a_cluster_is_well_in_one_line() {
        let one = nodes(&[member("n1")]);
        let line = "cluster c is well: 1 node serves 1 document with 600 sessions; this is router r1, serving for 1m 1s";
        assert_eq!(said(&status(), Some(&one)), (Mood::Well, line.into()));
        let two = nodes(&[member("n1"), member("n2")]);
        assert!(said(&status(), Some(&two)).1.contains("2 nodes serve 2 documents with 1,200 sessions;"));
        let mut one_of_two = two;
        one_of_two["members"][1]["state"] = "draining".into();
        one_of_two["members"][1]["cordoned"] = true.into();
        let (mood, text) = said(&status(), Some(&one_of_two));
        assert!(mood == Mood::Well && text.contains(" sessions, n2 cordoned; this is"), "{text}");
        one_of_two["moves_paused"] = true.into();
        assert!(said(&status(), Some(&one_of_two)).1.contains(", n2 cordoned, moves are paused; this is"));
    }

    #[test]
    fn sessions_with_something_left_behind_are_a_note_and_nothing_worse() {
        let mut alone = status();
        alone["counts"] = json!({ "sessions_left_behind": 1 });
        let line = "serving for 1m 1s, something that 1 session has sent is not in its document (`ringleaf doc list --sort left-behind`)";
        assert_eq!(said(&alone, None), (Mood::Well, line.into()));
        let mut two = nodes(&[member("n1"), member("n2")]);
        two["members"][0]["counts"]["sessions_left_behind"] = 1.into();
        two["members"][1]["counts"]["sessions_left_behind"] = 1_000.into();
        let (mood, text) = said(&status(), Some(&two));
        let note = ", something that 1,001 sessions have sent is not in their documents (`ringleaf doc list --sort left-behind`); this is";
        assert!(mood == Mood::Well && text.contains(note), "{text}");
    }

    #[test]
    fn what_somebody_should_look_at_is_named() {
        let mut worried = nodes(&[member("n1"), member("n2"), member("n3"), member("n4"), member("n5")]);
        worried["members"][0] = json!({ "node": "n1", "state": "serving", "answers": false });
        worried["members"][1]["ready"] = false.into();
        worried["members"][2]["counts"]["failing_appends"] = 2.into();
        worried["members"][3]["counts"]["documents_quarantined"] = 1.into();
        worried["members"][4]["ring_version"] = 6.into();
        worried["members"][4]["state"] = "draining".into();
        worried["members"][4]["aside"] = "no way to the store".into();
        worried["coordinator"] = json!({ "connected": false, "since_seconds": 12, "problem": "no answer" });
        let (mood, text) = said(&status(), Some(&worried));
        assert_eq!(mood, Mood::Worried);
        let expected = "cluster c: n1 does not answer; n2 not ready; n5 has left its documents to the \
                        others: no way to the store; etcd is away for 12s, the ring stays as it is: no answer; the store does not take the appends of 2 document(s); 1 document(s) in \
                        quarantine; n5 knows another ring than version 7; this is router r1, serving for 1m 1s";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_line_is_colored_by_the_mood() {
        let verdict = Verdict { mood: Mood::Worried, text: "x".into() };
        assert_eq!((verdict.line(false), verdict.line(true)), ("● x".into(), "\x1b[1;33m● x\x1b[0m".into()));
    }
}
