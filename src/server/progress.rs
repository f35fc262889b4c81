//! How far long work is.

use std::ops::ControlFlow;

/// Is told how far long work is, and may stop it.
pub trait Progress {
    /// `done` of `all` accounts are upgraded. Breaking stops the upgrade, and leaves the old database as it was.
    fn upgraded(&mut self, done: usize, all: usize) -> ControlFlow<()>;

    /// `done` of `all` secrets are sealed anew. Breaking stops it, and leaves the database as it was.
    fn sealed(&mut self, done: usize, all: usize) -> ControlFlow<()>;
}

/// Shows nothing and stops nothing.
pub struct NoProgress;

impl Progress for NoProgress {
    fn upgraded(&mut self, _: usize, _: usize) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn sealed(&mut self, _: usize, _: usize) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}
