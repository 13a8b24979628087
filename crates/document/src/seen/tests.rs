//! The judge against updates made by hand. Random ones are in the crate's `tests`.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Client 1 inserts "hello" into the text "t".
const HELLO: &[u8] = &[1, 1, 1, 0, 4, 1, 1, b't', 5, b'h', b'e', b'l', b'l', b'o', 0];
/// It goes on with "!".
const MORE: &[u8] = &[1, 1, 1, 5, 0x84, 1, 4, 1, b'!', 0];
/// Client 2 inserts "?" behind that.
const OTHER: &[u8] = &[1, 1, 2, 0, 0x84, 1, 5, 1, b'?', 0];
/// "ell" is deleted.
const DELETED: &[u8] = &[0, 1, 1, 1, 1, 3];

fn seen(updates: &[&[u8]]) -> Seen {
    let mut seen = Seen::new();
    for update in updates {
        let mut slowly = seen.clone();
        seen.take_in(update).unwrap();
        slowly.take_in_slowly(update).unwrap();
        assert_eq!(seen, slowly, "{update:?}");
    }
    seen
}

fn partial(complete: &[&[u8]], left: u64) -> Result<Verdict, Refusal> {
    let complete = complete.iter().map(|bytes| bytes.to_vec().into()).collect();
    Ok(Verdict::Partial { complete, left })
}

#[test]
fn what_follows_on_is_complete_and_what_was_seen_is_nothing_new() {
    assert_eq!(seen(&[]).judge(HELLO), Ok(Verdict::Complete));
    assert_eq!(seen(&[HELLO]).judge(HELLO), Ok(Verdict::NothingNew));
    assert_eq!(seen(&[HELLO]).judge(MORE), Ok(Verdict::Complete));
    assert_eq!(seen(&[HELLO, MORE]).judge(OTHER), Ok(Verdict::Complete));
    assert_eq!(seen(&[HELLO]).judge(DELETED), Ok(Verdict::Complete));
    assert_eq!(seen(&[HELLO, DELETED]).judge(DELETED), Ok(Verdict::NothingNew));
    assert_eq!(seen(&[]).judge(&[0, 0]), Ok(Verdict::NothingNew));
}

#[test]
fn what_has_a_hole_before_it_stays_behind() {
    assert_eq!(seen(&[]).judge(MORE), partial(&[], 1));
    assert_eq!(seen(&[HELLO]).judge(OTHER), partial(&[], 1));
    assert_eq!(seen(&[]).judge(DELETED), partial(&[], 1));
}

#[test]
fn a_client_with_a_hole_in_its_store_saves_everything_else() {
    // Clocks 0-4, a Skip of one, clock 6; and a deletion of clocks 3-6.
    let update = &[
        1, 3, 1, 0, 4, 1, 1, b't', 5, b'h', b'e', b'l', b'l', b'o', 10, 1, 0x84, 1, 4, 1, b'x', 1, 1, 1, 3, 4,
    ];
    let kept = &[1, 1, 1, 0, 4, 1, 1, b't', 5, b'h', b'e', b'l', b'l', b'o', 1, 1, 1, 3, 2];
    assert_eq!(seen(&[]).judge(update), partial(&[kept], 2));
    assert_eq!(seen(&[kept]).judge(update), partial(&[], 2));
    // When the hole is filled by somebody else, the rest follows, without the Skip.
    let rest = &[1, 1, 1, 6, 0x84, 1, 4, 1, b'x', 1, 1, 1, 5, 2];
    assert_eq!(
        seen(&[kept, MORE]).judge(update),
        partial(&[&[1, 1, 1, 6, 0x84, 1, 4, 1, b'x', 1, 1, 1, 3, 4]], 0)
    );
    assert_eq!(seen(&[kept, MORE, rest]).judge(update), partial(&[], 0).map(|_| Verdict::NothingNew));
}

