//! Values that the CRDT library would not write as it has read them, and what stands in for them while it has them.
//!
//! ```text
//! update ──hide──▶ update with stand-ins ──▶ CRDT library ──▶ what it encodes ──show──▶ values as their editors wrote them
//! ```
//!
//! yrs (0.28) reads every value into types of its own and writes it anew. An object comes back with its members in another order
//! each time, a big integer as a number, minus zero as zero, a subdocument without its `meta`; of JSON it does not even read all
//! that browsers write (half of a surrogate pair, deep nesting). None of this is the library's business: it only moves values
//! about. So it is given a buffer or a string in which the value's own bytes are, and its answers are given the value back.
//!
//! A stand-in holds everything that it stands for, so there is no table to keep. Whatever an editor writes that looks like a
//! stand-in gets one itself, so none can be forged. Plain values (numbers, strings, truth values) need none, and a document
//! without others is not copied.

use crate::Refusal;
use crate::lib0::{
    ANY_NESTING_MAX, ANY_OBJECT, Malformed, Reader, write_var_bytes, write_var_string, write_var_uint,
};
use crate::scan::structs::{
    CLIENT_BYTES_MIN, CONTENT_ANY, CONTENT_DOC, CONTENT_EMBED, CONTENT_FORMAT, INFO_CONTENT, Structs,
};
use crate::scan::{Content, ScanLimits, Struct};

/// A buffer that begins so stands for the value whose bytes follow.
const OF_ANY: &[u8] = b"rl\x00\x01";
/// A JSON string that begins so stands for the JSON text that follows.
const OF_JSON: &str = "\u{f8f0}j";
/// Likewise for a subdocument, whose bytes follow as hexadecimal digits.
const OF_SUBDOCUMENT: &str = "\u{f8f0}d";

const ANY_BUFFER: u8 = 0x74;
const ANY_ARRAY: u8 = 0x75;
const ANY_BIG_INTEGER: u8 = 0x7a;
const ANY_INTEGER: u8 = 0x7d;
const ANY_FLOAT_32: u8 = 0x7c;

/// JSON integers of so many digits are the same in every library.
const PLAIN_DIGITS_MAX: usize = 15;

/// What takes the place of an item's content: its kind, and its bytes.
type Instead = (u8, Vec<u8>);

/// Replaces what the CRDT library would change by stand-ins. `None`: there is nothing to replace.
///
/// # Errors
///
/// An update that no scan would have admitted.
pub fn hide(update: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
    rewrite(update, hidden)
}

/// Puts back what the stand-ins stand for. `None`: there are none.
///
/// # Errors
///
/// Bytes that the CRDT library did not encode from what [`hide`] has made.
pub fn show(update: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
    rewrite(update, shown)
}

fn rewrite(
    update: &[u8],
    instead: impl Fn(&Struct<'_>) -> Result<Option<Instead>, Malformed>,
) -> Result<Option<Vec<u8>>, Refusal> {
    let mut copy = Copy { of: update, out: Vec::new(), copied_to: 0 };
    let mut reader = Reader::new(update);
    for _ in 0..reader.count(CLIENT_BYTES_MIN)? {
        let mut structs = Structs::read(&mut reader, &ScanLimits::stored())?;
        while let Some(item) = structs.next_struct()? {
            if let Some((kind, content)) = instead(&item)? {
                copy.replace(&item, structs.position(), kind, &content);
            }
        }
        reader = Reader::at(update, structs.position());
    }
    Ok(copy.finish())
}

/// A copy of an update that differs in some contents. Nothing is copied before the first difference.
struct Copy<'a> {
    of: &'a [u8],
    out: Vec<u8>,
    copied_to: usize,
}

impl Copy<'_> {
    /// Replaces the content of an item that ends at `end`.
    fn replace(&mut self, item: &Struct<'_>, end: usize, kind: u8, content: &[u8]) {
        let (begin, content_at) = (end - item.bytes.len(), end - item.content_bytes.len());
        let info = self.of[begin];
        self.out.extend_from_slice(&self.of[self.copied_to..begin]);
        self.out.push(info & !INFO_CONTENT | kind);
        self.out.extend_from_slice(&self.of[begin + 1..content_at]);
        self.out.extend_from_slice(content);
        self.copied_to = end;
    }

    fn finish(mut self) -> Option<Vec<u8>> {
        if self.copied_to == 0 {
            return None;
        }
        self.out.extend_from_slice(&self.of[self.copied_to..]);
        Some(self.out)
    }
}

