//! What the scan refuses, and that it refuses nothing honest.

#![allow(clippy::unwrap_used, reason = "the helpers of a test may fail it")]

use proptest::prelude::*;
use ringleaf_types::ClientId;
use ringleaf_wire::Refusal;
use ringleaf_wire::cut::{self, Form, Units};
use ringleaf_wire::lib0::{Malformed, write_var_bytes, write_var_string, write_var_uint};
use ringleaf_wire::scan::{self, Content, Harm, ScanLimits, Struct, VALUE_NESTING_MAX, Visit};

fn scan(bytes: &[u8]) -> Result<(), Refusal> {
    scan::update(bytes, &mut ())
}

/// What the first struct of an update would do to editors.
fn harm(bytes: &[u8]) -> Option<Harm> {
    #[derive(Default)]
    struct First(Option<Option<Harm>>);

    impl<'a> Visit<'a> for First {
        fn item(&mut self, item: &Struct<'a>) {
            self.0.get_or_insert(item.harm);
        }

        fn deleted(&mut self, _: ClientId, _: ringleaf_types::Clock, _: u32) {}
    }

    let mut first = First::default();
    scan::update(bytes, &mut first).unwrap();
    first.0.unwrap()
}

/// An update in which client 1 inserts one struct with this content into the root "t".
fn item(content: u8, bytes: &[u8]) -> Vec<u8> {
    [&[1, 1, 1, 0, content, 1, 1, b't'], bytes, &[0]].concat()
}

fn text(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_var_bytes(&mut out, bytes);
    out
}

fn client() -> ClientId {
    ClientId::new(1)
}

/// 2^31 − 1.
const LARGEST: [u8; 5] = [0xff, 0xff, 0xff, 0xff, 0x07];

