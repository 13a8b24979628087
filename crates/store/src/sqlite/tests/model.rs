//! Whatever is done in whatever order: the store on disk answers as the one in memory does, over any reopening.

use proptest::prelude::*;

use super::*;
use crate::MemoryStore;

const DOCUMENTS: [&str; 3] = ["a", "a/b", "b"];

#[derive(Debug, Clone)]
enum Step {
    CreateSlot {
        document: usize,
        slot: u64,
        nonce: u64,
        kind: u8,
    },
    /// The slot after the last: what an owner does all the time.
    Append {
        document: usize,
        kind: u8,
    },
    CreateSnapshot {
        document: usize,
        upto: u64,
        deleted: bool,
    },
    /// A snapshot of everything there is, less a few slots.
    Compact {
        document: usize,
        behind: u64,
    },
    Trim {
        document: usize,
    },
    Purge {
        document: usize,
        upto: u64,
    },
    KeepRemainder {
        document: usize,
        number: u64,
        length: usize,
    },
    DropRemainders {
        document: usize,
        numbers: Vec<u64>,
    },
    Remainders {
        document: usize,
    },
    Read {
        document: usize,
    },
    ReadAfter {
        document: usize,
        after: u64,
    },
    Look {
        prefix: &'static str,
        after: Option<usize>,
        limit: usize,
    },
    MarkAttempt {
        document: usize,
    },
    MarkOutcome {
        document: usize,
        failed: bool,
    },
    Quarantine {
        document: usize,
        reason: u8,
    },
    Release {
        document: usize,
    },
    Reopen,
}

fn any_step() -> impl Strategy<Value = Step> {
    let document = 0..DOCUMENTS.len();
    prop_oneof![
        4 => (document.clone(), 0..12_u64, 0..3_u64, 0..4_u8)
            .prop_map(|(document, slot, nonce, kind)| Step::CreateSlot { document, slot, nonce, kind }),
        12 => (document.clone(), 0..8_u8).prop_map(|(document, kind)| Step::Append { document, kind }),
        2 => (document.clone(), 0..14_u64, any::<bool>())
            .prop_map(|(document, upto, deleted)| Step::CreateSnapshot { document, upto, deleted }),
        4 => (document.clone(), 0..3_u64).prop_map(|(document, behind)| Step::Compact { document, behind }),
        4 => document.clone().prop_map(|document| Step::Trim { document }),
        1 => (document.clone(), 0..30_u64).prop_map(|(document, upto)| Step::Purge { document, upto }),
        3 => (document.clone(), 0..6_u64, prop_oneof![9 => 0..50_usize, 1 => 500_000..1_500_000_usize])
            .prop_map(|(document, number, length)| Step::KeepRemainder { document, number, length }),
        1 => (document.clone(), prop::collection::vec(0..6_u64, 0..4))
            .prop_map(|(document, numbers)| Step::DropRemainders { document, numbers }),
        2 => document.clone().prop_map(|document| Step::Remainders { document }),
        4 => document.clone().prop_map(|document| Step::Read { document }),
        4 => (document.clone(), 0..20_u64).prop_map(|(document, after)| Step::ReadAfter { document, after }),
        2 => (prop_oneof![Just(""), Just("a"), Just("a/"), Just("c")], prop::option::of(document.clone()), 0..4_usize)
            .prop_map(|(prefix, after, limit)| Step::Look { prefix, after, limit }),
        1 => document.clone().prop_map(|document| Step::MarkAttempt { document }),
        1 => (document.clone(), any::<bool>())
            .prop_map(|(document, failed)| Step::MarkOutcome { document, failed }),
        1 => (document.clone(), 0..3_u8).prop_map(|(document, reason)| Step::Quarantine { document, reason }),
        1 => document.prop_map(|document| Step::Release { document }),
        1 => Just(Step::Reopen),
    ]
}

fn body(nonce: u64, kind: u8) -> Body {
    match kind {
        0 => Body::Deletion,
        1 => Body::Undeletion,
        _ => Body::Updates(vec![Bytes::from(format!("update {nonce} {kind}"))]),
    }
}

async fn last_of(store: &dyn Store, document: usize) -> u64 {
    let tails = store.tails(&[id(DOCUMENTS[document])]).await.unwrap();
    tails.first().map_or(0, |(_, tail)| tail.last.get())
}

