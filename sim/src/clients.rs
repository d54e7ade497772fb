//! Clients: they read, write, delete, are told that it is done, and watch what changes.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use rumormill_core::{
    Now, Seq, TableId, Token, Wall,
    errors::WriteError,
    table::{Accepted, CausalToken, Change, ChangeKind, Version, Write},
};

use crate::checkers::flushes;
use crate::checkers::rows_of;
use crate::checkers::watching::Pulled;
use crate::hurt::Hurt;
use crate::model::{self, Effect};
use crate::plan::{Op, OpVerb, Table};
use crate::sessions::{Answer, Exchange, Found};
use crate::trace::{Field, Weight};
use crate::world::World;

/// A change that a client wants.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    /// This value.
    Put(Bytes),
    /// This value for so many milliseconds of the node's wall clock.
    PutFor(Bytes, u64),
    /// Nothing there any more.
    Delete,
}

impl Deed {
    /// The word of the trace and the name it is counted under.
    const fn names(&self) -> (&'static str, &'static str) {
        match self {
            Deed::Put(_) => ("put", "puts"),
            Deed::PutFor(..) => ("put_for", "puts_expiring"),
            Deed::Delete => ("delete", "deletes"),
        }
    }

    /// The value that it writes.
    fn value(&self) -> Option<&Bytes> {
        match self {
            Deed::Put(value) | Deed::PutFor(value, _) => Some(value),
            Deed::Delete => None,
        }
    }

    /// As done by a node whose clocks show `now`.
    fn effect(&self, now: Now) -> Effect {
        match self {
            Deed::Put(value) => Effect::Put(value.clone()),
            Deed::PutFor(value, ttl_ms) => {
                Effect::PutFor(value.clone(), now.wall.as_millis() + ttl_ms)
            }
            Deed::Delete => Effect::Delete,
        }
    }

    /// As a node is asked for it whose clocks show `now`.
    fn write<'a>(&self, key: &'a Bytes, now: Now) -> Write<'a> {
        let (value, ttl_ms) = match self {
            Deed::Put(value) => (value, None),
            Deed::PutFor(value, ttl_ms) => (value, Some(ttl_ms)),
            Deed::Delete => return Write::Delete { key },
        };
        Write::Put {
            key,
            value: value.clone(),
            expires: ttl_ms.map(|ttl_ms| Wall::from_millis(now.wall.as_millis() + ttl_ms)),
        }
    }
}

/// The clients of all machines: their knowledge, and the answers they wait for.
pub(crate) struct Clients {
    /// The nodes that clients have moved to.
    homes: BTreeMap<u32, usize>,
    /// By client and key the context of its last read of siblings, with the values it showed.
    pub(crate) contexts: BTreeMap<(u32, Bytes), (CausalToken, Vec<Bytes>)>,
    waiting: Vec<Waiting>,
}

/// The answers that clients of one node wait for.
#[derive(Clone, Default)]
struct Waiting {
    /// Operations whose acknowledgement waits for the disk.
    unacked: VecDeque<Unacked>,
    /// Reads that wait for their values.
    reads: BTreeMap<Token, Read>,
    /// Values that reads have shown, in any boot: a version has one value.
    values: Values,
}

/// An operation whose acknowledgement waits for the disk.
#[derive(Clone)]
struct Unacked {
    /// The batch it waits for.
    seq: Seq,
    /// Its number in the model.
    op: usize,
    /// Its number among the exchanges of clients.
    exchange: Option<usize>,
}

/// A read that waits for its value: its table and key, and the exchange of the client that asked, if one did.
pub(crate) type Read = (Table, Bytes, Option<usize>);

/// Values that clients of one node have read, by version.
pub(crate) type Values = BTreeMap<Version, Bytes>;

impl Clients {
    pub(crate) fn new(nodes: usize) -> Self {
        Clients {
            homes: BTreeMap::new(),
            contexts: BTreeMap::new(),
            waiting: vec![Waiting::default(); nodes],
        }
    }

    /// The node stops: its clients wait no more.
    pub(crate) fn on_stop(&mut self, node: usize) {
        self.waiting[node].reads.clear();
        self.waiting[node].unacked.clear();
    }

    /// A client waits for the value of a row.
    pub(crate) fn on_ask(&mut self, node: usize, token: Token, read: Read) {
        self.waiting[node].reads.insert(token, read);
    }

