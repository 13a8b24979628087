//! A deletion is a record like any other.

use crate::script::plays;

/// R10, and slot numbers go on.
#[test]
fn a_deleted_document_is_closed_to_everybody_until_it_is_undeleted() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > type 1 a
        append 1 in epoch 1: 1 updates
        > durable
        all: publish 1 after 0: 1 → "a"
        router 1: acknowledge 1 through 1
        > delete
        append 2 in epoch 1: deletion
        > type 1 b
        > sync 1 empty
        > durable
        all: closed: document deleted
        > attach 2
        router 1: closed: document deleted
        > import 4 x
        not imported 4: the document is deleted
        > undelete
        append 3 in epoch 1: undeletion
        > durable
        > attach 2
        router 1: attached 2 at 3
        router 1: ask 2
        > sync 2 empty
        router 1: answer to [2] through 3: "a"
        > reopen
        > attach 2
        router 1: attached 2 at 3
        router 1: ask 2
        > type 2 b
        append 4 in epoch 2: 1 updates
        > durable
        all: publish 4 after 3: 1 → "ab"
        router 1: acknowledge 2 through 1
        "#,
    );
}

#[test]
fn what_was_sent_before_the_deletion_is_kept() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > type 1 a
        append 1 in epoch 1: 1 updates
        > type 1 b
        > delete
        > type 1 c
        > durable
        all: publish 1 after 0: 1 → "a"
        router 1: acknowledge 1 through 1
        append 2 in epoch 1: 1 updates
        > durable
        all: publish 2 after 1: 1 → "ab"
        router 1: acknowledge 1 through 2
        append 3 in epoch 1: deletion
        > durable
        all: closed: document deleted
        > undelete
        append 4 in epoch 1: undeletion
        > durable
        > attach 2
        router 1: attached 2 at 4
        router 1: ask 2
        > sync 2 empty
        router 1: answer to [2] through 4: "ab"
        "#,
    );
}

#[test]
fn a_late_deletion_takes_what_has_gathered_with_it() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > type 1 a
        append 1 in epoch 1: 1 updates
        > type 1 b
        > import 5 x
        > taken 0 deletion
        not imported 5: the document was deleted
        all: closed: document deleted
        reload
        > reopen
        > undelete
        append 2 in epoch 1: undeletion
        > durable
        > attach 2
        router 1: attached 2 at 2
        router 1: ask 2
        > sync 2 empty
        router 1: answer to [2] through 2: no structs
        > attach 1
        router 1: attached 1 at 2
        router 1: ask 1
        > full 1
        append 3 in epoch 1: 1 updates
        > durable
        all: publish 3 after 1: 1 → "ab"
        router 1: acknowledge 1 through 3
        "#,
    );
}