#[test]
fn references_forward_are_followed_and_circles_are_not() {
    // Client 2 stands first and refers to client 1, which follows.
    let forward = &[2, 1, 2, 0, 0x84, 1, 0, 1, b'b', 1, 1, 0, 4, 1, 1, b't', 1, b'a', 0];
    assert_eq!(seen(&[]).judge(forward), Ok(Verdict::Complete));
    // Each refers to the other.
    let circle = &[2, 1, 2, 0, 0x84, 1, 0, 1, b'b', 1, 1, 0, 0x84, 2, 0, 1, b'a', 0];
    assert_eq!(seen(&[]).judge(circle), partial(&[], 2));
    // A struct refers to itself, or to what its own client inserts later.
    assert_eq!(seen(&[]).judge(&[1, 1, 1, 0, 0x84, 1, 0, 1, b'a', 0]), partial(&[], 1));
    let ahead = &[1, 2, 1, 0, 0x84, 1, 1, 1, b'a', 4, 1, 1, b't', 1, b'b', 0];
    assert_eq!(seen(&[]).judge(ahead), partial(&[], 2));
}

#[test]
fn what_was_seen_is_cut_off_what_is_new() {
    // "hello" again, and it says something else: nobody may ever merge this with the first.
    let repeated = [1, 2, 1, 0, 0x84, 9, 9, 5, b'H', b'E', b'L', b'L', b'O', 0x84, 1, 4, 1, b'!', 0];
    assert_eq!(seen(&[HELLO]).judge(&repeated), partial(&[MORE], 0));
    // The beginning of a struct was seen.
    let longer = [1, 1, 1, 0, 4, 1, 1, b'u', 6, b'H', b'E', b'L', b'L', b'O', b'!', 0];
    assert_eq!(seen(&[HELLO]).judge(&longer), partial(&[MORE], 0));
}

#[test]
fn an_item_of_length_zero_is_left_out() {
    let update = &[1, 2, 1, 0, 4, 1, 1, b't', 0, 4, 1, 1, b't', 1, b'a', 0];
    assert_eq!(seen(&[]).judge(update), partial(&[&[1, 1, 1, 0, 4, 1, 1, b't', 1, b'a', 0]], 0));
}

#[test]
fn a_state_vector_and_a_delete_set_say_what_was_seen() {
    let seen = seen(&[HELLO, MORE, OTHER, DELETED]);
    assert_eq!(seen.state_vector(), [2, 2, 1, 1, 6]);
    assert_eq!(seen.delete_set(), [1, 1, 1, 1, 3]);
    assert_eq!(seen.lacks_nothing(&[2, 1, 6, 2, 1]), Ok(true));
    assert_eq!(seen.lacks_nothing(&[2, 1, 9, 2, 1]), Ok(true));
    assert_eq!(seen.lacks_nothing(&[2, 1, 5, 2, 1]), Ok(false));
    assert_eq!(seen.lacks_nothing(&[1, 1, 6]), Ok(false));
    assert!(seen.lacks_nothing(&[1, 1]).is_err());
    assert_eq!(Seen::new().lacks_nothing(&[0]), Ok(true));
}

#[test]
fn tombstones_count_as_deleted() {
    // A GC of 3, then deleted content of 2, under a root.
    let update = &[1, 2, 1, 0, 0, 3, 1, 1, 1, b't', 2, 0];
    assert_eq!(seen(&[update]).delete_set(), [1, 1, 1, 0, 5]);
}

/// An array within the one before it: client 1 inserts one at each clock.
fn nested(from: u32, to: u32) -> Vec<u8> {
    let mut out = vec![1];
    for number in [to - from, 1, from] {
        write_var_uint(&mut out, u64::from(number));
    }
    for clock in from..to {
        match clock {
            0 => out.extend([7, 1, 1, b't', 0]),
            _ => {
                out.extend([7, 0, 1]);
                write_var_uint(&mut out, u64::from(clock - 1));
                out.push(0);
            }
        }
    }
    out.push(0);
    out
}

