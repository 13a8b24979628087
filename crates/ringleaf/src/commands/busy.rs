//! How documents in memory, and what they move, are written for people.

use serde_json::Value;

use super::text::{array, cell, count};
use crate::output::{self, Table};

/// One row for each document. The sessions that have left something behind have a column when there are any.
pub(super) fn table(documents: &[Value]) -> Table {
    let left_behind = |document: &Value| document["left_behind"].as_u64().unwrap_or_default();
    let left = documents.iter().any(|document| left_behind(document) > 0);
    let mut headings = vec!["DOCUMENT", "NODE", ">SESSIONS"];
    headings.extend(left.then_some(">LEFT BEHIND"));
    headings.extend([">UPDATES/S", ">IN/S", ">DELIVERIES/S", ">MEMORY"]);
    let mut table = Table::new(&headings);
    for document in documents {
        let mut row = vec![
            cell(document, "name"),
            cell(document, "node"),
            count(document["sessions"].as_u64().unwrap_or_default()),
        ];
        row.extend(left.then(|| count(left_behind(document))));
        row.extend([
            rate(&document["updates_per_second"]),
            volume(&document["bytes_per_second"]),
            rate(&document["deliveries_per_second"]),
            document["bytes"].as_u64().map(output::size).unwrap_or_default(),
        ]);
        table.row(row);
    }
    table
}

/// Who did not say what it has.
pub(super) fn left_out(answer: &Value) -> String {
    array(answer, "unanswered")
        .iter()
        .map(|silent| format!("! {} is left out: {}\n", cell(silent, "node"), cell(silent, "problem")))
        .collect()
}

/// `1,234`, `9.5`, `0.02`; nothing for what is not known.
pub(super) fn rate(value: &Value) -> String {
    match value.as_f64() {
        None => String::new(),
        Some(rate) if rate >= 99.95 => count(rate.round() as u64),
        Some(rate) if rate >= 9.995 => format!("{rate:.1}"),
        Some(rate) if rate >= 0.005 => format!("{rate:.2}"),
        Some(_) => "0".into(),
    }
}

/// `1.5 KiB`; nothing for what is not known.
pub(super) fn volume(value: &Value) -> String {
    value.as_f64().map(|bytes| output::size(bytes.round() as u64)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_are_short_and_say_their_unit() {
        let rates = [0.0, 0.004, 0.02, 1.0, 9.99, 12.34, 99.96, 12_345.6];
        assert_eq!(
            rates.map(|number| rate(&json!(number))),
            ["0", "0", "0.02", "1.00", "9.99", "12.3", "100", "12,346"]
        );
        assert_eq!([0.4, 1_536.2].map(|bytes| volume(&json!(bytes))), ["0 B", "1.5 KiB"]);
        assert_eq!([rate, volume].map(|show| show(&Value::Null)), ["", ""]);
    }

    #[test]
    fn the_table_of_documents_has_a_unit_in_every_heading_that_needs_one() {
        let documents = [
            json!({ "name": "notes/today", "node": "n2", "sessions": 1_200, "bytes": 52_000,
                "updates_per_second": 48.7, "bytes_per_second": 1_730.0, "deliveries_per_second": 58_440.0 }),
            // As an older version says it.
            json!({ "name": "a", "node": "n1", "sessions": 0, "bytes": 9 }),
        ];
        assert_eq!(
            table(&documents).render(false),
            "DOCUMENT     NODE  SESSIONS  UPDATES/S     IN/S  DELIVERIES/S    MEMORY\n\
             notes/today  n2       1,200       48.7  1.7 KiB        58,440  50.8 KiB\n\
             a            n1           0                                         9 B\n"
        );
        let left = json!({ "name": "a", "node": "n1", "sessions": 3, "bytes": 9, "updates_per_second": 0.0, "left_behind": 2 });
        let text = table(&[left]).render(false);
        assert!(text.contains("SESSIONS  LEFT BEHIND") && text.contains("       3            2"), "{text}");
    }
}