/// Takes a step, and tells the outcome without what two stores may differ in: times and sizes.
async fn take(store: &dyn Store, step: &Step) -> String {
    let named = |document: usize| id(DOCUMENTS[document]);
    match *step {
        Step::CreateSlot { document, slot, nonce, kind } => {
            let record = Record { body: body(nonce, kind), ..record(nonce) };
            format!("{:?}", store.create_slot(&named(document), Slot::new(slot), record).await)
        }
        Step::Append { document, kind } => {
            let slot = last_of(store, document).await + 1;
            let record = Record { body: body(slot, kind), ..record(slot) };
            format!("{:?}", store.create_slot(&named(document), Slot::new(slot), record).await)
        }
        Step::CreateSnapshot { document, upto, deleted } => {
            let snapshot = Snapshot { deleted, ..snapshot(upto) };
            format!("{:?}", store.create_snapshot(&named(document), snapshot).await)
        }
        Step::Compact { document, behind } => {
            let upto = last_of(store, document).await.saturating_sub(behind);
            format!("{:?}", store.create_snapshot(&named(document), snapshot(upto)).await)
        }
        Step::Trim { document } => format!("{:?}", store.trim(&named(document)).await),
        Step::Purge { document, upto } => {
            format!("{:?}", store.purge(&named(document), snapshot(upto)).await)
        }
        Step::KeepRemainder { document, number, length } => {
            let since = std::time::UNIX_EPOCH + Duration::from_millis(1_000 - length as u64 % 3);
            let remainder = Remainder { id: number, since, bytes: Bytes::from(vec![7; length]) };
            format!("{:?}", store.keep_remainder(&named(document), remainder).await)
        }
        Step::DropRemainders { document, ref numbers } => {
            format!("{:?}", store.drop_remainders(&named(document), numbers).await)
        }
        Step::Remainders { document } => {
            let found = store.remainders(&named(document)).await.unwrap();
            found
                .iter()
                .map(|found| format!("{} {:?} {}\n", found.id, found.since, found.bytes.len()))
                .collect()
        }
        Step::Read { document } => format!("{:?}", store.read(&named(document)).await),
        Step::ReadAfter { document, after } => {
            format!("{:?}", store.read_after(&named(document), Slot::new(after)).await)
        }
        Step::Look { prefix, after, limit } => look(store, prefix, after.map(named), limit).await,
        Step::MarkAttempt { document } => format!("{:?}", store.mark_attempt(&named(document)).await),
        Step::MarkOutcome { document, failed } => {
            let failed = failed.then(|| "it broke".to_owned());
            format!("{:?}", store.mark_outcome(&named(document), failed).await)
        }
        Step::Quarantine { document, reason } => {
            format!("{:?}", store.quarantine(&named(document), reason.to_string()).await)
        }
        Step::Release { document } => format!("{:?}", store.release(&named(document)).await),
        Step::Reopen => String::new(),
    }
}

async fn look(store: &dyn Store, prefix: &str, after: Option<DocumentId>, limit: usize) -> String {
    let listed = store.list(prefix, after.as_ref(), limit).await.unwrap();
    let mut text = String::new();
    for listed in listed {
        let Listed { document, last, tail_slots, deleted, quarantined, .. } = listed;
        text += &format!("{} {last} {tail_slots} {deleted} {quarantined}\n", document.as_str());
    }
    for quarantined in store.quarantined().await.unwrap() {
        text += &format!("{} {}\n", quarantined.document.as_str(), quarantined.reason);
    }
    text += &format!("{:?}", store.with_remainders(after.as_ref(), limit).await.unwrap());
    text + &format!("{:?}", store.tails(&DOCUMENTS.map(id)).await.unwrap())
}

async fn compare(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    let model = MemoryStore::with_retention(Duration::ZERO);
    let mut store = open(folder.path());
    for (index, step) in steps.iter().enumerate() {
        if matches!(step, Step::Reopen) {
            drop(store);
            store = open(folder.path());
        }
        let expected = take(&model, step).await;
        let found = take(&store, step).await;
        prop_assert_eq!(found, expected, "step {}: {:?}", index, step);
    }
    for document in 0..DOCUMENTS.len() {
        for step in [Step::Read { document }, Step::Remainders { document }] {
            prop_assert_eq!(take(&store, &step).await, take(&model, &step).await);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn disk_and_memory_answer_alike(steps in prop::collection::vec(any_step(), 1..70)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(compare(steps))?;
    }
}
