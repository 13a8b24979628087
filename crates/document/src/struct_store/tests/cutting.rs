//! Taking structs apart: in a difference, behind what is there already, and where something was deleted.

use super::units::units;
use super::write::{Encoded, after, deletes, of, root, seen, tombstone};
use super::*;

/// A struct of client 1 and how many units it has.
fn kinds() -> Vec<(&'static str, Encoded, u32)> {
    let text = "x".repeat(70) + "é∑😀" + &"y".repeat(130) + "😀";
    let length = text.encode_utf16().count() as u32;
    let values: [&[u8]; 4] = [&[0x7d, 1], &[0x77, 2, 0xc3, 0xa9], &[0x75, 2, 0x7e, 0x79], &[0x7f]];
    vec![
        ("short text", root().text("aé∑😀b"), 6),
        ("long text", root().text(&text), length),
        ("values", root().any(&values), 4),
        ("old values", root().json(&["1", "undefined", "[\"é\"]"]), 3),
        ("deleted", root().deleted(300), 300),
        ("tombstone", tombstone(300), 300),
    ]
}

/// Like Yjs: what a difference begins with has the unit before it as its left origin.
#[test]
fn a_difference_begins_anywhere_within_a_struct() {
    for (kind, encoded_struct, length) in kinds() {
        let whole = of(1, 0, [encoded_struct]);
        let all = units(&whole);
        let store = store(std::slice::from_ref(&whole));
        for from in 0..length {
            let difference = units(&store.diff(&seen(&[(1, from)])).unwrap().concat());
            let expected: Vec<_> = all.units.range((1, from)..).collect();
            assert_eq!(difference.units.iter().collect::<Vec<_>>(), expected, "{kind} from {from}");
        }
    }
}

#[test]
fn of_what_is_there_already_only_the_end_is_taken() {
    for (kind, encoded_struct, length) in kinds() {
        let whole = of(1, 0, [encoded_struct]);
        let all = store(std::slice::from_ref(&whole));
        for there in 1..length {
            // A beginning, of the same kind: everything but the difference.
            let mut short = StructStore::new();
            let rest = all.diff(&seen(&[(1, there)])).unwrap().concat();
            assert!(short.admit(&rest).unwrap().remainder.is_some(), "it lacks its beginning");
            short.admit(&of(1, 0, [beginning(kind, there)])).unwrap();
            let admission = short.admit(&whole).unwrap();
            assert_eq!(units(&admission.news.unwrap()).units, units(&rest).units, "{kind} at {there}");
            assert!(units(&encoded(&short)).says_the_same_as(&units(&whole)), "{kind} at {there}");
        }
    }
}

/// The first units of one of [`kinds`], made without cutting.
fn beginning(kind: &str, length: u32) -> Encoded {
    let length = length as usize;
    let text = |text: &str| {
        let units: Vec<u16> = text.encode_utf16().take(length).collect();
        root().text(&String::from_utf16_lossy(&units))
    };
    match kind {
        "short text" => text("aé∑😀b"),
        "long text" => text(&("x".repeat(70) + "é∑😀" + &"y".repeat(130) + "😀")),
        "values" => root().any(&[&[0x7d, 1][..], &[0x77, 2, 0xc3, 0xa9], &[0x75, 2, 0x7e, 0x79]][..length]),
        "old values" => root().json(&["1", "undefined"][..length]),
        "deleted" => root().deleted(length as u32),
        "tombstone" => tombstone(length as u32),
        other => panic!("no such kind: {other}"),
    }
}

#[test]
fn what_is_deleted_within_a_struct_is_cut_out() {
    for (kind, encoded_struct, length) in kinds() {
        let whole = of(1, 0, [encoded_struct]);
        for at in 0..length {
            let mut store = store(&[whole.clone(), deletes(1, &[(at, 1)])]);
            let expected = units(&encoded(&store)).compacted();
            store.compact(Gc::Collect);
            assert!(units(&encoded(&store)).says_the_same_as(&expected), "{kind} at {at}");
        }
    }
}

/// As `ContentString.splice` in Yjs: each half that is kept becomes U+FFFD, which is one unit long, too.
#[test]
fn half_of_a_character_becomes_a_replacement_character() {
    let whole = of(1, 0, [root().text("a😀b")]);
    let there = store(std::slice::from_ref(&whole));
    let from = |clock| there.diff(&seen(&[(1, clock)])).unwrap().concat();
    assert_eq!(from(1), of(1, 1, [after(1, 0).text("😀b")]));
    assert_eq!(from(2), of(1, 2, [after(1, 1).text("\u{fffd}b")]));
    assert_eq!(from(3), of(1, 3, [after(1, 2).text("b")]));
    let without = |start, length| compacted(&store(&[whole.clone(), deletes(1, &[(start, length)])]));
    let deleted = |structs: [Encoded; 3], start, length| {
        write::update().of(1, 0, structs).deletes(1, &[(start, length)]).bytes()
    };
    let (a, b) = (root().text("a"), after(1, 2).text("b"));
    let expected = [a.clone(), after(1, 0).deleted(1), after(1, 1).text("\u{fffd}b")];
    assert_eq!(without(1, 1), deleted(expected, 1, 1));
    let expected = [root().text("a\u{fffd}"), after(1, 1).deleted(1), b.clone()];
    assert_eq!(without(2, 1), deleted(expected, 2, 1));
    assert_eq!(without(1, 2), deleted([a, after(1, 0).deleted(2), b], 1, 2));
    // Whoever was cut there before has the first half; the second is taken from who has both.
    let mut half = store(&[of(1, 0, [root().text("a\u{fffd}")])]);
    half.admit(&whole).unwrap();
    assert_eq!(encoded(&half), of(1, 0, [root().text("a\u{fffd}\u{fffd}b")]));
}

/// A piece keeps the right origin of its struct; its place and its key it has from its left neighbor.
#[test]
fn a_piece_keeps_its_right_origin_and_leaves_out_its_parent() {
    let ground = of(9, 0, [root().text("0")]);
    let with_right = store(&[ground.clone(), of(1, 0, [after(9, 0).before(9, 0).text("abc")])]);
    let piece = with_right.diff(&seen(&[(9, 1), (1, 1)])).unwrap().concat();
    assert_eq!(piece, of(1, 1, [after(1, 0).before(9, 0).text("bc")]));
    let keyed = store(&[of(1, 0, [root().key("k").any(&[&[0x7d, 1], &[0x7d, 2]])])]);
    let piece = keyed.diff(&seen(&[(1, 1)])).unwrap().concat();
    assert_eq!(piece, of(1, 1, [after(1, 0).key("k").any(&[&[0x7d, 2]])]));
}
