//! Hooks for planted bugs, which prove that the checkers catch what they claim to catch.

use std::collections::BTreeMap;

use bytes::Bytes;
use rumormill_core::wire::Message;
use rumormill_core::{
    Config,
    io::{Input, StoreOp},
};

use crate::disk::Rules;
use crate::sessions::Exchange;

/// The means of a planted bug in the world around the nodes. Every method does nothing unless it is overridden.
pub trait Sabotage {
    /// Changes the configuration of `node` before it starts.
    fn configures(&mut self, node: usize, config: &mut Config) {
        let _ = (node, config);
    }

    /// Changes a message that `node` sends. Returns the one that goes instead, if another does.
    fn rewrites(&mut self, node: usize, message: &Message) -> Option<Message> {
        let _ = (node, message);
        None
    }

    /// Whether the network takes this message away without counting it as lost.
    fn swallows(&mut self, from: usize, to: usize, message: &Message) -> bool {
        let _ = (from, to, message);
        false
    }

    /// Whether the disk of `node` answers a sync without doing it.
    fn syncs_early(&mut self, node: usize) -> bool {
        let _ = node;
        false
    }

    /// Whether the driver of `node` tells it that a sync holds also for batches that came after the sync began.
    fn overstates(&mut self, node: usize) -> bool {
        let _ = node;
        false
    }

    /// Changes a batch of `node` before its disk takes it.
    fn stores(&mut self, node: usize, batch: &mut Vec<StoreOp>) {
        let _ = (node, batch);
    }

    /// Whether the disk of `node` answers a load with a part of the record.
    fn misreads(&mut self, node: usize) -> bool {
        let _ = node;
        false
    }

    /// Returns the rules that all disks keep.
    fn disk(&self) -> Rules {
        Rules::default()
    }

    /// An input that no driver should hand to `node`, before the turn ends.
    fn injects(&mut self, node: usize) -> Option<Input> {
        let _ = node;
        None
    }

    /// Whether the driver of `node` forgets to end its turn.
    fn forgets_tick(&mut self, node: usize) -> bool {
        let _ = node;
        false
    }

    /// Changes what a client is told, as a cache in front of its node may.
    fn answers(&mut self, exchange: &mut Exchange) {
        let _ = exchange;
    }

    /// Changes what the disk of `node` holds, before the node starts from it.
    fn before_start(&mut self, node: usize, records: &mut BTreeMap<Bytes, Bytes>) {
        let _ = (node, records);
    }
}

/// No planted bug.
#[derive(Clone, Copy, Debug, Default)]
pub struct Honest;

impl Sabotage for Honest {}
