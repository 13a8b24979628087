//! Keeping all resident documents within their budget.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use crate::command::Command;
use crate::shared::Shared;

/// How often the budget is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Asks the least recently used documents without sessions to end, while there is too much in memory.
pub(crate) async fn run(shared: Weak<Shared>) {
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        shared.metrics.documents_resident.set(shared.registry.count() as f64);
        make_room(&shared);
    }
}

fn make_room(shared: &Shared) {
    let budget = shared.config.limits.resident_bytes_max;
    let mut excess = shared.resident_bytes().saturating_sub(budget);
    if excess == 0 {
        return;
    }
    let mut unused: Vec<_> = shared
        .registry
        .all()
        .into_iter()
        .filter(|resident| resident.facts.serving() && resident.facts.sessions() == 0)
        .collect();
    unused.sort_by_key(|resident| resident.facts.used_at());
    let mut asked = 0;
    for resident in unused {
        if excess == 0 {
            break;
        }
        // A full mailbox is not one that nobody uses.
        if resident.mailbox.try_send(Command::MakeRoom).is_ok() {
            excess = excess.saturating_sub(resident.facts.bytes());
            asked += 1;
        }
    }
    debug!(asked, "documents were asked to make room");
}