fn hidden(item: &Struct<'_>) -> Result<Option<Instead>, Malformed> {
    let hidden_json = |text: &str| (!json_is_plain(text)).then(|| json_string(OF_JSON, text));
    match item.content {
        Content::Any => values(item, |value| {
            (!any_is_plain(value)).then(|| {
                let mut instead = vec![ANY_BUFFER];
                write_var_uint(&mut instead, (OF_ANY.len() + value.len()) as u64);
                instead.extend_from_slice(OF_ANY);
                instead.extend_from_slice(value);
                instead
            })
        }),
        Content::Embed => embed(item, |text| hidden_json(text).map(|json| (CONTENT_EMBED, string(&json)))),
        Content::Format => format(item, hidden_json),
        // As JSON within a text, which has the same length: the library makes a whole document of a subdocument.
        Content::Subdocument => {
            let json = json_string(OF_SUBDOCUMENT, &hexadecimal(item.content_bytes));
            Ok(Some((CONTENT_EMBED, string(&json))))
        }
        Content::None | Content::Deleted | Content::Binary | Content::String | Content::Type => Ok(None),
    }
}

fn shown(item: &Struct<'_>) -> Result<Option<Instead>, Malformed> {
    match item.content {
        Content::Any => values(item, |value| {
            let (&ANY_BUFFER, buffer) = value.split_first()? else { return None };
            Some(Reader::new(buffer).var_bytes().ok()?.strip_prefix(OF_ANY)?.to_vec())
        }),
        Content::Embed => embed(item, |text| match behind(OF_SUBDOCUMENT, text) {
            Some(digits) => Some((CONTENT_DOC, from_hexadecimal(&digits))),
            None => behind(OF_JSON, text).map(|json| (CONTENT_EMBED, string(&json))),
        }),
        Content::Format => format(item, |text| behind(OF_JSON, text)),
        Content::None
        | Content::Deleted
        | Content::Binary
        | Content::String
        | Content::Type
        | Content::Subdocument => Ok(None),
    }
}

/// Replaces single values.
fn values(
    item: &Struct<'_>,
    instead: impl Fn(&[u8]) -> Option<Vec<u8>>,
) -> Result<Option<Instead>, Malformed> {
    let bytes = item.content_bytes;
    let mut reader = Reader::new(bytes);
    let (mut out, mut copied_to) = (Vec::new(), 0);
    for _ in 0..reader.var_uint()? {
        let begin = reader.position();
        reader.skip_any(ANY_NESTING_MAX)?;
        if let Some(value) = instead(&bytes[begin..reader.position()]) {
            out.extend_from_slice(&bytes[copied_to..begin]);
            out.extend(value);
            copied_to = reader.position();
        }
    }
    if copied_to == 0 {
        return Ok(None);
    }
    out.extend_from_slice(&bytes[copied_to..]);
    Ok(Some((CONTENT_ANY, out)))
}

fn embed(item: &Struct<'_>, instead: impl Fn(&str) -> Option<Instead>) -> Result<Option<Instead>, Malformed> {
    Ok(instead(Reader::new(item.content_bytes).var_string()?))
}

fn format(item: &Struct<'_>, instead: impl Fn(&str) -> Option<String>) -> Result<Option<Instead>, Malformed> {
    let mut reader = Reader::new(item.content_bytes);
    let (name, value) = (reader.var_string()?, reader.var_string()?);
    Ok(instead(value).map(|json| {
        let mut content = string(name);
        write_var_string(&mut content, &json);
        (CONTENT_FORMAT, content)
    }))
}

/// Whether the library writes a value as it reads it, at least in meaning and each time alike.
fn any_is_plain(value: &[u8]) -> bool {
    match value {
        [ANY_OBJECT | ANY_ARRAY | ANY_BIG_INTEGER, ..] => false,
        // Minus zero.
        [ANY_INTEGER, first, ..] if first & 0x40 != 0 => Reader::new(&value[1..]).var_int() != Ok(0),
        [ANY_FLOAT_32, rest @ ..] => rest.try_into().is_ok_and(|bytes| !f32::from_be_bytes(bytes).is_nan()),
        [ANY_BUFFER, rest @ ..] => {
            Reader::new(rest).var_bytes().is_ok_and(|bytes| !bytes.starts_with(OF_ANY))
        }
        _ => true,
    }
}

/// Likewise for JSON: a word, a short integer, or a string in which nothing is escaped.
fn json_is_plain(text: &str) -> bool {
    if matches!(text, "null" | "true" | "false") {
        return true;
    }
    if let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        return !inner.contains(['"', '\\']) && !inner.starts_with([OF_JSON, OF_SUBDOCUMENT].map(first_of));
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    integer && digits.len() <= PLAIN_DIGITS_MAX && (!digits.starts_with('0') || text == "0")
}

fn first_of(mark: &str) -> char {
    mark.chars().next().unwrap_or_default()
}

