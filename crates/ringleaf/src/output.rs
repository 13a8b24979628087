//! Answers on stdout: a small table for people, or JSON for machines.

use std::io::{self, IsTerminal, Write};
use std::time::SystemTime;

use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use crate::cli::Format;
use crate::exit::Failure;

/// Columns of text. Numbers (`>` before the heading) are aligned to the right.
#[derive(Debug, Default)]
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// `headings` may be empty: a list of names and values.
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row<I: Into<String>>(&mut self, cells: impl IntoIterator<Item = I>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Lines without trailing spaces.
    pub(crate) fn render(&self, color: bool) -> String {
        let right: Vec<bool> = self.headings.iter().map(|heading| heading.starts_with('>')).collect();
        let headings: Vec<String> =
            self.headings.iter().map(|heading| heading.trim_start_matches('>').to_owned()).collect();
        let columns = self.rows.iter().map(Vec::len).chain([headings.len()]).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&headings]).filter_map(|row| row.get(column));
            cells.map(|cell| cell.width()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |cells: &[String]| {
            let mut line = String::new();
            for (column, cell) in cells.iter().enumerate() {
                let space = " ".repeat(widths[column] - cell.width());
                match right.get(column) {
                    Some(true) => line.push_str(&format!("{space}{cell}  ")),
                    Some(false) | None => line.push_str(&format!("{cell}{space}  ")),
                }
            }
            line.trim_end().to_owned()
        };
        let mut text = String::new();
        if !headings.is_empty() {
            let heading = line(&headings);
            text.push_str(&if color { format!("\x1b[2m{heading}\x1b[0m\n") } else { format!("{heading}\n") });
        }
        for row in &self.rows {
            text.push_str(&line(row));
            text.push('\n');
        }
        text
    }
}

/// Prints `json`, or what `table` makes of it.
pub(crate) fn answer(format: Format, json: &Value, table: impl FnOnce() -> String) -> Result<(), Failure> {
    match format {
        Format::Json => print(&format!("{json:#}\n")),
        Format::Table | Format::Wide => print(&table()),
    }
}

/// Prints text. A reader that has gone (`| head`) is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// Prints text, and says whether anyone still reads.
pub(crate) fn print_to_reader(text: &str) -> Result<bool, Failure> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Ok(()) | Err(_) => print("").map(|()| true),
    }
}

pub(crate) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
            crate::exit::Exit::Failed,
            "output",
            format!("the answer cannot be written to stdout: {error}"),
        )),
        Ok(()) | Err(_) => Ok(()),
    }
}

pub(crate) fn stdout_has_color() -> bool {
    crate::log::wants_color() && io::stdout().is_terminal()
}

/// One line on stderr, for people.
pub(crate) fn note(text: &str) {
    let _nobody_listens = writeln!(io::stderr(), "{text}");
}

/// `1.5 MiB`
pub(crate) fn size(bytes: u64) -> String {
    let mut size = bytes as f64;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB"].iter();
    let mut unit = units.next().expect("there are units");
    while size >= 1024.0 {
        let Some(larger) = units.next() else { break };
        size /= 1024.0;
        unit = larger;
    }
    if *unit == "B" || size >= 99.95 { format!("{size:.0} {unit}") } else { format!("{size:.1} {unit}") }
}

/// `3d 4h`, `2m 5s`: the two largest units.
pub(crate) fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match seconds {
        86_400.. => format!("{days}d {hours}h"),
        3_600.. => format!("{hours}h {minutes}m"),
        60.. => format!("{minutes}m {}s", seconds % 60),
        _ => format!("{seconds}s"),
    }
}

/// A time as RFC 3339 in UTC, to the second.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    // Days since 1970 to a civil date: years begin in March, so that the leap day is the last day of a year.
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (time / 3_600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_table_is_aligned_and_has_no_trailing_spaces() {
        let mut table = Table::new(&["NAME", ">SLOT", "STATE"]);
        table.row(["notes/today", "7", "open"]);
        table.row(["a", "1200", ""]);
        assert_eq!(
            table.render(false),
            "NAME         SLOT  STATE\nnotes/today     7  open\na            1200\n"
        );
    }

    #[test]
    fn dates_are_right_around_leap_days() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn sizes_and_spans_are_short() {
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(300 << 20), "300 MiB");
        assert_eq!(span(59), "59s");
        assert_eq!(span(3_725), "1h 2m");
        assert_eq!(span(90_061), "1d 1h");
    }
}