#[test]
fn shared_types_are_nested_512_deep_in_one_update_or_in_many() {
    let too_deep = Err(Refusal::TypesTooDeep { max: 512 });
    assert_eq!(seen(&[]).judge(&nested(0, 513)), Ok(Verdict::Complete));
    assert_eq!(seen(&[]).judge(&nested(0, 514)), too_deep);
    let mut stepwise = Seen::new();
    for clock in 0..513 {
        assert_eq!(stepwise.judge(&nested(clock, clock + 1)), Ok(Verdict::Complete));
        stepwise.take_in(&nested(clock, clock + 1)).unwrap();
    }
    assert_eq!(stepwise.judge(&nested(513, 514)), too_deep);
    // A stored state that is deeper still loads.
    assert_eq!(seen(&[&nested(0, 514)]).holds(&nested(0, 514)), Ok(true));
    // Neither a neighbor nor another client hides the depth: client 2 inserts beside the deepest, and into that.
    let mut beside = vec![1, 2, 2, 0, 0x87, 1];
    write_var_uint(&mut beside, 512);
    beside.extend([0, 7, 0, 2, 0, 0, 0]);
    assert_eq!(stepwise.judge(&beside), too_deep);
    // Beside the root everything is as before.
    assert_eq!(stepwise.judge(&[1, 1, 2, 0, 0x87, 1, 0, 0, 0]), Ok(Verdict::Complete));
}

#[test]
fn six_hundred_paragraphs_in_one_update_are_not_deep() {
    // Each an element within the root, with a text within it.
    let mut update = vec![1];
    for number in [1_200, 1, 0] {
        write_var_uint(&mut update, number);
    }
    for paragraph in 0..600_u64 {
        match paragraph {
            0 => update.extend([7, 1, 1, b'x', 3, 1, b'p']),
            _ => {
                update.extend([0x87, 1]);
                write_var_uint(&mut update, paragraph * 2 - 2);
                update.extend([3, 1, b'p']);
            }
        }
        update.extend([7, 0, 1]);
        write_var_uint(&mut update, paragraph * 2);
        update.push(6);
    }
    update.push(0);
    assert_eq!(seen(&[]).judge(&update), Ok(Verdict::Complete));
}

#[test]
fn deletions_that_were_seen_are_cut_off_what_is_new() {
    let text = [&[1, 1, 1, 0, 4, 1, 1, b't', 40][..], &[b'x'; 40], &[0]].concat();
    let deletions: Vec<u8> = (0..20).flat_map(|range| [range * 2, 1]).collect();
    let all = [&[0, 1, 1, 20], &deletions[..]].concat();
    let seen = seen(&[&text, &all]);
    let new = [1, 1, 1, 40, 0x84, 1, 39, 1, b'y'];
    let repeating = [&new[..], &[1, 1, 20], &deletions].concat();
    assert_eq!(seen.judge(&repeating), partial(&[&[&new[..], &[0]].concat()], 0));
}

#[test]
fn a_state_of_very_many_clients_is_loaded_in_pieces() {
    let mut state = Vec::new();
    write_var_uint(&mut state, 10_000);
    for client in (1..=10_000).rev() {
        for number in [1, client, 0] {
            write_var_uint(&mut state, number);
        }
        state.extend([4, 1, 1, b't', 1, b'x']);
    }
    state.extend([1, 1, 1, 0, 1]);
    let pieces = pieces(&state.clone().into()).unwrap();
    assert_eq!(pieces.len(), 3);
    let in_pieces: Vec<&[u8]> = pieces.iter().map(|piece| &piece[..]).collect();
    assert_eq!(seen(&in_pieces), seen(&[&state]));
}

proptest! {
    #[test]
    fn ranges_are_a_set(
        batches in proptest::collection::vec(proptest::collection::vec((0..200_u32, 0..9_u32), 0..30), 0..6),
        asked in proptest::collection::vec((0..210_u32, 0..9_u32), 20),
    ) {
        let mut ranges = Ranges::default();
        let mut model = BTreeSet::new();
        for mut batch in batches {
            batch.sort_unstable();
            let sorted: Vec<_> = batch.iter().map(|&(start, length)| (start, start + length)).collect();
            ranges.merge(&sorted);
            model.extend(sorted.iter().flat_map(|&(start, end)| start..end));
        }
        let all: Vec<_> = ranges.as_slice().iter().flat_map(|&(start, end)| start..end).collect();
        prop_assert!(all.iter().copied().eq(model.iter().copied()));
        prop_assert!(ranges.as_slice().windows(2).all(|two| two[0].1 < two[1].0), "{:?}", ranges);
        let mut near = 0;
        for (start, length) in asked {
            let expected = (start..start + length).all(|clock| model.contains(&clock));
            prop_assert_eq!(ranges.contains(&(start..start + length), &mut near), expected);
        }
    }
}
