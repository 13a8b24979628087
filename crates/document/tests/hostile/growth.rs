//! Each input, at two sizes.

use crate::inputs::{self, At};
use crate::measure::{Input, judge};
use crate::size;

#[test]
fn deletions_cost_in_proportion_to_their_bytes() {
    let _alone = crate::alone();
    judge("single deletions in a 16 MiB text", 12_000, |count| {
        Input::after([inputs::text(9, 16 << 20)], [inputs::deletions(9, count, 1_000)])
    });
    judge("single deletions, a message each", 12_000, |count| {
        let each = (0..count as u64).map(|at| inputs::update(|update| update.delete(9, [(at * 1_000, 1)])));
        Input::after([inputs::text(9, 16 << 20)], each)
    });
    judge("deleted ranges", size(300_000, 12_000_000), |count| {
        Input::after([inputs::text(9, count * 2)], [inputs::deletions(9, count, 2)])
    });
    judge("deletions one by one, 40 a message, among many", size(100_000, 1_000_000), |count| {
        let few = (0..100_u64).map(|number| {
            let at = number * 80;
            inputs::update(|update| update.delete(9, (0..40).map(|each| (at + each * 2, 1))))
        });
        Input::after(
            [
                inputs::text(9, count * 2),
                inputs::update(|update| {
                    update.delete(9, (5_000..count as u64).map(|at| (at * 2, 1)));
                }),
            ],
            few,
        )
    });
    judge("deletions that name everything again and again", 20_000, |count| {
        let all = inputs::update(|update| update.delete(9, (0..count as u64).map(|_| (0, 1 << 20))));
        Input::after([inputs::text(9, 1 << 20)], [all])
    });
    judge("tombstones of a great length, a message each", 2_000, |count| {
        let each = (0..count as u64).map(|number| {
            inputs::update(|update| {
                update.client(100 + number, 0);
                update.tombstone(1 << 29);
            })
        });
        Input::after([inputs::text(9, 1 << 20)], each)
    });
    judge("a letter and the deletion of half a billion", 2_000, |count| {
        let first = inputs::update(|update| {
            update.client(8, 0);
            update.tombstone(1 << 29);
        });
        let each = (0..count as u64).map(|number| {
            inputs::update(|update| {
                update.client(8, (1 << 29) + number);
                update.item(At::Root, inputs::LETTER);
                update.delete(8, [(0, (1 << 29) + number + 1)]);
            })
        });
        Input::after([inputs::text(9, 1 << 20), first], each)
    });
}

#[test]
fn clients_cost_in_proportion_to_their_bytes() {
    let _alone = crate::alone();
    for clients in [1_500, 20_000, 30_000] {
        judge("clients at one place, and more after them", clients, |count| {
            let more = (0..20).map(|round| inputs::crowd(1_000_000 + round * 1_000, 500, At::After(9, 5), 1));
            let first = inputs::crowd(100_000, count, At::After(9, 5), 1);
            Input::after([inputs::text(9, 10)], std::iter::once(first).chain(more))
        });
    }
    judge("clients × 40 insertions at one place", 1_500, |count| {
        Input::after([inputs::text(9, 10)], [inputs::crowd(100_000, count, At::After(9, 5), 40)])
    });
    judge("clients on one key", 1_500, |count| Input::one(inputs::crowd(100_000, count, At::Key("k"), 10)));
    judge("clients in one message", size(50_000, 500_000), |count| {
        Input::one(inputs::crowd(1 << 31, count, At::Root, 1))
    });
    judge("clients with a message each", size(50_000, 500_000), |count| {
        let each = (0..count as u64).map(|client| inputs::letter((1 << 31) + client * 7_919 % (1 << 30), 0));
        Input::after([], each)
    });
    judge("structs of clients of whom nothing is there", size(50_000, 500_000), |count| {
        Input::one(inputs::crowd(1 << 31, count, At::After(7, 7), 1))
    });
}

#[test]
fn an_order_that_is_hard_to_find_costs_in_proportion_to_its_bytes() {
    let _alone = crate::alone();
    judge("a chain of clients, upwards", 40_000, |count| Input::one(inputs::chain(3_000_000, count, true)));
    judge("a chain of clients, downwards", 40_000, |count| {
        Input::one(inputs::chain(3_000_000, count, false))
    });
    judge("two clients that wait for each other", size(100_000, 400_000), |count| {
        Input::one(inputs::ping_pong(2, 1, count as u64))
    });
}

#[test]
fn structs_cost_in_proportion_to_their_bytes() {
    let _alone = crate::alone();
    judge("letters typed backwards", size(200_000, 1_000_000), |count| {
        Input::one(inputs::backwards(9, count as u64))
    });
    judge("the smallest structs", size(400_000, 10_000_000), |count| {
        Input::one(inputs::smallest(1, count as u64))
    });
    judge("insertions from the end to the beginning of a 2 MiB text", 10_000, |count| {
        let text = 2 << 20;
        Input::after([inputs::text(9, text)], inputs::from_the_end(9, text as u64, 8, count as u64))
    });
    judge("parents that are no types, in a long text", 20_000, |count| {
        let [text, children] = inputs::parents_that_are_none(9, 1 << 20, count);
        Input::after([text], [children])
    });
}
