//! A table that fits into a terminal: where there is no room, the less important columns go, then long names are cut.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The first column, which holds names, keeps so many characters as long as another column can go instead.
const NAME_MIN: usize = 28;
const GAP: usize = 2;

pub(super) struct Column {
    pub(super) heading: &'static str,
    pub(super) right: bool,
    /// The column with the lowest goes first. The first column stays.
    pub(super) weight: u8,
}

/// A column of text.
pub(super) const fn text(heading: &'static str, weight: u8) -> Column {
    Column { heading, right: false, weight }
}

/// A column of numbers.
pub(super) const fn number(heading: &'static str, weight: u8) -> Column {
    Column { heading, right: true, weight }
}

/// The heading and one line for each row, none wider than `width`.
pub(super) fn lines(columns: &[Column], rows: &[Vec<String>], width: usize) -> Vec<String> {
    let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column));
    let mut widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            cells(index).map(|cell| cell.width()).chain([column.heading.width()]).max().unwrap_or(0)
        })
        .collect();
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    let others = |shown: &[usize], widths: &[usize]| {
        shown.iter().skip(1).map(|&index| widths[index] + GAP).sum::<usize>()
    };
    while shown.len() > 1 && widths[0].min(NAME_MIN) + others(&shown, &widths) > width {
        let least = shown.iter().skip(1).min_by_key(|&&index| columns[index].weight).copied();
        shown.retain(|&index| Some(index) != least);
    }
    widths[0] = widths[0].min(width.saturating_sub(others(&shown, &widths)));
    let line = |cell_of: &dyn Fn(usize) -> String| {
        let cells = shown.iter().map(|&index| {
            let cell = shorten(&cell_of(index), widths[index]);
            let space = " ".repeat(widths[index].saturating_sub(cell.width()));
            if columns[index].right { format!("{space}{cell}") } else { format!("{cell}{space}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let heading = line(&|index| columns[index].heading.to_owned());
    let rows = rows.iter().map(|row| line(&|index| row.get(index).cloned().unwrap_or_default()));
    std::iter::once(heading).chain(rows).collect()
}

/// The beginning and the end of a name that has no room: names of one kind often differ at their ends.
fn shorten(text: &str, width: usize) -> String {
    const SHORT: usize = 12;
    if text.width() <= width || width < SHORT {
        return cut(text, width);
    }
    let end: Vec<char> = fitting(text.chars().rev(), width / 2).collect();
    let end: String = end.into_iter().rev().collect();
    cut(text, width - end.width()) + &end
}

/// The first of these that have room.
fn fitting(chars: impl Iterator<Item = char>, width: usize) -> impl Iterator<Item = char> {
    let mut left = width;
    chars.take_while(move |char| {
        let needed = char.width().unwrap_or(0);
        let fits = needed <= left;
        left = left.saturating_sub(needed);
        fits
    })
}

/// As much of a text as has room; the last place says that there is more.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut cut: String = fitting(text.chars(), width.saturating_sub(1)).collect();
    if width > 0 {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [text("NAME", 9), text("NODE", 1), number("RATE", 2)];

    fn shown(name: &str, width: usize) -> Vec<String> {
        lines(&COLUMNS, &[vec![name.into(), "n1".into(), "12".into()]], width)
    }

    #[test]
    fn what_has_room_is_shown_as_it_is() {
        assert_eq!(shown("a", 80), ["NAME  NODE  RATE", "a     n1      12"]);
    }

    #[test]
    fn long_names_are_cut_before_a_column_goes() {
        let name = "a-rather-long-name-of-a-document-that-is-the-7th";
        assert_eq!(shown(name, 42)[1], "a-rather-long-…that-is-the-7th  n1      12");
        assert_eq!(shown(name, 36)[1], "a-rather-long-…that-is-the-7th    12");
        assert_eq!(shown(name, 10)[1], "a-rather-…");
        assert!((0..60).all(|width| shown(name, width).iter().all(|line| line.width() <= width)));
    }

    #[test]
    fn wide_letters_take_the_room_that_they_take() {
        assert_eq!(cut("日本語", 6), "日本語");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("ab", 0), "");
    }
}
