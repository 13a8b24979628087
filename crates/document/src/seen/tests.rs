//! The judge against hand-made updates. `properties.rs` has the random ones.

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
        seen.take_in(update).unwrap();
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