    /// The node answers. Returns the read if the answer is to one.
    pub(crate) fn on_reply(&mut self, node: usize, token: Token) -> Option<Read> {
        self.waiting[node].reads.remove(&token)
    }

    /// A client of the node has read the value of a version.
    pub(crate) fn on_value(&mut self, node: usize, version: Version, value: Bytes) {
        self.waiting[node].values.insert(version, value);
    }

    /// Returns how many reads wait at the node.
    pub(crate) fn reads_at(&self, node: usize) -> usize {
        self.waiting[node].reads.len()
    }

    /// Returns the values that clients of the node have read.
    pub(crate) fn values_of(&self, node: usize) -> &Values {
        &self.waiting[node].values
    }

    /// Returns the value of a version, if a client has read it anywhere.
    pub(crate) fn read(&self, version: Version) -> Option<&Bytes> {
        let mut nodes = self.waiting.iter();
        nodes.find_map(|node| node.values.get(&version))
    }
}

impl World {
    /// Tells clients what the node says is durable, right or wrong.
    pub(crate) fn acknowledge(&mut self, node: usize) {
        let running = self.hosts[node].node.as_ref();
        let Some(durable) = running.map(|node| node.durable()) else {
            return;
        };
        let unacked = &mut self.clients.waiting[node].unacked;
        while let Some(done) = unacked.pop_front_if(|done| done.seq <= durable) {
            self.observers.on_acked(done.op, done.exchange, self.now_us);
            let line = [Field::Num("op", done.op as u64)];
            self.trace
                .event(self.now_us, node, Weight::Story, "acked", &line);
        }
    }

    /// Reads what changed on the node since the last turn, as a watching client would.
    pub(crate) fn watch(&mut self, node: usize) {
        if self.meter.is_some() {
            return self.meter_shown(node);
        }
        loop {
            let host = &self.hosts[node];
            let Some(running) = &host.node else { return };
            let view = running.view(host.clock.now(self.now_us));
            match self.observers.pull(node, &view, &host.tables) {
                Pulled::Nothing => return,
                Pulled::Lagged(slot) => {
                    self.observers.on_lag((self.now_us, node), Table::ALL[slot]);
                    self.count("watch_lagged");
                }
                Pulled::Changes(slot, changes) => self.tell_changes(node, slot, &changes),
            }
        }
    }

    /// Tells the trace and the observers of changes that a watching client has read.
    fn tell_changes(&mut self, node: usize, slot: usize, changes: &[Change]) {
        let host = &self.hosts[node];
        let Some(running) = &host.node else { return };
        let view = running.view(host.clock.now(self.now_us));
        let table = Table::ALL[slot];
        for change in changes {
            let Some((key, verb)) = key_of(&change.kind) else {
                continue;
            };
            let shown = view.get(host.tables[slot], key).row();
            let value = shown
                .and_then(|row| row.value())
                .map_or(&[][..], |value| value);
            let fields = [
                Field::Word("table", table.name()),
                Field::Bytes("key", key),
                Field::Bytes("value", value),
            ];
            let len = if value.is_empty() { 2 } else { 3 };
            self.trace
                .event(self.now_us, node, Weight::Story, verb, &fields[..len]);
            // A sibling may show beside or in the place of a newer one.
            if table != Table::Siblings {
                let shows = shown.map(|row| (row.version(), row.expires().is_some()));
                let place = (table, key);
                self.observers.on_shown((self.now_us, node), place, shows);
            }
        }
    }

    /// Counts what the node shows since the last turn.
    fn meter_shown(&mut self, node: usize) {
        let (host, now_us) = (&self.hosts[node], self.now_us);
        let (Some(running), Some(meter)) = (&host.node, &mut self.meter) else {
            return;
        };
        let view = running.view(host.clock.now(now_us));
        loop {
            // Nothing more is read than one turn has changed, which the log holds.
            let changes = match self.observers.skim(node, &view, &host.tables) {
                Pulled::Nothing => return,
                Pulled::Lagged(_) => continue,
                Pulled::Changes(_, changes) => changes,
            };
            for change in changes {
                if let ChangeKind::Put {
                    value: Some(value), ..
                } = &change.kind
                {
                    meter.shown(now_us, node, value);
                }
            }
        }
    }

