//! The only door through which a sub-machine acts on the world: outputs, stores, gates and marks.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::config::{Limits, Storage};
use crate::error::RequestError;
use crate::id::{DialId, LinkId, LoadId, Seq, TableId, Token};
use crate::io::{Event, HaltReason, HangupReason, Lane, Links, Output, Response, StoreOp};
use crate::marks::Mark;
use crate::refusals::Refusal;
use crate::rules::Rules;
use crate::store::batch::Batch;
use crate::store::record;
use crate::time::Now;
use crate::wire::{ClaimNumber, Message};

/// Batches and bytes after which a sync is asked for without waiting for the next periodic one. So what a store has to sync at once stays
/// small, and a flood of writes does not stand still until the next second.
const SYNC_BATCHES: usize = 512;
const SYNC_BYTES: usize = 8 << 20;

/// The numbers of batches, which tell an older copy of a store from the store itself.
#[derive(Default)]
struct Numbering {
    /// The generation that each batch names, from the moment on at which claims may leave this node.
    generation: Option<u64>,
    /// Batches that name it and are not durable yet.
    waiting: VecDeque<Seq>,
    /// The last durable one.
    durable: Seq,
}

/// The only means by which sub-machines act. Everything becomes an [`Output`] in one queue whose order is the trace.
pub(crate) struct Effects {
    now: Now,
    out: VecDeque<Output>,
    storage: Storage,
    batch: Batch,
    /// Batches that were emitted and are not durable yet, with their bytes, and the bytes of all of them.
    waiting: VecDeque<(Seq, usize)>,
    numbering: Numbering,
    waiting_bytes: usize,
    /// Batches and bytes that were emitted since a sync was asked for.
    unasked: (usize, usize),
    /// The number of the batch that is being collected.
    open: Seq,
    durable: Seq,
    /// The largest batch for which a sync was asked.
    sync_asked: Seq,
    sync_now: bool,
    /// Withheld outputs by the batch they wait for, in order within it.
    gated: BTreeMap<(Seq, u64), Output>,
    gate_count: u64,
    gated_tokens: BTreeSet<Token>,
    changed: BTreeSet<TableId>,
    /// How often each table has changed in this boot, by its number.
    revisions: Vec<u64>,
    /// How often all users' tables have changed at once.
    revisions_of_all: u64,
    marks: [u64; Mark::ALL.len()],
    refusals: [u64; Refusal::ALL.len()],
    turn_open: bool,
    rules: Rules,
    halted: bool,
    /// Whether the store is out of space.
    /// Whether the store is out of space, and whether it writes into what it has kept back.
    stalled: bool,
    short: bool,
}

impl Effects {
    pub(crate) fn new(storage: Storage, rules: Rules) -> Self {
        Effects {
            now: Now::default(),
            out: VecDeque::new(),
            storage,
            batch: Batch::default(),
            waiting: VecDeque::new(),
            numbering: Numbering::default(),
            waiting_bytes: 0,
            unasked: (0, 0),
            open: Seq(1),
            durable: Seq(0),
            sync_asked: Seq(0),
            sync_now: false,
            gated: BTreeMap::new(),
            gate_count: 0,
            gated_tokens: BTreeSet::new(),
            changed: BTreeSet::new(),
            revisions: Vec::new(),
            revisions_of_all: 0,
            marks: [0; Mark::ALL.len()],
            refusals: [0; Refusal::ALL.len()],
            turn_open: false,
            rules,
            halted: false,
            stalled: false,
            short: false,
        }
    }

    /// Returns the rules of the protocol.
    pub(crate) const fn rules(&self) -> Rules {
        self.rules
    }

    pub(crate) fn now(&self) -> Now {
        self.now
    }

    /// Takes the time of an input; the monotonic clock never goes back.
    pub(crate) fn set_now(&mut self, now: Now) {
        self.now = Now {
            mono: now.mono.max(self.now.mono),
            wall: now.wall,
        };
    }

