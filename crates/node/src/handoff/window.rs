//! Which document moves next: a window that slides over what should move, with one queue for each target. Pure.

use std::collections::{BTreeMap, VecDeque};

use ringleaf_types::NodeId;

/// What waits for its turn, and how many are on their way.
#[derive(Debug)]
pub(super) struct Window<T> {
    queues: BTreeMap<NodeId, VecDeque<T>>,
    moving: BTreeMap<NodeId, usize>,
}

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self { queues: BTreeMap::new(), moving: BTreeMap::new() }
    }
}

impl<T> Window<T> {
    /// What waits from now on, in place of what did.
    pub(super) fn refill(&mut self, queues: BTreeMap<NodeId, VecDeque<T>>) {
        self.queues = queues;
        self.queues.retain(|_, queue| !queue.is_empty());
    }

    /// Takes what goes next, while fewer than `max` are on their way. It counts as one of them until it has
    /// [`ended`](Self::ended).
    ///
    /// The target that has the fewest comes first: one that is slow gets no more than its part, as long as there is
    /// anything for another. One that rests gets nothing.
    pub(super) fn next(&mut self, max: usize, rests: impl Fn(&NodeId) -> bool) -> Option<(NodeId, T)> {
        if self.moving() >= max {
            return None;
        }
        let may = self.queues.keys().filter(|to| !rests(to));
        let to = may.min_by_key(|to| self.moving.get(*to).copied().unwrap_or(0))?.clone();
        let queue = self.queues.get_mut(&to)?;
        let next = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&to);
        }
        *self.moving.entry(to.clone()).or_default() += 1;
        next.map(|next| (to, next))
    }

    /// One is no longer on its way to this target.
    pub(super) fn ended(&mut self, to: &NodeId) {
        if let Some(moving) = self.moving.get_mut(to) {
            *moving -= 1;
            if *moving == 0 {
                self.moving.remove(to);
            }
        }
    }

    /// Takes all that waits for this target.
    pub(super) fn give_up(&mut self, to: &NodeId) -> VecDeque<T> {
        self.queues.remove(to).unwrap_or_default()
    }

    /// Something waits for its turn.
    pub(super) fn waits(&self) -> bool {
        !self.queues.is_empty()
    }

    /// How many are on their way.
    pub(super) fn moving(&self) -> usize {
        self.moving.values().sum()
    }

    /// Nothing waits for this target, and nothing is on its way to it.
    pub(super) fn is_done_with(&self, to: &NodeId) -> bool {
        !self.queues.contains_key(to) && !self.moving.contains_key(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn window(queues: &[(&str, std::ops::Range<u32>)]) -> Window<u32> {
        let mut window = Window::default();
        window.refill(queues.iter().map(|(name, queue)| (node(name), queue.clone().collect())).collect());
        window
    }

    /// Everything that may begin now.
    fn take(window: &mut Window<u32>, max: usize) -> Vec<(String, u32)> {
        std::iter::from_fn(|| window.next(max, |_| false)).map(|(to, next)| (to.to_string(), next)).collect()
    }

    #[test]
    fn it_slides_one_by_one_and_never_holds_more_than_allowed() {
        let mut window = window(&[("a", 0..4)]);
        assert_eq!(take(&mut window, 2), [("a".into(), 0), ("a".into(), 1)]);
        window.ended(&node("a"));
        assert_eq!(take(&mut window, 2), [("a".into(), 2)]);
        assert_eq!(take(&mut window, 3), [("a".into(), 3)], "one more is allowed by now");
        window.ended(&node("a"));
        assert_eq!((take(&mut window, 1), window.moving()), (vec![], 2), "and fewer again");
        assert!(!window.is_done_with(&node("a")));
        (0..2).for_each(|_| window.ended(&node("a")));
        assert!(window.is_done_with(&node("a")));
    }

    #[test]
    fn a_target_that_hangs_does_not_keep_the_others_waiting() {
        let mut window = window(&[("hangs", 0..100), ("works", 100..150)]);
        let mut moved = 0;
        for _ in 0..200 {
            for (to, _) in take(&mut window, 8) {
                if to == "works" {
                    window.ended(&node("works"));
                    moved += 1;
                }
            }
            let hanging = window.moving();
            assert!(hanging <= 4 || moved == 50, "{hanging} hang when {moved} have moved");
        }
        assert_eq!(moved, 50);
    }

    #[test]
    fn what_waits_for_a_target_can_be_taken_back() {
        let mut window = window(&[("a", 0..3), ("b", 3..4)]);
        assert_eq!(window.next(8, |_| false), Some((node("a"), 0)));
        assert_eq!(window.give_up(&node("a")), [1, 2]);
        assert_eq!(take(&mut window, 8), [("b".into(), 3)]);
    }

    #[test]
    fn a_target_that_rests_keeps_what_waits_for_it() {
        let mut window = window(&[("a", 0..2), ("b", 2..3)]);
        let rests = |to: &NodeId| *to == node("a");
        assert_eq!(window.next(8, rests), Some((node("b"), 2)));
        assert_eq!(window.next(8, rests), None);
        assert!(!window.is_done_with(&node("a")));
        assert_eq!(take(&mut window, 8), [("a".into(), 0), ("a".into(), 1)], "when it has rested");
    }
}
