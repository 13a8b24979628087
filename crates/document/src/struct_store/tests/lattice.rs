//! Admitting is commutative, associative and idempotent, whatever the structs are.

use proptest::prelude::*;
use proptest::sample::Index;

use super::generate::{CLIENTS, Choice, Cutout, choices, cutouts, make, messages, whole};
use super::units::units;
use super::write::{root, seen};
use super::*;

/// In another order; some come twice, some as one with the next.
fn shuffled(messages: &[Bytes], order: &[Index]) -> Vec<Bytes> {
    let mut shuffled = messages.to_vec();
    for (number, index) in order.iter().enumerate().take(messages.len()) {
        shuffled.swap(number, index.index(messages.len()));
    }
    let again: Vec<_> = shuffled.iter().step_by(5).cloned().collect();
    shuffled.extend(again);
    shuffled
}

/// Structs that refer to anything, there or not, forward, to themselves and in circles; some would harm editors.
fn wild(choices: &[Choice], cutouts: &[Cutout], numbers: &[u8]) -> Vec<Bytes> {
    let mut made = make(choices);
    for (of, number) in made.iter_mut().zip(numbers.iter().cycle()) {
        // The clocks and the clients of its references are bytes of the head.
        let head = of.encoded.len().min(6);
        if *number < 100 && of.encoded[0] & 0xc0 != 0 && head > 2 {
            of.encoded[1] = number % (CLIENTS as u8 + 1);
            of.encoded[2] = number % 32;
        } else if *number > 240 && of.clocks.len() == 1 {
            of.encoded = root().weak_link();
        }
    }
    messages(&made, cutouts)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A generated message is one that a client can have sent, however it is cut, and in whatever order it comes.
    #[test]
    fn whatever_the_order_everything_is_the_same_in_the_end(
        choices in choices(50),
        cutouts in cutouts(20),
        order in proptest::collection::vec(any::<Index>(), 100),
        rest_at in proptest::collection::vec(0..4_u8, 100),
    ) {
        let made = make(&choices);
        let messages = messages(&made, &cutouts);
        let mut one = StructStore::new();
        prop_assert_eq!(admit_all(&mut one, &messages).len(), 0);
        let all = units(&encoded(&one));
        all.assert_complete();
        prop_assert!(one.holds(&whole(&made)).unwrap());

        let mut other = StructStore::new();
        let mut waiting = Vec::new();
        for (message, rest) in shuffled(&messages, &order).iter().zip(rest_at.iter().cycle()) {
            waiting.extend(admit_all(&mut other, [message]));
            match rest {
                0 => other.compact(Gc::Collect),
                1 => other.fold(),
                2 => other = StructStore::load(encoded(&other)).unwrap(),
                _ => {}
            }
            units(&encoded(&other)).assert_complete();
        }
        prop_assert_eq!(admit_all(&mut other, &waiting).len(), 0, "nothing waits for ever");
        prop_assert_eq!(other.state_vector(), one.state_vector());
        prop_assert_eq!(compacted(&other), compacted(&one));
        let before = encoded(&one);
        for message in &messages {
            prop_assert_eq!(one.admit(message).unwrap(), Admission::default(), "nothing is taken twice");
        }
        prop_assert_eq!(encoded(&one), before);
    }

    /// What two stores hold is one, whichever takes in the other, and whole or as a difference.
    #[test]
    fn two_stores_become_one(
        choices in choices(50),
        cutouts in cutouts(12),
        of_one in proptest::collection::vec(any::<bool>(), 100),
    ) {
        let made = make(&choices);
        let messages = messages(&made, &cutouts);
        let (mut one, mut other) = (StructStore::new(), StructStore::new());
        let mut left = Vec::new();
        for (message, of_one) in messages.iter().zip(of_one.iter().cycle()) {
            left.extend(admit_all(if *of_one { &mut one } else { &mut other }, [message]));
        }
        let (mut forth, mut back) = (one.clone(), other.clone());
        prop_assert_eq!(forth.admit(&encoded(&other)).unwrap().remainder, None, "a store is complete");
        let lacking = one.diff(&other.state_vector()).unwrap().concat();
        prop_assert_eq!(back.admit(&lacking).unwrap().remainder, None);
        prop_assert_eq!(compacted(&forth), compacted(&back));
        admit_all(&mut forth, &left);
        admit_all(&mut back, left.iter().rev());
        prop_assert_eq!(compacted(&forth), compacted(&back));
    }

    /// What is handed on makes of others what this has, and each piece is either taken or left.
    #[test]
    fn what_is_handed_on_is_what_was_taken(choices in choices(50), cutouts in cutouts(20), numbers in any::<[u8; 16]>(), tame in any::<bool>()) {
        let messages = if tame { messages(&make(&choices), &cutouts) } else { wild(&choices, &cutouts, &numbers) };
        let (mut store, mut follower) = (StructStore::new(), StructStore::new());
        for message in &messages {
            let before = units(&encoded(&store));
            let admission = store.admit(message).unwrap();
            let after = units(&encoded(&store));
            after.assert_complete();
            if let Some(news) = &admission.news {
                let followed = follower.admit(news).unwrap();
                prop_assert_eq!((followed.remainder, followed.barred), (None, None), "what was taken is complete");
                let news = units(news);
                prop_assert!(news.units.keys().all(|at| after.units.contains_key(at)));
                prop_assert!(after.units.keys().all(|at| before.units.contains_key(at) || news.units.contains_key(at)));
            } else {
                prop_assert!(after.says_the_same_as(&before));
            }
            let (told, left) = (units(message), admission.remainder);
            let left = left.map(|rest| units(&rest.update)).unwrap_or_default();
            let lost = admission.barred.is_some();
            for at in told.units.keys() {
                let (taken, left) = (after.units.contains_key(at), left.units.contains_key(at));
                prop_assert!(taken != left || (lost && !taken), "{:?}", at);
            }
            for at in &told.deleted {
                let (taken, left) =
                    (after.deleted.contains(at), left.deleted.contains(at) || left.units.contains_key(at));
                prop_assert!(taken != left || (lost && !taken), "{:?}", at);
            }
        }
        prop_assert!(units(&encoded(&follower)).says_the_same_as(&units(&encoded(&store))));
    }

    /// Updates that were admitted one after the other are one update for whoever has what was there before.
    #[test]
    fn merged_updates_are_all_of_them(choices in choices(50), cutouts in cutouts(20), from in any::<Index>()) {
        let made = make(&choices);
        let mut store = StructStore::new();
        let mut news = Vec::new();
        for message in messages(&made, &cutouts).iter().rev() {
            news.extend(store.admit(message).unwrap().news);
        }
        let from = from.index(news.len());
        let mut before = StructStore::new();
        news[..from].iter().for_each(|update| drop(before.admit(update).unwrap()));
        let merged = crate::merge(news[from..].iter()).unwrap();
        prop_assert_eq!(before.admit(&merged).unwrap().remainder, None);
        prop_assert_eq!(compacted(&before), compacted(&store));
    }

    #[test]
    fn state_vectors_say_what_there_is(choices in choices(50)) {
        let made = make(&choices);
        let store = store(&[whole(&made)]);
        let ends: Vec<_> = (1..=CLIENTS).rev().filter_map(|client| {
            made.iter().rfind(|made| made.client == client).map(|made| (client, made.clocks.end))
        }).collect();
        prop_assert_eq!(store.state_vector(), seen(&ends));
        prop_assert!(store.lacks_nothing(&seen(&ends)).unwrap());
    }
}