    #[must_use = "an output that is dropped is never carried out"]
    pub(crate) fn pop(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    pub(crate) fn queued(&self) -> usize {
        self.out.len()
    }

    pub(crate) fn send(&mut self, to: LinkId, lane: Lane, msg: Message) {
        self.out.push_back(Output::Send {
            to: Links::One(to),
            lane,
            msg: Arc::new(msg),
        });
    }

    /// Withholds a message until `seq` is durable.
    pub(crate) fn send_after(&mut self, seq: Seq, to: Links, lane: Lane, msg: Message) {
        self.after(
            seq,
            Output::Send {
                to,
                lane,
                msg: Arc::new(msg),
            },
        );
    }

    pub(crate) fn dial(&mut self, dial: DialId, addr: String) {
        self.out.push_back(Output::Dial { dial, addr });
    }

    pub(crate) fn hangup(&mut self, link: LinkId, why: HangupReason) {
        self.out.push_back(Output::Hangup { link, why });
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    pub(crate) fn halt(&mut self, why: HaltReason) {
        self.halted = true;
        self.out.push_back(Output::Halt(why));
    }

    /// Returns whether the node has halted.
    pub(crate) fn is_halted(&self) -> bool {
        self.halted
    }

    /// The store is out of space, or is so no longer; tells of a change.
    pub(crate) fn set_stalled(&mut self, why: Option<String>) {
        let before = self.stalled || self.short;
        self.stalled = why.is_some();
        self.tell_space(before, why);
    }

    /// The store writes into space that it has kept back, or has found more; tells of a change.
    pub(crate) fn set_short(&mut self, why: Option<String>) {
        let before = self.stalled || self.short;
        self.short = why.is_some();
        self.tell_space(before, why);
    }

    fn tell_space(&mut self, before: bool, why: Option<String>) {
        match (before, self.stalled || self.short, why) {
            (false, true, Some(why)) => self.event(Event::StoreStalled(why)),
            (true, false, _) => self.event(Event::StoreRecovered),
            _ => {}
        }
    }

    /// Returns whether the store is out of space.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// Returns whether the store writes into space that it has kept back.
    pub(crate) fn is_short(&self) -> bool {
        self.short
    }

    pub(crate) fn reply(&mut self, token: Token, result: Result<Response, RequestError>) {
        self.out.push_back(Output::Reply { token, result });
    }

    pub(crate) fn load(&mut self, load: LoadId, query: Bytes) {
        self.out.push_back(Output::Load { load, query });
    }

    /// Withholds a reply until `seq` is durable.
    pub(crate) fn reply_after(
        &mut self,
        seq: Seq,
        token: Token,
        result: Result<Response, RequestError>,
    ) {
        self.after(seq, Output::Reply { token, result });
    }

    fn after(&mut self, seq: Seq, output: Output) {
        if seq <= self.durable() {
            self.out.push_back(output);
        } else {
            self.gate_count += 1;
            if let Output::Reply { token, .. } = &output {
                self.gated_tokens.insert(*token);
            }
            self.gated.insert((seq, self.gate_count), output);
        }
    }

    /// Drops the withheld reply of a request; whether there was one.
    pub(crate) fn withdraw(&mut self, token: Token) -> bool {
        if !self.gated_tokens.remove(&token) {
            return false;
        }
        let before = self.gated.len();
        self.gated
            .retain(|_, output| !matches!(output, Output::Reply { token: t, .. } if *t == token));
        before != self.gated.len()
    }

    pub(crate) fn changed(&mut self, table: TableId) {
        self.turn_open = true;
        self.changed.insert(table);
        let place = table.0 as usize;
        if self.revisions.len() <= place {
            self.revisions.resize(place + 1, 0);
        }
        self.revisions[place] += 1;
    }

    /// All users' tables have changed at once. The turns that follow tell which had rows.
    pub(crate) fn all_changed(&mut self) {
        self.turn_open = true;
        self.revisions_of_all += 1;
    }

    /// How often all users' tables have changed at once in this boot.
    pub(crate) fn revision_of_all(&self) -> u64 {
        self.revisions_of_all
    }

    /// How often a table has changed in this boot.
    pub(crate) fn revision(&self, table: TableId) -> u64 {
        let own = self.revisions.get(table.0 as usize).copied().unwrap_or(0);
        own + self.revisions_of_all
    }

    /// Adds a write to the batch of this turn and returns the batch's number.
    pub(crate) fn store(&mut self, op: StoreOp) -> Seq {
        if self.storage == Storage::Ordered {
            self.turn_open = true;
            self.batch.push(op);
        }
        self.open_seq()
    }

    /// Adds what is put into the batch of this turn.
    pub(crate) fn store_with(&mut self, put: impl FnOnce(&mut Batch)) {
        if self.storage == Storage::Ordered {
            self.turn_open = true;
            put(&mut self.batch);
        }
    }

    /// Asks that the batch of this turn be synced when the turn ends.
    pub(crate) fn sync_this_turn(&mut self) {
        if self.storage == Storage::Ordered {
            self.turn_open = true;
            self.sync_now = true;
        }
    }

    /// Marks the turn as unfinished, so that a flush is due.
    pub(crate) fn touch(&mut self) {
        self.turn_open = true;
    }

    /// Whether something waits for the end of the turn.
    pub(crate) fn turn_open(&self) -> bool {
        self.turn_open
    }

    /// The number of the batch that this turn's writes go into.
    pub(crate) fn open_seq(&self) -> Seq {
        match self.storage {
            Storage::None => Seq(0),
            Storage::Ordered => self.open,
        }
    }

    pub(crate) fn durable(&self) -> Seq {
        self.durable
    }

    /// The batch that makes this boot of the node durable.
    pub(crate) fn first_gate(&self) -> Seq {
        if self.has_storage() { Seq(1) } else { Seq(0) }
    }

    pub(crate) fn has_storage(&self) -> bool {
        self.storage == Storage::Ordered
    }

    /// Batches emitted and not yet durable.
    pub(crate) fn backlog(&self) -> usize {
        (self.open.0 - 1).saturating_sub(self.durable.0) as usize
    }

    /// Bytes of the batches that were emitted and are not durable yet.
    pub(crate) fn backlog_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Returns whether clients should wait: the store lags behind by more than half of what is allowed.
    pub(crate) fn is_pressed(&self, limits: &Limits) -> bool {
        self.backlog() * 2 >= limits.store_backlog
            || self.backlog_bytes() * 2 >= limits.store_backlog_bytes
    }

    /// Whether batches were emitted for which no sync was asked yet.
    pub(crate) fn unsynced(&self) -> bool {
        self.has_storage() && self.sync_asked.0 + 1 < self.open.0
    }

    /// Ends the turn: the batch and the wake-ups go out. Returns the number of the batch, if there was one.
    pub(crate) fn flush(&mut self) -> Option<Seq> {
        self.turn_open = false;
        let mut emitted = None;
        if !self.batch.is_empty() || self.sync_now {
            let seq = self.open;
            self.number_batch(seq);
            let bytes = self.batch.size();
            self.waiting.push_back((seq, bytes));
            self.waiting_bytes += bytes;
            let (batches, unasked) = (self.unasked.0 + 1, self.unasked.1 + bytes);
            let is_much = batches >= SYNC_BATCHES || unasked >= SYNC_BYTES;
            let sync = core::mem::take(&mut self.sync_now) || is_much;
            self.open = Seq(seq.0 + 1);
            self.unasked = match sync {
                true => (0, 0),
                false => (batches, unasked),
            };
            if sync {
                self.sync_asked = seq;
            }
            let batch = self.batch.take();
            self.out.push_back(Output::Store { seq, batch, sync });
            emitted = Some(seq);
        }
        for table in core::mem::take(&mut self.changed) {
            self.out.push_back(Output::Changed { table });
        }
        emitted
    }

    /// Lets each batch from the open one on name this generation. Claims leave this node with the number of a batch that does.
    pub(crate) fn number_batches(&mut self, generation: u64) {
        if self.has_storage() && self.numbering.generation != Some(generation) {
            self.numbering = Numbering {
                generation: Some(generation),
                ..Numbering::default()
            };
        }
    }

    fn number_batch(&mut self, seq: Seq) {
        if let Some(generation) = self.numbering.generation.filter(|_| !self.batch.is_empty()) {
            let batch = seq.0;
            let op = record::batch(ClaimNumber { generation, batch });
            self.batch.push(op);
            self.numbering.waiting.push_back(seq);
        }
    }

    /// Returns the number that a claim has which leaves this node now: that of the last durable batch that names this generation. It is 0 while there is
    /// none.
    pub(crate) fn claim_number(&self) -> u64 {
        match self.rules.numbers_durable_claims() {
            true => self.numbering.durable.0,
            false => self.open_seq().0,
        }
    }

    /// Returns whether a claim may leave this node: the store names a batch that is as new, or there is no store.
    pub(crate) fn numbers_claims(&self) -> bool {
        !self.has_storage() || self.claim_number() > 0
    }

    /// Everything up to `upto` is durable: the gate opens to there. The requests whose replies went through.
    #[must_use = "the requests that were answered wait no more"]
    pub(crate) fn stored(&mut self, upto: Seq) -> Vec<Token> {
        let last = Seq(self.open.0 - 1);
        self.durable = self.durable.max(upto.min(last));
        while let Some(&(seq, bytes)) = self.waiting.front()
            && seq <= self.durable
        {
            self.waiting.pop_front();
            self.waiting_bytes -= bytes;
        }
        let durable = self.durable;
        while let Some(seq) = self.numbering.waiting.pop_front_if(|seq| *seq <= durable) {
            self.numbering.durable = seq;
        }
        let held = self.gated.split_off(&(Seq(self.durable.0 + 1), 0));
        let released = core::mem::replace(&mut self.gated, held);
        let mut answered = Vec::new();
        for output in released.into_values() {
            if let Output::Reply { token, .. } = &output {
                self.gated_tokens.remove(token);
                answered.push(*token);
            }
            self.out.push_back(output);
        }
        answered
    }

    /// Counts that a rare branch was reached.
    pub(crate) fn mark(&mut self, mark: Mark) {
        self.marks[mark as usize] += 1;
    }

    /// The marks that were reached.
    pub(crate) fn marks(&self) -> impl Iterator<Item = (Mark, u64)> {
        let counts = Mark::ALL.iter().zip(self.marks);
        counts
            .map(|(mark, count)| (*mark, count))
            .filter(|(_, count)| *count > 0)
    }

    /// Counts that something from outside was refused.
    pub(crate) fn refuse(&mut self, why: Refusal) {
        self.refusals[why as usize] += 1;
    }

    /// Returns the refusals, with their numbers.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (Refusal, u64)> {
        let counts = Refusal::ALL.iter().zip(self.refusals);
        counts
            .map(|(why, count)| (*why, count))
            .filter(|(_, count)| *count > 0)
    }

    pub(crate) fn gated(&self) -> usize {
        self.gated.len()
    }
}
