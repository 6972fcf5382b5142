//! Space of deleted keys: sealed segments that are mostly dead are rewritten without their dead records.

use crate::Slot;
use crate::index::Index;
use crate::log::Log;
use crate::medium::Medium;
use crate::work::Job;
use std::io;

#[derive(Debug)]
pub(crate) struct Measured;
#[derive(Debug)]
pub(crate) struct Rewritten;
#[derive(Debug)]
pub(crate) struct Rewrite {
    number: u32,
}
impl Rewrite {
    pub(crate) fn number(&self) -> u32 {
        self.number
    }
    pub(crate) fn run<M: Medium>(&self, _medium: &M) -> io::Result<Rewritten> {
        Ok(Rewritten)
    }
}
pub(crate) fn measure<M: Medium>(_medium: &M, _number: u32) -> io::Result<Measured> {
    Ok(Measured)
}

impl<M: Medium> Log<M> {
    pub(crate) fn bury(&mut self, slot: Slot) {
        self.index.remove(slot);
    }
    pub(crate) fn begin_reclaim(&mut self) -> Option<Job<M>> {
        None
    }
    pub(crate) fn finish_measure(&mut self, _number: u32, _result: io::Result<Measured>) {}
    pub(crate) fn finish_rewrite(&mut self, _number: u32, _result: io::Result<Rewritten>) {}
}
