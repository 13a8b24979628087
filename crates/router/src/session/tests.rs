//! Scenes from a session's life. That no order of events loses an update is proved with its socket, beside the connection.

use super::*;

fn session(rights: Rights) -> Session {
    Session::new(SessionId::new(1), rights, Subject::anyone())
}

/// One that has been attached at slot 5, and has told its owner everything.
fn attached() -> Session {
    let mut session = session(Rights::ReadWrite);
    bring(&mut session);
    session.attached(Slot::new(5));
    session
}

fn take(session: &mut Session, message: ClientMessage) -> Taken {
    session.take(message, &Limits::default())
}

fn update(byte: u8) -> ClientMessage {
    ClientMessage::Update { update: vec![byte].into() }
}

fn answer(byte: u8) -> ClientMessage {
    ClientMessage::SyncAnswer { update: vec![byte].into() }
}

fn awareness(payload: &'static [u8]) -> ClientMessage {
    ClientMessage::Awareness { payload: Bytes::from_static(payload) }
}

/// Brings everything to the owner; says what that was.
fn bring(session: &mut Session) -> Vec<String> {
    let mut brought = Vec::new();
    while let Some(request) = session.next_request() {
        session.submitted();
        brought.push(match request {
            Request::Attach { resume: None, .. } => "attach".into(),
            Request::Attach { resume: Some(slot), .. } => format!("attach after {slot}"),
            Request::Detach { .. } => "detach".into(),
            Request::Update { number, answer: false, update, .. } => {
                format!("{number}: change {}", update[0])
            }
            Request::Update { number, answer: true, update, .. } => format!("{number}: answer {}", update[0]),
            Request::SyncRequest { .. } => "ask".into(),
            Request::Awareness { payload, .. } => format!("presence of {:?}", payload.get(1)),
            Request::QueryAwareness { .. } => "query".into(),
            Request::CatchUp { from } => format!("catch up from {from}"),
        });
    }
    brought
}

#[test]
fn what_the_editor_says_goes_to_the_owner_in_order() {
    let mut session = session(Rights::ReadWrite);
    take(&mut session, update(1));
    take(&mut session, ClientMessage::SyncRequest { state_vector: Bytes::new() });
    take(&mut session, awareness(&[1, 7, 1, 2, b'{', b'}']));
    take(&mut session, ClientMessage::QueryAwareness);
    take(&mut session, update(2));
    assert_eq!(
        bring(&mut session),
        ["attach", "1: change 1", "2: change 2", "ask", "presence of Some(7)", "query"]
    );
    assert_eq!(session.next_request(), None);
}

#[test]
fn a_reader_may_answer_and_be_seen_but_not_write() {
    let mut session = session(Rights::ReadOnly);
    assert_eq!(take(&mut session, update(1)), Taken::Dropped);
    assert_eq!(take(&mut session, answer(2)), Taken::Kept);
    assert_eq!(take(&mut session, awareness(&[0])), Taken::Kept);
    assert_eq!(bring(&mut session), ["attach", "1: change 2", "presence of None"]);
}

#[test]
fn an_answer_to_a_past_owner_is_a_change_to_the_next() {
    let mut session = attached();
    assert!(session.questioned());
    take(&mut session, answer(1));
    assert_eq!(bring(&mut session), ["1: answer 1"]);
    assert!(session.questioned());
    session.lost();
    take(&mut session, answer(2));
    assert_eq!(bring(&mut session), ["attach after 5", "1: change 1", "2: change 2"]);
    assert!(session.questioned());
    take(&mut session, answer(3));
    assert_eq!(bring(&mut session), ["3: answer 3"]);
    take(&mut session, answer(4));
    assert_eq!(bring(&mut session), ["4: change 4"], "nobody asked");
}

#[test]
fn acknowledgements_are_cumulative_and_what_is_left_goes_to_the_next_owner() {
    let mut session = attached();
    for byte in 1..=4 {
        take(&mut session, update(byte));
    }
    bring(&mut session);
    assert!(session.acknowledged(MessageNumber::new(2)));
    assert!(!session.acknowledged(MessageNumber::new(2)));
    session.lost();
    session.lost();
    assert_eq!(bring(&mut session), ["attach after 5", "3: change 3", "4: change 4"]);
    assert!(session.acknowledged(MessageNumber::new(4)));
    assert_eq!(session.outstanding_bytes, 0);
}

#[test]
fn only_so_much_is_outstanding_and_one_message_is_always_taken() {
    let limits = Limits { outstanding_messages_max: 3, outstanding_bytes_max: 10, ..Limits::default() };
    let mut session = attached();
    assert!(session.may_take(&limits));
    session.take(ClientMessage::Update { update: vec![0; 1_000].into() }, &limits);
    assert!(!session.may_take(&limits), "it is not with the owner");
    bring(&mut session);
    assert!(!session.may_take(&limits), "it is larger than the bound");
    session.acknowledged(MessageNumber::new(1));
    for byte in 0..3 {
        assert!(session.may_take(&limits));
        take(&mut session, update(byte));
        bring(&mut session);
    }
    assert!(!session.may_take(&limits));
    for _ in 0..QUESTIONS_MAX {
        take(&mut session, ClientMessage::SyncRequest { state_vector: Bytes::new() });
    }
    bring(&mut session);
    session.acknowledged(MessageNumber::new(4));
    assert!(!session.may_take(&limits), "too many answers are owed to it");
    assert!(session.answered(Slot::new(5)));
    assert!(session.may_take(&limits));
}

