//! `ringleaf ring history`.

use serde_json::Value;

use super::text::{array, cell};
use crate::cli::Server;
use crate::client::{Ask, Client};
use crate::exit::Failure;
use crate::output::{self, Table};

pub(super) fn run(server: &Server) -> Result<(), Failure> {
    let answer = Client::open(&server.target())?.json(Ask::get("/api/v1/ring/history"))?;
    output::answer(server.output.format, &answer, || shown(&answer, output::stdout_has_color()))
}

/// A line for each change, the newest last, where people look.
fn shown(answer: &Value, color: bool) -> String {
    let mut table = Table::new(&["SEEN AT", ">RING", "CHANGE"]);
    for entry in array(answer, "history") {
        for (index, change) in array(entry, "changes").iter().enumerate() {
            // The time and the version belong to all of them.
            let once = |key: &str| if index == 0 { cell(entry, key) } else { String::new() };
            table.row([once("at"), once("version"), change.as_str().unwrap_or_default().into()]);
        }
    }
    format!("{}as this process has seen it since it started\n", table.render(color))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_a_line() {
        let answer = json!({ "history": [
            { "at": "2026-11-24T18:00:00Z", "version": 9, "changes": ["first seen, with n1"] },
            { "at": "2026-11-24T18:00:09Z", "version": 10, "changes": ["n2 joined", "n3 joined"] },
        ] });
        let expected = "\
SEEN AT               RING  CHANGE
2026-11-24T18:00:00Z     9  first seen, with n1
2026-11-24T18:00:09Z    10  n2 joined
                            n3 joined
as this process has seen it since it started
";
        assert_eq!(shown(&answer, false), expected);
    }
}
