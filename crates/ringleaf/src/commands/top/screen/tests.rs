use serde_json::json;
use unicode_width::UnicodeWidthStr;

use super::*;

/// A cluster in which one node does not answer, and so many documents in memory.
fn heard(nodes: usize, documents: usize) -> Heard {
    let node = |index: usize| {
        json!({
            "node": format!("n{index}"), "state": "serving", "answers": true, "ready": true,
            "counts": { "documents_resident": 1_234 * index, "document_sessions": 40 * index },
            "resident_bytes": 80_000_000,
            "load": {
                "updates_per_second": 12.5 * index as f64, "bytes_per_second": 900.0, "deliveries_per_second": 4_000.0,
                "acknowledged_in_seconds": { "p50": 0.001_2, "p99": 0.0123 },
            },
        })
    };
    let mut members: Vec<Value> = (1..nodes).map(node).collect();
    members.push(json!({
        "node": format!("n{nodes}"), "state": "serving", "answers": false, "problem": "it cannot be reached",
    }));
    let documents: Vec<Value> = (0..documents)
        .map(|index| {
            json!({
                "name": format!("notes/of-the-year/2026/week-{index}"), "node": "n1", "sessions": 12,
                "bytes": 52_000, "updates_per_second": 100.0 / (index + 1) as f64, "bytes_per_second": 3_000.0,
                "deliveries_per_second": 1_200.0 / (index + 1) as f64,
            })
        })
        .collect();
    let silent = json!([{ "node": format!("n{nodes}"), "problem": "it cannot be reached" }]);
    Heard {
        look: Look {
            status: json!({ "stage": "serving", "role": "router", "node": "r1", "uptime_seconds": 7,
                "checks": [], "cluster": "c", "editors": { "open_to_anyone": true } }),
            nodes: Some(json!({ "cluster": "c", "members": members, "gone": [] })),
        },
        busiest: json!({ "sort": "updates", "documents": documents, "unanswered": silent }),
        at: "2026-11-24T20:00:00Z".into(),
    }
}

fn shown(heard: &Heard, columns: usize, rows: usize) -> Vec<String> {
    screen(Some(heard), None, Room { columns, rows }, false)
}

#[test]
fn a_usual_terminal_shows_nodes_and_documents_and_what_is_missing() {
    let text = shown(&heard(3, 40), 80, 24).join("\n");
    assert_eq!(text, include_str!("usual.txt").trim_end());
}

#[test]
fn whatever_its_size_the_screen_is_filled_and_nothing_is_wider() {
    for (nodes, documents) in [(1, 0), (3, 2), (60, 400)] {
        let heard = heard(nodes, documents);
        for rows in [1, 2, 5, 10, 24, 60, 300] {
            for columns in [3, 8, 20, 40, 79, 80, 81, 132, 300] {
                let lines = shown(&heard, columns, rows);
                assert_eq!(lines.len(), rows, "{columns}x{rows}");
                assert!(lines.iter().all(|line| line.width() <= columns), "{columns}x{rows}: {lines:#?}");
            }
        }
    }
}

#[test]
fn many_nodes_leave_room_for_documents_and_few_documents_leave_it_to_nodes() {
    let count = |lines: &[String], begin: &str| lines.iter().filter(|line| line.starts_with(begin)).count();
    let both = shown(&heard(60, 400), 100, 40);
    assert!(count(&both, "notes/") >= 14 && both.iter().any(|line| line.starts_with("and ")), "{both:#?}");
    assert!(both.iter().any(|line| line.ends_with("more nodes")), "{both:#?}");
    let few = shown(&heard(20, 1), 100, 40);
    assert!(count(&few, "n") >= 21 && !few.iter().any(|line| line.ends_with("more nodes")), "{few:#?}");
    let wide = shown(&heard(3, 40), 200, 60);
    assert!(wide.iter().any(|line| line.contains("DELIVERIES/S") && line.contains("ACK P99")), "{wide:#?}");
    assert_eq!(count(&wide, "notes/"), 40);
}

#[test]
fn a_server_that_is_away_is_said_to_be_and_what_was_seen_last_stays() {
    let room = Room { columns: 80, rows: 24 };
    let heard = heard(3, 4);
    let lines = screen(Some(&heard), Some("no server answers at http://127.0.0.1:1235"), room, false);
    assert_eq!(lines[0], "● no server answers at http://127.0.0.1:1235");
    assert!(lines[1].contains("2026-11-24T20:00:00Z"), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.starts_with("● cluster")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("notes/")), "{lines:#?}");
    assert_eq!(lines[23], KEYS);
    assert_eq!(screen(None, None, room, false)[0], "looking …");
}

#[test]
fn what_is_printed_once_is_complete() {
    let report = report(&heard(60, 400), false);
    assert!(report.contains("\nn59  ") && report.contains("week-399 "), "{report}");
    assert!(!report.contains("quit"), "{report}");
}

#[test]
fn latencies_are_short() {
    let latencies = [0.000_85, 0.004_2, 0.0427, 1.52];
    assert_eq!(latencies.map(|seconds| latency(&json!(seconds))), ["0.8 ms", "4.2 ms", "43 ms", "1.5 s"]);
}
