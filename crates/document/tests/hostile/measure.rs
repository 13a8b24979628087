//! Running one input through everything that a document does with it, and what that costs.

use std::time::Duration;

use bytes::Bytes;
use ringleaf_document::{Gc, StructStore};
use rustix::time::{ClockId, clock_gettime};

use crate::HEAP;

/// CPU seconds for each MiB of messages that are a goal, and how far from it is a failure.
const SECONDS_PER_MIB: f64 = 0.5;
const TIMES_GOAL: f64 = 10.0;
/// What even nothing may take.
const SPARE_SECONDS: f64 = 0.1;

/// What stays in memory for each byte of messages.
const HEAP_TIMES: f64 = 6.0;
const SPARE_HEAP: usize = 64 << 10;

/// Messages, the last of which mean harm.
pub(crate) struct Input {
    pub(crate) before: Vec<Bytes>,
    pub(crate) hostile: Vec<Bytes>,
}

impl Input {
    pub(crate) fn one(message: Vec<u8>) -> Self {
        Self::after([], [message])
    }

    pub(crate) fn after(
        before: impl IntoIterator<Item = Vec<u8>>,
        hostile: impl IntoIterator<Item = Vec<u8>>,
    ) -> Self {
        let bytes = |messages: Vec<Vec<u8>>| messages.into_iter().map(Bytes::from).collect();
        Self { before: bytes(before.into_iter().collect()), hostile: bytes(hostile.into_iter().collect()) }
    }

    fn bytes(&self) -> usize {
        self.before.iter().chain(&self.hostile).map(Bytes::len).sum()
    }
}

/// What one input cost.
#[derive(Debug)]
pub(crate) struct Cost {
    pub(crate) bytes: usize,
    pub(crate) admit: Duration,
    pub(crate) slowest: Duration,
    pub(crate) diff: Duration,
    pub(crate) encode: Duration,
    pub(crate) compact: Duration,
    pub(crate) load: Duration,
    pub(crate) heap: usize,
    pub(crate) peak: usize,
    pub(crate) estimate: usize,
    pub(crate) compacted: usize,
}

impl Cost {
    pub(crate) fn total(&self) -> Duration {
        self.admit + self.diff + self.encode + self.compact + self.load
    }
}

/// How long this thread has worked.
pub(crate) fn worked() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap(), u32::try_from(time.tv_nsec).unwrap())
}

/// The CPU time that something takes.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = worked();
    let done = work();
    (done, worked().saturating_sub(begun))
}

/// Admits the messages, compacting as often as a document would, and does everything else once.
pub(crate) fn cost(input: &Input) -> Cost {
    let heap_before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let mut store = StructStore::new();
    let (mut admit, mut slowest) = (Duration::ZERO, Duration::ZERO);
    let hostile_from = input.before.len();
    for (number, message) in input.before.iter().chain(&input.hostile).enumerate() {
        let (_, took) = timed(|| {
            store.admit(message).unwrap();
            if store.wants_compaction() {
                store.compact(Gc::Collect);
            }
        });
        if number >= hostile_from {
            (admit, slowest) = (admit + took, slowest.max(took));
        }
    }
    let heap = HEAP.current_usage().saturating_sub(heap_before);
    let estimate = store.heap_bytes();
    let ((), diff) = timed(|| {
        for state_vector in [&[0][..], &store.state_vector(), &[1, 1, 1]] {
            assert!(!store.diff(state_vector).unwrap().is_empty());
        }
    });
    let (encoded, encode) = timed(|| store.encode().concat());
    let ((), load) = timed(|| drop(StructStore::load(encoded.clone()).unwrap()));
    let ((), compact) = timed(|| store.compact(Gc::Collect));
    let peak = HEAP.peak_usage().saturating_sub(heap_before);
    check(&store, &encoded);
    Cost {
        bytes: input.bytes(),
        admit,
        slowest,
        diff,
        encode,
        compact,
        load,
        heap,
        peak,
        estimate,
        compacted: store.encoded_bytes(),
    }
}

/// What is encoded loads to the same, before and after it was made compact.
fn check(compact: &StructStore, encoded: &Bytes) {
    let loaded = StructStore::load(encoded.clone()).unwrap();
    assert_eq!(loaded.state_vector(), compact.state_vector());
    let again = StructStore::load(compact.encode().concat()).unwrap();
    assert_eq!(again.state_vector(), compact.state_vector());
    assert_eq!(again.delete_set(), compact.delete_set());
}

/// Prints what an input costs, and fails when that is out of proportion: at `count`, and compared with a quarter of it.
pub(crate) fn judge(name: &str, count: usize, input: impl Fn(usize) -> Input) -> Cost {
    let small = cost(&input(count / 4));
    let large = cost(&input(count));
    let mib = large.bytes as f64 / f64::from(1 << 20);
    let times = |bytes: usize| bytes as f64 / large.bytes as f64;
    println!(
        "figure: {name}: {count}, {mib:.2} MiB: admit {:.1?} (one message {:.1?}), diffs {:.1?}, encode {:.1?}, load {:.1?}, \
         compact {:.1?}; heap × {:.1} (estimated × {:.1}, peak × {:.1}), {} bytes compact",
        large.admit,
        large.slowest,
        large.diff,
        large.encode,
        large.load,
        large.compact,
        times(large.heap),
        times(large.estimate),
        times(large.peak),
        large.compacted,
    );
    let allowed = SECONDS_PER_MIB * TIMES_GOAL * mib + SPARE_SECONDS;
    for took in [large.admit, large.diff, large.encode, large.load, large.compact] {
        assert!(took.as_secs_f64() < allowed, "{name}: {took:?} of {allowed:.1} s");
    }
    // Four times as much takes four times as long; sixteen would be quadratic.
    let grown = large.total().as_secs_f64() / (small.total().as_secs_f64() + SPARE_SECONDS / 10.0);
    assert!(grown < 10.0, "{name}: four times as much takes {grown:.1} times as long");
    let heap_max = HEAP_TIMES * large.bytes as f64 + SPARE_HEAP as f64;
    assert!((large.heap as f64) < heap_max, "{name}: {} bytes stay of {}", large.heap, large.bytes);
    let off = large.estimate.abs_diff(large.heap);
    assert!(
        off * 10 < large.heap * 3 + SPARE_HEAP,
        "{name}: {} bytes, estimated {}",
        large.heap,
        large.estimate
    );
    large
}