#[test]
fn every_content_passes() {
    for (content, bytes) in [
        (1, vec![5]),
        (2, [vec![3], text(b"{}"), text(b"undefined"), text(b"\"a\"")].concat()),
        (3, text(&[1, 2, 3])),
        (4, text("a😀".as_bytes())),
        (5, text(br#"{"a":[1,"\ud83d\ude00",-1.5e3,true,null]}"#)),
        (6, [text(b"bold"), text(b"true")].concat()),
        (7, vec![0]),
        (7, vec![1]),
        (7, vec![2]),
        (7, [vec![3], text(b"p")].concat()),
        (7, vec![4]),
        (7, [vec![5], text(b"hook")].concat()),
        (7, vec![6]),
        (8, vec![2, 0x7e, 0x76, 1, 1, b'k', 0x7f]),
        (9, [text(b"guid"), vec![0x76, 0]].concat()),
    ] {
        assert_eq!(harm(&item(content, &bytes)), None, "content {content} {bytes:?}");
    }
}

#[test]
fn what_is_not_an_update_is_refused_for_its_reason() {
    let client = client();
    for (bytes, refusal) in [
        (vec![], Refusal::Malformed(Malformed::EndOfInput)),
        (vec![0], Refusal::Malformed(Malformed::EndOfInput)),
        (vec![0, 0, 0], Refusal::BytesLeftOver { bytes: 1 }),
        // An empty update in the V2 format.
        (vec![0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], Refusal::BytesLeftOver { bytes: 11 }),
        // Counts without anything behind them.
        (vec![0x80, 0xc2, 0xd7, 0x2f, 0, 0, 0], Refusal::Malformed(Malformed::CountTooLarge)),
        (vec![1, 0x7f, 1, 0, 0, 1, 0], Refusal::Malformed(Malformed::CountTooLarge)),
        (vec![0, 1, 1, 0x7f, 1, 1], Refusal::Malformed(Malformed::CountTooLarge)),
        (item(8, &[0x7f]), Refusal::Malformed(Malformed::CountTooLarge)),
        (item(8, &[1, 0x76, 0x7f]), Refusal::Malformed(Malformed::CountTooLarge)),
        (item(4, &[9, b'a']), Refusal::Malformed(Malformed::EndOfInput)),
        // Clients without anything, or listed twice.
        (vec![1, 0, 1, 0, 0, 0, 0], Refusal::EmptyClient { client }),
        (vec![2, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 0], Refusal::ClientTwice { client }),
        (vec![0, 2, 1, 1, 0, 1, 1, 1, 0, 1], Refusal::ClientTwice { client }),
        // Strings that are not UTF-8: a content, a root, a key.
        (item(4, &[2, 0xff, 0xfe]), Refusal::Malformed(Malformed::NotUtf8)),
        (item(4, &[3, 0xed, 0xa0, 0x80]), Refusal::Malformed(Malformed::NotUtf8)),
        (vec![1, 1, 1, 0, 4, 1, 1, 0xff, 1, b'a', 0], Refusal::Malformed(Malformed::NotUtf8)),
        (vec![1, 1, 1, 0, 0x24, 1, 1, b't', 1, 0xff, 1, b'a', 0], Refusal::Malformed(Malformed::NotUtf8)),
        // Kinds that do not exist, or that only one of the libraries would take.
        (item(0x0b, &[0]), Refusal::UnknownContent { client, info: 0x0b }),
        (item(0x14, &[1, b'a']), Refusal::UnknownContent { client, info: 0x14 }),
        (vec![1, 1, 1, 0, 0x80, 1, 0, 1, 0], Refusal::UnknownContent { client, info: 0x80 }),
        (vec![1, 1, 1, 0, 4, 2, 1, b't', 1, b'a', 0], Refusal::UnknownParent { client }),
        (item(7, &[8]), Refusal::UnknownType { client, type_ref: 8 }),
        (item(7, &[0x84, 0]), Refusal::UnknownType { client, type_ref: 0x84 }),
        (item(8, &[1, 0x73]), Refusal::Malformed(Malformed::UnknownTag { tag: 0x73 })),
        // Empty tombstones and gaps.
        (vec![1, 1, 1, 0, 0, 0, 0], Refusal::EmptyStruct { client }),
        (vec![1, 1, 1, 0, 10, 0, 0], Refusal::EmptyStruct { client }),
    ] {
        assert_eq!(scan(&bytes), Err(refusal), "{bytes:?}");
    }
}

#[test]
fn clocks_end_at_the_largest_signed_number() {
    let overflow = Err(Refusal::ClockOverflow { client: client() });
    let tombstones = |lengths: &[&[u8]]| {
        let mut out = vec![1, lengths.len() as u8, 1, 0];
        for length in lengths {
            out.extend([&[0], *length].concat());
        }
        out.push(0);
        out
    };
    assert_eq!(scan(&tombstones(&[&LARGEST])), Ok(()));
    assert_eq!(scan(&tombstones(&[&LARGEST, &[1]])), overflow);
    assert_eq!(scan(&tombstones(&[&[0x80, 0x80, 0x80, 0x80, 0x08]])), overflow);
    // 2^32 + 1, which a 32-bit number would take for 1.
    assert_eq!(scan(&tombstones(&[&[0x81, 0x80, 0x80, 0x80, 0x10]])), overflow);
    let deletion = |clock: &[u8], length: &[u8]| [&[0, 1, 1, 1], clock, length].concat();
    assert_eq!(scan(&deletion(&LARGEST, &[0])), Ok(()));
    assert_eq!(scan(&deletion(&LARGEST, &[1])), overflow);
    assert_eq!(scan(&deletion(&[1], &LARGEST)), overflow);
    // In what is referred to, and in a state vector.
    let left = [&[1, 1, 1, 0, 0x84, 1][..], &[0x80, 0x80, 0x80, 0x80, 0x08], &[1, b'a', 0]].concat();
    assert_eq!(scan(&left), overflow);
    let vector = [&[1, 1][..], &[0x80, 0x80, 0x80, 0x80, 0x08]].concat();
    assert_eq!(scan::state_vector(&vector).err(), overflow.err());
}

#[test]
fn what_would_harm_editors_is_marked() {
    for (bytes, expected) in [
        // A link to one unit, to a range, to a whole shared type by its item and by its name.
        (item(7, &[7, 0, 1, 0]), Harm::WeakLink),
        (item(7, &[7, 1, 1, 0, 1, 5]), Harm::WeakLink),
        (item(7, &[7, 1 | 8 | 16, 1, 0, 1, 0]), Harm::WeakLink),
        (item(7, &[7, 1 | 8 | 16 | 32, 1, b't', 1, b't']), Harm::WeakLink),
        (item(9, &[1, b'g', 0x7e]), Harm::NoOptions),
        (item(5, &text(b"{")), Harm::Json),
        (item(6, &[text(b"bold"), text(b"tru")].concat()), Harm::Json),
        (item(2, &[vec![1], text(b"undefine")].concat()), Harm::Json),
    ] {
        assert_eq!(harm(&bytes), Some(expected), "{bytes:?}");
    }
}

#[test]
fn values_nested_thousands_deep_would_harm_editors() {
    const MAX: usize = VALUE_NESTING_MAX;
    let any = |depth: usize| item(8, &[&[1][..], &[0x75, 1].repeat(depth - 1), &[0x75, 0]].concat());
    assert_eq!(harm(&any(MAX)), None);
    assert_eq!(harm(&any(MAX + 1)), Some(Harm::ValuesTooDeep));
    assert_eq!(harm(&any(1_000_000)), Some(Harm::ValuesTooDeep));
    let json =
        |depth: usize| item(5, &text(format!("{}{}", "[".repeat(depth), "]".repeat(depth)).as_bytes()));
    let mixed = |depth: usize| {
        item(5, &text(format!("{}1{}", "[{\"a\":".repeat(depth), "}]".repeat(depth)).as_bytes()))
    };
    for depth in [1, 31, 32, 33, 64, 600, MAX / 2] {
        assert_eq!(harm(&mixed(depth)), None, "{depth}");
    }
    assert_eq!(harm(&json(MAX)), None);
    assert_eq!(harm(&json(MAX + 1)), Some(Harm::ValuesTooDeep));
    assert_eq!(harm(&json(1_000_000)), Some(Harm::ValuesTooDeep));
}

#[test]
fn an_update_has_as_many_clients_as_its_bytes_can_hold() {
    let clients = |count: u64, descending: bool| {
        let mut out = Vec::new();
        write_var_uint(&mut out, count);
        for index in 0..count {
            out.push(1);
            write_var_uint(&mut out, if descending { count - index } else { index });
            out.extend([0, 0, 1]);
        }
        out.push(0);
        out
    };
    for descending in [true, false] {
        assert_eq!(scan(&clients(100_000, descending)), Ok(()));
    }
}

#[test]
fn a_large_honest_document_passes() {
    // A million structs in 20 MB, each behind the one before.
    let mut out = vec![1];
    let count = 1_000_000;
    write_var_uint(&mut out, count);
    out.extend([1, 0, 4, 1, 1, b't', 1, b'x']);
    for clock in 0..count - 1 {
        out.extend([0x84, 1]);
        write_var_uint(&mut out, clock * 12);
        write_var_string(&mut out, "twelve bytes");
    }
    out.push(0);
    assert!(out.len() > 17_000_000);
    assert_eq!(scan(&out), Ok(()));
}

#[derive(Default)]
struct Lengths(Vec<(Content, u32)>);

impl<'a> Visit<'a> for Lengths {
    fn item(&mut self, item: &Struct<'a>) {
        self.0.push((item.content, item.length));
    }

    fn deleted(&mut self, _: ClientId, _: ringleaf_types::Clock, _: u32) {}
}

#[test]
fn a_string_is_as_long_as_javascript_says() {
    let mut lengths = Lengths::default();
    for text_content in ["", "a", "é", "\u{ffff}", "😀", "a😀é"] {
        scan::update(&item(4, &text(text_content.as_bytes())), &mut lengths).unwrap();
    }
    assert_eq!(lengths.0.iter().map(|&(_, length)| length).collect::<Vec<_>>(), [0, 1, 1, 1, 2, 4]);
}

#[test]
fn a_state_vector_and_awareness_are_checked_before_anything_is_reserved() {
    let limits = ScanLimits::default();
    let claimed = [0x80, 0x88, 0xde, 0xbe, 0x01];
    assert_eq!(scan::state_vector(&claimed).err(), Some(Malformed::CountTooLarge.into()));
    assert_eq!(scan::awareness(&claimed, &limits).err(), Some(Malformed::CountTooLarge.into()));
    assert_eq!(scan::state_vector(&[0, 0]).err(), Some(Refusal::BytesLeftOver { bytes: 1 }));
    let entry = |state: &str| [&[1, 1, 5][..], &text(state.as_bytes())].concat();
    for state in ["{}", "null", " null ", r#"{"cursor":null}"#, r#"{"lone":"\ud800"}"#] {
        assert!(scan::awareness(&entry(state), &limits).is_ok(), "{state}");
    }
    for state in ["", "5", "[]", "\"{}\"", "{", "{}x", "nul", r#"{"a"}"#, r#"{"a":1,}"#, "{\"a\":\"\n\"}"] {
        let refusal = scan::awareness(&entry(state), &limits).err();
        assert_eq!(refusal, Some(Refusal::NoState { client: client() }), "{state}");
    }
    let large = ScanLimits { awareness_state_bytes_max: 1, ..limits };
    let refusal = Refusal::StateTooLarge { client: client(), bytes: 2, max: 1 };
    assert_eq!(scan::awareness(&entry("{}"), &large).err(), Some(refusal));
    let few = ScanLimits { awareness_clients_max: 0, ..limits };
    assert_eq!(
        scan::awareness(&entry("{}"), &few).err(),
        Some(Refusal::TooManyClients { clients: 1, max: 0 })
    );
}

fn is_json(text_content: &str) -> bool {
    harm(&item(5, &text(text_content.as_bytes()))).is_none()
}

/// Passing over it, serde_json asks for no more than the grammar, as `JSON.parse` does.
fn serde_takes(text_content: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text_content).is_ok()
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,6}".prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            proptest::collection::vec((".{0,3}", inner), 0..5)
                .prop_map(|entries| entries.into_iter().collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4 * ProptestConfig::default().cases, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn json_is_what_another_parser_takes(
        value in json(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), r#"[\[\]{}",:0-9eE.+\-tfn \\ud]"#), 0..3),
        pretty in any::<bool>(),
    ) {
        let mut text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        prop_assert_eq!(is_json(&text), serde_takes(&text), "{}", text);
        for (at, change) in changes {
            let at = text.floor_char_boundary(at.index(text.len() + 1));
            if let Some(old) = text[at..].chars().next() {
                text.replace_range(at..at + old.len_utf8(), &change);
            }
        }
        prop_assert_eq!(is_json(&text), serde_takes(&text), "{}", text);
    }

    #[test]
    fn arbitrary_text_is_json_if_the_parser_says_so(text in r#"[\[\]{}",:0-9eE.+\-truefalsn \\ud]{0,14}"#) {
        prop_assert_eq!(is_json(&text), serde_takes(&text), "{}", text);
    }
}

#[test]
fn whatever_browsers_write_is_json() {
    for (text, expected) in [
        ("9223372036854775807", true),
        ("9223372036854775808", true),
        ("18446744073709551615", true),
        ("18446744073709551616", true),
        ("-9223372036854775809", true),
        ("1e308", true),
        ("1e309", true),
        ("1e-999", true),
        ("01", false),
        ("-", false),
        ("1.", false),
        (r#""\ud83d\ude00""#, true),
        (r#""\ud83d""#, true),
        (r#""\ude00""#, true),
        (r#""\ud83d\u0041""#, true),
    ] {
        assert_eq!(is_json(text), expected, "{text}");
        assert_eq!(serde_takes(text), expected, "{text}");
    }
}

/// Takes the only struct of an update apart at these units, and writes the pieces.
fn pieces(update: &[u8], at: &[u32], form: Form) -> Vec<Vec<u8>> {
    struct Apart<'p>(&'p [u32], Form, Vec<Vec<u8>>);

    impl<'a> Visit<'a> for Apart<'_> {
        fn item(&mut self, item: &Struct<'a>) {
            let mut units = Units::new(item);
            let mut offset = 0;
            for &until in self.0.iter().chain([&item.length]) {
                let span = units.take(until - offset);
                let mut out = Vec::new();
                cut::write_head(&mut out, item, offset, self.1);
                let whole = self.1 == Form::Whole && !item.is_deleted();
                write_var_uint(
                    &mut out,
                    u64::from(if whole { span.prefix(item.content) } else { span.units }),
                );
                if whole {
                    span.write(&mut out);
                }
                self.2.push(out);
                offset = until;
            }
        }

        fn deleted(&mut self, _: ClientId, _: ringleaf_types::Clock, _: u32) {}
    }

    let mut apart = Apart(at, form, Vec::new());
    scan::update(update, &mut apart).unwrap();
    apart.2
}

/// The end of the only struct of an update, from this unit on.
fn end(update: &[u8], from: u32) -> Vec<u8> {
    struct End(u32, Vec<u8>);

    impl<'a> Visit<'a> for End {
        fn item(&mut self, item: &Struct<'a>) {
            let rest = cut::write_end(&mut self.1, item, self.0);
            self.1.extend(&item.bytes[item.bytes.len() - rest..]);
        }

        fn deleted(&mut self, _: ClientId, _: ringleaf_types::Clock, _: u32) {}
    }

    let mut end = End(from, Vec::new());
    scan::update(update, &mut end).unwrap();
    end.1
}

#[test]
fn of_a_struct_whose_beginning_is_known_the_end_is_kept() {
    assert_eq!(end(&item(4, &text("héllo".as_bytes())), 2), [0x84, 1, 1, 3, b'l', b'l', b'o']);
    // Half a character becomes a replacement character, which is one unit long, too.
    let replaced = [&[0x84, 1, 1, 4][..], "\u{fffd}b".as_bytes()].concat();
    assert_eq!(end(&item(4, &text("a😀b".as_bytes())), 2), replaced);
    assert_eq!(
        end(&item(4, &text("😀".as_bytes())), 1),
        [&[0x84, 1, 0, 3][..], "\u{fffd}".as_bytes()].concat()
    );
    // Values, what was deleted, tombstones; with something on the right.
    assert_eq!(
        end(&[1, 1, 1, 0, 0x48, 2, 9, 3, 0x7e, 0x77, 1, b'a', 0x75, 0, 0], 1),
        [0xc8, 1, 0, 2, 9, 2, 0x77, 1, b'a', 0x75, 0]
    );
    assert_eq!(end(&item(2, &[vec![2], text(b"1"), text(b"undefined")].concat()), 1)[..4], [0x82, 1, 0, 1]);
    assert_eq!(end(&item(1, &[5]), 3), [0x81, 1, 2, 2]);
    assert_eq!(end(&[1, 1, 1, 0, 0, 5, 0], 3), [0, 2]);
    // The bit of a key stays, the key does not.
    assert_eq!(end(&[1, 1, 1, 0, 0x28, 1, 1, b't', 1, b'k', 2, 0x7e, 0x7f, 0], 1), [0xa8, 1, 0, 1, 0x7f]);
}

#[test]
fn a_struct_comes_apart_between_its_units() {
    let half = "\u{fffd}".as_bytes();
    let update = item(4, &text("a😀b".as_bytes()));
    let first = [&[4, 1, 1, b't', 4, b'a'][..], half].concat();
    let second = [&[0x84, 1, 1, 3][..], half].concat();
    assert_eq!(pieces(&update, &[2, 3], Form::Whole), [first, second, vec![0x84, 1, 2, 1, b'b']]);
    assert_eq!(pieces(&update, &[2], Form::Deleted), [vec![1, 1, 1, b't', 2], vec![0x81, 1, 1, 2]]);
    assert_eq!(pieces(&update, &[2], Form::Tombstone), [[0, 2], [0, 2]]);
    // Long text, of which most is passed over in large steps.
    let long = format!("{}é😀{}", "x".repeat(1_000), "y".repeat(1_000));
    let update = item(4, &text(long.as_bytes()));
    let cut = pieces(&update, &[999, 1_001, 1_003, 1_500], Form::Whole);
    let ends = ["xé".to_owned(), "😀".to_owned(), "y".repeat(497)];
    for (piece, end) in cut[1..4].iter().zip(&ends) {
        // Kind, client, clock (two bytes), length (one or two bytes).
        let head = if end.len() < 128 { 5 } else { 6 };
        assert_eq!(&piece[head..], end.as_bytes());
    }
}