/// A JSON string that says `mark` and `text`.
fn json_string(mark: &str, text: &str) -> String {
    let mut json = String::with_capacity(mark.len() + text.len() + 8);
    json.push('"');
    json.push_str(mark);
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            // JSON texts hold no others outside of their strings, and none within.
            _ => json.push(character),
        }
    }
    json.push('"');
    json
}

/// What a JSON string made by [`json_string`] says behind `mark`.
fn behind(mark: &str, json: &str) -> Option<String> {
    let text = json.strip_prefix('"')?.strip_prefix(mark)?.strip_suffix('"')?;
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        out.push(match character {
            '\\' => match characters.next()? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                escaped => escaped,
            },
            character => character,
        });
    }
    Some(out)
}

fn string(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 4);
    write_var_bytes(&mut out, text.as_bytes());
    out
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
    bytes.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn from_hexadecimal(digits: &str) -> Vec<u8> {
    let value = |digit: u8| char::from(digit).to_digit(16).unwrap_or_default() as u8;
    digits.as_bytes().chunks_exact(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One item of client 1 in the root type `t`.
    fn update(kind: u8, content: &[u8]) -> Vec<u8> {
        let mut update = vec![1, 1, 1, 0, kind, 1, 1, b't'];
        update.extend_from_slice(content);
        update.push(0);
        update
    }

    fn json(text: &str) -> Vec<u8> {
        update(CONTENT_EMBED, &string(text))
    }

    fn any(values: &[&[u8]]) -> Vec<u8> {
        update(CONTENT_ANY, &[&[values.len() as u8][..], &values.concat()].concat())
    }

    #[test]
    fn plain_values_are_left_alone() {
        let minus_one = [ANY_INTEGER, 0x41];
        let plain: [&[u8]; 6] =
            [&[0x7e], &[0x78], &[0x77, 1, b'x'], &minus_one, &[ANY_INTEGER, 0], &[ANY_BUFFER, 1, 9]];
        assert_eq!(hide(&any(&plain)), Ok(None));
        for text in ["null", "true", "\"red\"", "\"\"", "0", "-17", "\"\u{2028}ü\""] {
            assert_eq!(hide(&json(text)), Ok(None), "{text}");
        }
        assert_eq!(hide(&[0, 0]), Ok(None));
        assert_eq!(show(&any(&plain)), Ok(None));
    }

    #[test]
    fn everything_else_comes_back_as_it_was() {
        let object = [ANY_OBJECT, 2, 1, b'b', 0x78, 1, b'a', 0x79];
        let big = [ANY_BIG_INTEGER, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        let forged = [&[ANY_BUFFER, 5][..], OF_ANY, &[0x7e]].concat();
        let minus_zero = [ANY_INTEGER, 0x40];
        let nan = [ANY_FLOAT_32, 0x7f, 0xc0, 0, 1];
        let mut cases: Vec<Vec<u8>> = vec![
            any(&[&object]),
            any(&[&[0x7e], &big, &[0x78], &minus_zero]),
            any(&[&forged]),
            any(&[&nan]),
            update(CONTENT_FORMAT, &[string("link"), string("{\"href\":\"a\\\"b\",\"x\":1}")].concat()),
            update(CONTENT_DOC, &[string("guid"), object.to_vec()].concat()),
        ];
        let texts = [
            "{\"b\":1,\"a\":2}",
            "\"\\ud83d\"",
            "12345678901234567000",
            "-0",
            "1e5",
            " 1",
            "[\n1,\t2\r]",
            "\"\u{f8f0}j1\"",
            "\"\u{f8f0}\"",
        ];
        cases.extend(texts.map(json));
        for case in cases {
            let hidden = hide(&case).unwrap().unwrap_or_else(|| panic!("{case:?} is hidden"));
            crate::scan::update(&hidden, &ScanLimits::default(), &mut ()).unwrap();
            assert_ne!(hidden, case);
            assert_eq!(show(&hidden), Ok(Some(case)));
        }
    }

    #[test]
    fn what_stands_between_is_kept() {
        let mut two = vec![1, 3, 1, 0];
        two.extend([4, 1, 1, b't', 2, b'h', b'i']);
        two.extend([INFO_LEFT_OF_ANY, 1, 1, 2, 0x7e, ANY_OBJECT, 0]);
        two.extend([0x84, 1, 3, 1, b'!']);
        two.extend([1, 1, 1, 0, 1]);
        let hidden = hide(&two).unwrap().unwrap();
        assert!(hidden.ends_with(&[0x84, 1, 3, 1, b'!', 1, 1, 1, 0, 1]));
        assert_eq!(show(&hidden), Ok(Some(two)));
    }

    const INFO_LEFT_OF_ANY: u8 = 0x80 | CONTENT_ANY;
}