    /// Whether the watching clients of all nodes have what the nodes show.
    pub(crate) fn check_watching(&mut self) {
        for (node, host) in self.hosts.iter().enumerate() {
            // Changes of a turn are told at its end.
            let Some(running) = host.node.as_ref().filter(|_| self.dirty != Some(node)) else {
                continue;
            };
            let now = host.now(self.now_us);
            let view = running.view(now);
            let at = (self.now_us, node);
            self.observers.on_watched(at, &view, &host.tables, now.wall);
        }
    }

    /// The client asks this node from now on.
    pub(crate) fn move_client(&mut self, client: u32, node: usize) {
        self.clients.homes.insert(client, node);
    }

    /// A client acts, on its node or the next one that runs.
    pub(crate) fn perform(&mut self, op: &Op) {
        let home = self.clients.homes.get(&op.client).copied();
        let home = home.unwrap_or(op.client as usize % self.hosts.len());
        // A client that gets no answer from a stopped process goes elsewhere too.
        let answers = |node: usize| !self.hosts[node].hurts.has(Hurt::Paused);
        let Some(node) = self.running_where(home, answers) else {
            return self.count("ops_nowhere");
        };
        let keeps_siblings = op.table == Table::Siblings;
        let value = || Bytes::from(format!("v{}", self.model().len()));
        let (key, deed) = match op.verb {
            OpVerb::Get { key } if keeps_siblings => {
                return self.read_siblings(op.client, node, key_named(key));
            }
            OpVerb::Get { key } => return self.read(op.client, node, op.table, key_named(key)),
            OpVerb::Flush if self.is_held_back(op, node) => return self.count("ops_held_back"),
            OpVerb::Flush => return self.flush(op.client, node, op.table),
            OpVerb::Put { key } => (key_named(key), Deed::Put(value())),
            OpVerb::PutFor { key, ttl_ms } => (key_named(key), Deed::PutFor(value(), ttl_ms)),
            OpVerb::Delete { key } => (key_named(key), Deed::Delete),
        };
        if self.is_held_back(op, node) {
            self.count("ops_held_back");
        } else if keeps_siblings {
            let value = deed.value().cloned();
            self.write_siblings(op.client, node, &key, value);
        } else {
            self.write(Some(op.client), node, op.table, &key, deed);
        }
    }

    /// Whether a client waits because the node is pressed. Every second one does not care, but where it has to read before it writes.
    fn is_held_back(&self, op: &Op, node: usize) -> bool {
        let waits = op.client.is_multiple_of(2) || op.table == Table::Siblings;
        let running = self.hosts[node].node.as_ref();
        waits && running.is_some_and(|node| node.pressure())
    }

    /// The client reads a row of a node that runs.
    fn read(&mut self, client: u32, node: usize, table: Table, key: Bytes) {
        self.tally.events += 1;
        let host = &self.hosts[node];
        let Some(running) = &host.node else { return };
        let view = running.view(host.now(self.now_us));
        let shown = view.get(host.tables[table as usize], &key);
        let waits = matches!(shown, rumormill_core::table::Found::Cold(_));
        let found = shown.row().and_then(|row| {
            Some(Found {
                version: row.version(),
                value: row.value()?.clone(),
                expires: row.expires().is_some(),
            })
        });
        let boot = host.boot;
        self.count("gets");
        let fields = [
            Field::Word("table", table.name()),
            Field::Bytes("key", &key),
            Field::Mute(u64::from(client)),
            Field::Mute(found.as_ref().map_or(0, |found| found.version.clock.0)),
            Field::Bytes("value", found.as_ref().map_or(b"", |found| &found.value)),
        ];
        let len = if found.is_some() { 5 } else { 4 };
        self.trace
            .event(self.now_us, node, Weight::Story, "get", &fields[..len]);
        let number = self.told(Exchange {
            client,
            node,
            boot,
            view: Some(self.observers.view_of(node)),
            table,
            key: Some(key.clone()),
            answer: Answer::Read(found),
            clock_ms: self.observers.shown_by(node),
            invoked_us: self.now_us,
            returned_us: (!waits).then_some(self.now_us),
        });
        if waits {
            self.ask(node, table, key, Some(number));
        }
    }

    /// Takes down what a client asked and was answered.
    fn told(&mut self, mut exchange: Exchange) -> usize {
        self.sabotage.answers(&mut exchange);
        self.observers.on_asked(exchange)
    }

