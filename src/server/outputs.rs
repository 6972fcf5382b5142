//! What a shard says, in its order, until it is performed.

use std::cell::Cell;
use std::collections::VecDeque;

use storage::{File, Sync, Work};

use crate::shard::{Out, Output};

/// Performs what the shard said, in its order. What it says meanwhile, because a reply led to another call or a sync was over at once,
/// comes behind: a nested call leaves it to the one under way.
pub(super) fn perform_in_order<T>(performing: &Cell<bool>, next: impl Fn() -> Option<T>, perform: impl Fn(T)) {
    if performing.replace(true) {
        return;
    }
    while let Some(output) = next() {
        perform(output);
    }
    performing.set(false);
}

/// What the shard said and nobody has performed.
#[derive(Default)]
pub(super) struct Outputs {
    pub(super) fresh: Out<File>,
    queue: VecDeque<Output<Sync<File>, Work<File>>>,
}

impl Outputs {
    pub(super) fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.queue.is_empty()
    }

    pub(super) fn next(&mut self) -> Option<Output<Sync<File>, Work<File>>> {
        self.queue.extend(self.fresh.drain(..));
        self.queue.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    struct Rig {
        performing: Cell<bool>,
        queue: RefCell<VecDeque<u32>>,
        performed: RefCell<Vec<u32>>,
    }

    impl Rig {
        /// Performing 1 makes the shard say 3 and tries to perform it, while 2 still waits.
        fn perform_all(&self) {
            let next = || self.queue.borrow_mut().pop_front();
            let perform = |output| {
                self.performed.borrow_mut().push(output);
                if output == 1 {
                    self.queue.borrow_mut().push_back(3);
                    self.perform_all();
                }
            };
            perform_in_order(&self.performing, next, perform);
        }
    }

    #[test]
    fn what_is_said_while_it_performs_comes_behind_what_was_said_before() {
        let rig =
            Rig { performing: Cell::new(false), queue: RefCell::new([1, 2].into()), performed: RefCell::default() };
        rig.perform_all();
        assert_eq!(*rig.performed.borrow(), [1, 2, 3]);
        rig.queue.borrow_mut().push_back(4);
        rig.perform_all();
        assert_eq!(rig.performed.borrow().len(), 4);
    }
}