#[test]
fn without_an_owner_the_editors_words_are_kept_within_the_bounds() {
    let limits = Limits { outstanding_messages_max: 2, ..Limits::default() };
    let mut session = attached();
    session.lost();
    for byte in 0..2 {
        assert!(session.may_take(&limits));
        take(&mut session, update(byte));
    }
    assert!(!session.may_take(&limits));
}

#[test]
fn an_editor_that_left_is_detached_after_its_last_words() {
    let mut session = attached();
    take(&mut session, awareness(&[1, 7, 1, 2, b'{', b'}']));
    take(&mut session, update(1));
    session.end();
    assert!(!session.finished());
    assert_eq!(bring(&mut session), ["1: change 1", "detach"]);
    assert!(!session.finished(), "its last word is not durable");
    session.acknowledged(MessageNumber::new(1));
    assert!(session.finished());
}

#[test]
fn the_last_words_of_an_editor_that_left_go_to_the_next_owner_without_its_presence() {
    let mut session = attached();
    take(&mut session, awareness(&[1, 7, 1, 2, b'{', b'}']));
    take(&mut session, update(1));
    session.end();
    bring(&mut session);
    session.lost();
    assert_eq!(bring(&mut session), ["attach after 5", "1: change 1", "detach"]);
    session.lost();
    session.forget_messages();
    assert!(session.finished());
    assert_eq!(bring(&mut session), Vec::<String>::new());
}

#[test]
fn the_next_owner_is_offered_the_editors_own_presence_and_no_relayed_one() {
    let mut session = attached();
    take(&mut session, awareness(&[1, 7, 1, 2, b'{', b'}']));
    bring(&mut session);
    // What other tabs are, as this one passes it on.
    for relayed in [&[1, 8, 1, 2, b'{', b'}'][..], &[2, 7, 1, 2, b'{', b'}', 8, 1, 2, b'{', b'}'], &[0]] {
        take(&mut session, awareness(relayed));
        bring(&mut session);
    }
    session.lost();
    assert_eq!(bring(&mut session), ["attach after 5", "presence of Some(7)"]);
}

#[test]
fn slots_are_taken_in_order_and_a_gap_is_noticed() {
    let mut session = attached();
    let slot = Slot::new;
    assert!(!session.published(slot(4), slot(5)), "it has that");
    assert!(session.published(slot(5), slot(6)));
    assert!(session.published(slot(4), slot(7)), "over-delivery is harmless");
    assert!(!session.published(slot(8), slot(9)), "8 is missing");
    assert_eq!(session.lacks_after(), Some(slot(7)));
    session.asked_to_catch_up();
    assert!(!session.published(slot(9), slot(10)));
    assert!(!session.caught_up(slot(8), slot(10)), "an answer to somebody who lacks less");
    assert!(session.caught_up(slot(6), slot(10)));
    assert!(!session.behind());
    assert!(session.published(slot(10), slot(11)));
}

#[test]
fn an_answer_that_is_older_than_the_newest_slot_leaves_a_session_behind() {
    let mut session = attached();
    let slot = Slot::new;
    session.missed();
    session.asked_to_catch_up();
    assert!(!session.published(slot(8), slot(9)));
    assert!(session.caught_up(slot(5), slot(8)));
    assert_eq!(session.lacks_after(), Some(slot(8)));
}

/// What the editor sent is not in an answer to its own state vector, and it waits for that to come back.
#[test]
fn an_answer_to_the_editor_stands_for_nothing_that_is_published() {
    let mut session = attached();
    take(&mut session, update(1));
    take(&mut session, ClientMessage::SyncRequest { state_vector: Bytes::new() });
    bring(&mut session);
    // The owner may say so in any order.
    session.acknowledged(MessageNumber::new(1));
    assert!(session.answered(Slot::new(5)));
    assert!(!session.answered(Slot::new(5)), "it asked once");
    assert!(session.published(Slot::new(5), Slot::new(6)), "its own edit comes back");
    session.missed();
    take(&mut session, ClientMessage::SyncRequest { state_vector: Bytes::new() });
    bring(&mut session);
    assert!(session.answered(Slot::new(5)));
    assert!(session.behind(), "what was dropped is still owed to it");
}

#[test]
fn an_answer_of_an_owner_that_knows_less_leaves_a_hole_that_is_filled() {
    let mut session = session(Rights::ReadWrite);
    take(&mut session, ClientMessage::SyncRequest { state_vector: Bytes::new() });
    bring(&mut session);
    session.attached(Slot::new(8));
    assert!(session.published(Slot::new(8), Slot::new(9)));
    // Its owner goes, and the next one is an earlier owner that does not know that it is one no more.
    session.lost();
    bring(&mut session);
    session.attached(Slot::new(5));
    assert!(session.answered(Slot::new(5)));
    session.delivered(Slot::new(9));
    assert_eq!(session.lacks_after(), Some(Slot::ZERO), "its slots may hold something else");
    session.asked_to_catch_up();
    assert!(session.caught_up(Slot::ZERO, Slot::new(5)));
    assert!(!session.behind(), "for all that this owner knows");
    session.lost();
    bring(&mut session);
    session.attached(Slot::new(9));
    assert!(!session.published(Slot::new(9), Slot::new(10)), "not before what is lacking");
    session.asked_to_catch_up();
    assert!(session.caught_up(Slot::new(5), Slot::new(7)), "some of it");
    assert_eq!(session.lacks_after(), Some(Slot::new(7)));
    session.asked_to_catch_up();
    assert!(!session.caught_up(Slot::new(9), Slot::new(10)), "not what somebody else lacks");
    assert!(session.caught_up(Slot::new(7), Slot::new(10)));
    assert!(!session.behind());
    assert!(session.published(Slot::new(10), Slot::new(11)));
}