    /// A client writes to or deletes from a node that runs. Returns whether the store accepted.
    pub(crate) fn write(
        &mut self,
        client: Option<u32>,
        node: usize,
        table: Table,
        key: &Bytes,
        deed: Deed,
    ) -> bool {
        let id = self.hosts[node].tables[table as usize];
        let result = self.with_node(node, |running, now| {
            running.write(now, id, deed.write(key, now))
        });
        self.check_space(node, matches!(deed, Deed::Delete), result.as_ref());
        let (word, counted) = deed.names();
        let Some(accepted) = self.unless_refused(node, Some(key), result) else {
            return false;
        };
        let effect = deed.effect(self.hosts[node].now(self.now_us));
        let fields = [
            Field::Word("table", table.name()),
            Field::Bytes("key", key),
            Field::Mute(accepted.version.clock.0),
            Field::Bytes("value", effect.value().map_or(b"", |value| &value[..])),
        ];
        let len = if effect == Effect::Delete { 3 } else { 4 };
        self.trace
            .event(self.now_us, node, Weight::Story, word, &fields[..len]);
        // Deleting what is not there writes nothing and promises nothing; what is hidden there may show elsewhere.
        let real = accepted.wrote;
        if !real {
            self.check_unwritten(node, table, key);
        }
        self.count(if real { counted } else { "deletes_of_nothing" });
        self.promise((client, node), (table, Some(key)), accepted, effect, real);
        true
    }

    /// Judges a delete that wrote nothing.
    fn check_unwritten(&mut self, node: usize, table: Table, key: &Bytes) {
        self.compare_clocks();
        self.observers
            .on_unwritten((self.now_us, node), (table, key));
    }

    /// The client removes all rows of a table of a node that runs.
    pub(crate) fn flush(&mut self, client: u32, node: usize, table: Table) {
        let id = self.hosts[node].tables[table as usize];
        let before = self.rows_held(node, table);
        let result = self.with_node(node, |running, now| {
            running.flush(now, Some(id)).map(|(accepted, _)| accepted)
        });
        self.check_space(node, true, result.as_ref());
        let Some(accepted) = self.unless_refused(node, None, result) else {
            return;
        };
        let fields = [
            Field::Word("table", table.name()),
            Field::Mute(accepted.version.clock.0),
        ];
        self.trace
            .event(self.now_us, node, Weight::Story, "flush", &fields);
        self.count("flushes");
        self.observers.on_flush(node, table);
        let client = (Some(client), node);
        self.promise(client, (table, None), accepted, Effect::Delete, true);
        let left = self.rows_shown(node, id);
        self.observers.on_flushed((self.now_us, node), table, &left);
        for (key, removed) in before {
            if let Some(version) = flushes::deleted_by(accepted.version, removed) {
                self.flushed_ahead((node, table), &key, version, accepted);
            }
        }
    }

    /// The rows of a table that a node holds of those that clients wrote, hidden ones too, with their versions.
    fn rows_held(&self, node: usize, table: Table) -> Vec<(Bytes, Version)> {
        let host = &self.hosts[node];
        let (Some(view), id) = (self.unexpired(node), host.tables[table as usize]) else {
            return Vec::new();
        };
        let keys = self.model().keys().filter(|(of, ..)| *of == table);
        let rows =
            keys.filter_map(|(_, key, _)| Some((key.clone(), view.get(id, key).row()?.version())));
        rows.collect()
    }

    /// The rows of a table that a node shows, with their versions.
    fn rows_shown(&self, node: usize, table: TableId) -> Vec<(Bytes, Version)> {
        let host = &self.hosts[node];
        let Some(running) = &host.node else {
            return Vec::new();
        };
        let view = running.view(host.now(self.now_us));
        let rows = rows_of(&view, table);
        rows.map(|row| (row.key().clone(), row.version())).collect()
    }

    /// Takes down that a flush has deleted a row whose clock is ahead of its own, by this version.
    fn flushed_ahead(
        &mut self,
        (node, table): (usize, Table),
        key: &Bytes,
        version: Version,
        accepted: Accepted,
    ) {
        let op = model::Accepted {
            at_us: self.now_us,
            node,
            version,
            effect: Effect::Delete,
            alone: self.hosts[node].ties.alone,
        };
        let op = self.observers.on_told(table, Some(key), op);
        self.count("flushed_ahead");
        if table == Table::Siblings {
            self.observers.on_sibling_flushed(op);
        }
        self.observers
            .on_batch(node, (table, Some(key)), accepted, op);
    }

