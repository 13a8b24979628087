//! Mistakes that a build for the tests can make on purpose, one at a time: each has cost somebody their data once.
//!
//! Only with the feature `faults` is there a choice. Without it [`active`] is false while the compiler looks at it, and what
//! stands behind it is in no program.

/// A mistake. Where it would be made, the code asks [`active`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A claim has the epoch of the last owner.
    NoFence,
    /// Whoever claims a document knows only what it had loaded before, not what was written since.
    LoadBeforeClaim,
    /// What was gathered while a slot was written is acknowledged together with it.
    AcknowledgeOutOfOrder,
    /// Whoever has not attached to the next owner at once is said to have left.
    AwarenessRemoved,
    /// A ring view of a lower version replaces one of a higher.
    ViewBackwards,
    /// A router forgets what its editors sent to an owner that is lost.
    UnacknowledgedDropped,
    /// A document is given away with a slot in flight.
    SealedInFlight,
    /// A reader process may take as much memory and time as it likes.
    ReaderWithoutLimits,
}

/// Names the fault of a process. A build without the feature takes it for a setting that does not exist.
pub const VARIABLE: &str = "RINGLEAF_FAULT";

impl Fault {
    pub const ALL: [Self; 8] = [
        Self::NoFence,
        Self::LoadBeforeClaim,
        Self::AcknowledgeOutOfOrder,
        Self::AwarenessRemoved,
        Self::ViewBackwards,
        Self::UnacknowledgedDropped,
        Self::SealedInFlight,
        Self::ReaderWithoutLimits,
    ];

    /// What [`VARIABLE`] calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoFence => "no-fence",
            Self::LoadBeforeClaim => "load-before-claim",
            Self::AcknowledgeOutOfOrder => "acknowledge-out-of-order",
            Self::AwarenessRemoved => "awareness-removed-on-handoff",
            Self::ViewBackwards => "view-goes-backwards",
            Self::UnacknowledgedDropped => "router-drops-unacknowledged",
            Self::SealedInFlight => "sealed-with-a-slot-in-flight",
            Self::ReaderWithoutLimits => "reader-without-its-limits",
        }
    }
}

/// Whether this process makes that mistake. Never, in a build that anybody should run.
#[cfg(not(feature = "faults"))]
#[inline]
pub const fn active(_: Fault) -> bool {
    false
}

/// Whether this process makes that mistake.
#[cfg(feature = "faults")]
pub fn active(fault: Fault) -> bool {
    chosen() == Some(fault)
}

/// The fault of this process.
#[cfg(not(feature = "faults"))]
pub const fn chosen() -> Option<Fault> {
    None
}

/// The fault of this process, read once.
///
/// # Panics
///
/// If there is none of the name in [`VARIABLE`]: a test must not take a right program for a wrong one.
#[cfg(feature = "faults")]
pub fn chosen() -> Option<Fault> {
    static CHOSEN: std::sync::LazyLock<Option<Fault>> = std::sync::LazyLock::new(|| {
        let name = std::env::var_os(VARIABLE)?;
        let fault = Fault::ALL.into_iter().find(|fault| name == fault.name());
        Some(fault.expect("RINGLEAF_FAULT names a fault"))
    });
    *CHOSEN
}

/// The proof: no build without the feature compiles if one of them can be active.
#[cfg(not(feature = "faults"))]
const _: () = {
    let mut index = 0;
    while index < Fault::ALL.len() {
        assert!(!active(Fault::ALL[index]));
        index += 1;
    }
};