    /// Judges an answer by the space that the node's store has.
    fn check_space(
        &mut self,
        node: usize,
        deletes: bool,
        result: Option<&Result<Accepted, WriteError>>,
    ) {
        let drive = &self.hosts[node].drive;
        // A store that has used up what it had kept back refuses deletes too.
        let is_full = drive.stalled || drive.told_stalled;
        let (true, false, Some(result)) = (drive.told_short, is_full, result) else {
            return;
        };
        let refused = result.as_ref().err();
        self.observers
            .on_short_answer((self.now_us, node), deletes, refused);
    }

    pub(crate) fn unless_refused(
        &mut self,
        node: usize,
        key: Option<&Bytes>,
        result: Option<Result<Accepted, WriteError>>,
    ) -> Option<Accepted> {
        let result = result?;
        if result.is_err() {
            self.count("ops_refused");
            let key = key.map_or(&b"*"[..], |key| &key[..]);
            let fields = [Field::Bytes("key", key)];
            self.trace
                .event(self.now_us, node, Weight::Story, "refused_op", &fields);
        }
        result.ok()
    }

    /// A node that lags behind its limit accepts nothing, nor does one whose clock is far ahead. `seq` is the batch that the
    /// accepted write is in.
    fn check_accepted(&mut self, node: usize, seq: Seq) {
        let Some(running) = &self.hosts[node].node else {
            return;
        };
        let before = seq.0.saturating_sub(1);
        let waiting = before.saturating_sub(running.durable().0) as usize;
        let now = self.hosts[node].now(self.now_us);
        let limits = &running.config().limits;
        self.observers
            .on_accept((self.now_us, node), now, waiting, limits);
    }

    /// Takes down what the store has promised by accepting. What is not `real` has changed nothing.
    pub(crate) fn promise(
        &mut self,
        (client, node): (Option<u32>, usize),
        (table, key): (Table, Option<&Bytes>),
        accepted: Accepted,
        effect: Effect,
        real: bool,
    ) {
        if real {
            self.check_accepted(node, accepted.seq);
        }
        let version = accepted.version;
        let op = real.then(|| {
            let op = model::Accepted {
                at_us: self.now_us,
                node,
                version,
                effect: effect.clone(),
                alone: self.hosts[node].ties.alone,
            };
            self.observers.on_told(table, key, op)
        });
        let waits = op.filter(|_| accepted.sync);
        let exchange = client.map(|client| {
            self.told(Exchange {
                client,
                node,
                boot: self.hosts[node].boot,
                view: Some(self.observers.view_of(node)),
                table,
                key: key.cloned(),
                answer: Answer::Wrote {
                    version,
                    effect,
                    op,
                },
                clock_ms: self.observers.shown_by(node),
                invoked_us: self.now_us,
                returned_us: waits.is_none().then_some(self.now_us),
            })
        });
        let Some(op) = op else { return };
        let running = self.hosts[node].node.as_ref();
        if table == Table::Sync && !accepted.sync && running.is_some_and(|it| it.damage().is_some())
        {
            self.observers.on_undefined(op);
        }
        if let Some(key) = key {
            self.observers.on_born((self.now_us, node), table, version);
            self.trace.promised(op as u64, table.name(), key);
        }
        if accepted.sync {
            let unacked = &mut self.clients.waiting[node].unacked;
            unacked.push_back(Unacked {
                seq: accepted.seq,
                op,
                exchange,
            });
        }
        self.observers.on_batch(node, (table, key), accepted, op);
    }
}

fn key_named(number: u32) -> Bytes {
    Bytes::from(format!("k{number}"))
}

fn key_of(kind: &ChangeKind) -> Option<(&Bytes, &'static str)> {
    match kind {
        ChangeKind::Put { key, .. } | ChangeKind::Siblings { key, .. } => Some((key, "shows")),
        ChangeKind::Deleted { key } => Some((key, "hides")),
        ChangeKind::Expired { key } => Some((key, "expires")),
        ChangeKind::Flushed { .. } => None,
    }
}
