//! How messages and events become lines of the trace.

use std::collections::BTreeMap;

use rumormill_core::wire::{
    DomainContext, Message, RowBatch, Rumor, RumorState, Standing, Status, Welcome,
};
use rumormill_core::{Event, LinkError, NodeId, Timer};

use crate::trace::{Field, Trace, WORLD, Weight};

/// Node ids as indexes, for people.
pub(crate) type Ids = BTreeMap<NodeId, usize>;

fn index(ids: &Ids, id: NodeId) -> usize {
    ids.get(&id).copied().unwrap_or(WORLD)
}

pub(crate) fn kind(msg: &Message) -> &'static str {
    match msg {
        Message::Welcome(_) => "welcome",
        Message::Heard(_) => "heard",
        Message::Probe { .. } => "probe",
        Message::Ack { .. } => "ack",
        Message::ProbeFor { .. } => "probefor",
        Message::ProbedFor { .. } => "probedfor",
        Message::Push(_) => "push",
        Message::Pull(_) => "pull",
        Message::Differs { .. } => "differs",
        Message::Compare(_) => "compare",
        Message::Compared(_) => "compared",
        Message::Overrule(_) => "overrule",
        Message::Page(_) => "page",
        Message::More { .. } => "more",
        Message::Refused { .. } => "refused",
        Message::Goodbye => "goodbye",
        Message::Denied(_) => "denied",
        Message::Evict { .. } => "evict",
        Message::Agreed { .. } => "agreed",
        Message::Withdrawn { .. } => "withdrawn",
        Message::Forward { .. } => "forward",
        Message::Have(_) => "have",
        Message::Graft(_) => "graft",
    }
}

pub(crate) fn weight(msg: &Message) -> Weight {
    match msg {
        Message::Probe { rumors, .. }
        | Message::Ack { rumors, .. }
        | Message::ProbedFor { rumors, .. }
            if rumors.is_empty() =>
        {
            Weight::Detail
        }
        Message::More { .. } | Message::Have(_) => Weight::Detail,
        _ => Weight::Story,
    }
}

fn fold(parts: impl IntoIterator<Item = u64>) -> u64 {
    parts.into_iter().fold(0, |sum, part| {
        (sum ^ part)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
    })
}

fn status_hash(status: &Status) -> u64 {
    fold([
        status.sys,
        status.usr,
        status.rows,
        u64::from(status.claims),
        u64::from(status.awaits_claims),
        status.clock,
    ])
}

fn batch_hash(batch: &RowBatch) -> u64 {
    fold(batch.rows.iter().flat_map(|row| {
        let actor = batch
            .actors
            .get(row.actor as usize)
            .map_or(0, |actor| actor.run);
        [
            actor,
            row.counter,
            row.clock,
            row.expires,
            u64::from(row.value.is_some()),
        ]
    }))
}

/// How many runs of dots there are, and their hash.
fn dots_of(contexts: &[DomainContext]) -> (u64, u64) {
    let actors = contexts.iter().flat_map(|context| {
        let domain = u64::from(context.domain);
        context.actors.iter().map(move |actor| (domain, actor))
    });
    let runs = actors.flat_map(|(domain, (actor, runs))| {
        let run = move |run: &(u64, u64)| [domain, actor.run, run.0, run.1];
        runs.iter().map(run)
    });
    let runs: Vec<[u64; 4]> = runs.collect();
    (runs.len() as u64, fold(runs.iter().flatten().copied()))
}

fn rumor_state(state: RumorState) -> &'static str {
    match state {
        RumorState::Alive => "alive",
        RumorState::Suspect => "suspect",
        RumorState::Down => "down",
    }
}

/// A message reached a node.
pub(crate) fn received(
    trace: &mut Trace,
    ids: &Ids,
    at_us: u64,
    from: usize,
    to: usize,
    msg: &Message,
) {
    let weight = weight(msg);
    let verb = kind(msg);
    let from = Field::Node("from", from);
    let mut emit = |fields: &[Field<'_>]| trace.event(at_us, to, weight, verb, fields);
    let who = |id: NodeId| Field::Node("who", index(ids, id));
    match msg {
        Message::Welcome(welcome) => emit(&greeting(from, welcome)),
        Message::Probe {
            nonce,
            status,
            rumors,
        }
        | Message::Ack {
            nonce,
            status,
            rumors,
        } => {
            let hash = Field::Mute(fold([*nonce, status_hash(status)]));
            with_rumors(ids, rumors, &[from, hash], emit);
        }
        Message::ProbeFor {
            nonce,
            target,
            rumors,
        } => {
            let who = Field::Node("who", index(ids, *target));
            with_rumors(ids, rumors, &[from, who, Field::Mute(*nonce)], emit);
        }
        Message::ProbedFor {
            nonce,
            alive,
            rumors,
        } => {
            let alive = Field::Num("alive", u64::from(*alive));
            with_rumors(ids, rumors, &[from, alive, Field::Mute(*nonce)], emit);
        }
        Message::Push(batch) | Message::Overrule(batch) => with_rows(batch, &[from], emit),
        Message::Compare(compare) => {
            let ranges = Field::Num("ranges", compare.ranges.len() as u64);
            let sums = compare.ranges.iter().map(|range| range.sum);
            emit(&[from, ranges, Field::Mute(fold(sums))]);
        }
        Message::Compared(compared) => {
            let actors = compared.shown.iter().map(|domain| domain.actors.len());
            let actors = Field::Num("actors", actors.sum::<usize>() as u64);
            emit(&[from, actors, Field::Mute(compared.round)]);
        }
        Message::Forward { cuts, rows } => {
            let cuts = Field::Mute(fold(cuts.iter().map(|cut| cut.0)));
            with_rows(rows, &[from, cuts], emit);
        }
        Message::Have(dots) | Message::Graft(dots) => {
            let (runs, hash) = dots_of(dots);
            emit(&[from, Field::Num("runs", runs), Field::Mute(hash)]);
        }
        Message::Page(page) => {
            let number = Field::Num("page", u64::from(page.page));
            let last = Field::Num("last", u64::from(page.last.is_some()));
            with_rows(&page.rows, &[from, number, last], emit);
        }
        Message::Pull(pull) => emit(&[
            from,
            Field::Mute(fold([pull.session, status_hash(&pull.status)])),
        ]),
        Message::More { session, page } => {
            let page = Field::Num("page", u64::from(*page));
            emit(&[from, Field::Mute(*session), page]);
        }
        Message::Refused { session } | Message::Differs { session, .. } => {
            emit(&[from, Field::Mute(*session)])
        }
        Message::Goodbye | Message::Denied(_) => emit(&[from]),
        Message::Heard(evictions) => emit(&[from, Field::Num("evictions", evictions.len() as u64)]),
        Message::Evict { node, round, .. } => {
            emit(&[from, who(*node), Field::Num("round", *round)])
        }
        Message::Agreed { agrees, .. } => emit(&[from, Field::Num("agrees", u64::from(*agrees))]),
        Message::Withdrawn { node, .. } => emit(&[from, who(*node)]),
    }
}

fn greeting<'a>(from: Field<'a>, welcome: &Welcome) -> [Field<'a>; 5] {
    let standing = match &welcome.standing {
        Standing::Member => "member",
        Standing::Joining => "joining",
        Standing::Away { .. } => "away",
    };
    [
        from,
        Field::Word("standing", standing),
        Field::Num("rows", welcome.rows.rows.len() as u64),
        Field::Mute(batch_hash(&welcome.rows)),
        Field::Mute(status_hash(&welcome.status)),
    ]
}

fn with_rumors<'a>(
    ids: &Ids,
    rumors: &[Rumor],
    head: &[Field<'a>],
    mut emit: impl FnMut(&[Field<'a>]),
) {
    let mut fields = [Field::Mute(0); 8];
    fields[..head.len()].copy_from_slice(head);
    let mut len = head.len();
    if let Some(first) = rumors.first() {
        let hash = fold(rumors.iter().flat_map(|rumor| {
            [
                rumor.node.0,
                rumor.epoch,
                rumor.incarnation,
                rumor.state as u64,
                rumor.from.0,
            ]
        }));
        let more = [
            Field::Num("rumors", rumors.len() as u64),
            Field::Node("about", index(ids, first.node)),
            Field::Word("is", rumor_state(first.state)),
            Field::Mute(hash),
        ];
        fields[len..len + more.len()].copy_from_slice(&more);
        len += more.len();
    }
    emit(&fields[..len]);
}

fn with_rows<'a>(batch: &'a RowBatch, head: &[Field<'a>], mut emit: impl FnMut(&[Field<'a>])) {
    let mut fields = [Field::Mute(0); 8];
    fields[..head.len()].copy_from_slice(head);
    let mut len = head.len();
    let tail = [
        Field::Num("rows", batch.rows.len() as u64),
        Field::Mute(batch_hash(batch)),
    ];
    fields[len..len + tail.len()].copy_from_slice(&tail);
    len += tail.len();
    if let Some(row) = batch.rows.first() {
        fields[len] = Field::Bytes("first", &row.key);
        len += 1;
    }
    emit(&fields[..len]);
}

pub(crate) fn link_error(why: &LinkError) -> &'static str {
    match why {
        LinkError::Closed => "closed",
        LinkError::Unreachable => "unreachable",
        LinkError::Broken => "broken",
        LinkError::Malformed => "malformed",
        LinkError::Refused(_) => "refused",
        LinkError::TimedOut => "timeout",
        _ => "other",
    }
}

pub(crate) fn timer(why: Timer) -> &'static str {
    match why {
        Timer::Flush => "flush",
        Timer::Detector => "detector",
        Timer::Dial => "dial",
        Timer::Gossip => "gossip",
        Timer::Sync => "sync",
        Timer::Expiry => "expiry",
        Timer::Request => "request",
        Timer::Leave => "leave",
        Timer::Evict => "evict",
        _ => "other",
    }
}

/// A node told something to its operator. Returns the name it is counted under.
pub(crate) fn event(
    trace: &mut Trace,
    ids: &Ids,
    at_us: u64,
    node: usize,
    event: &Event,
) -> &'static str {
    let who = |id: &NodeId| Field::Node("who", index(ids, *id));
    let mut emit = |verb: &'static str, fields: &[Field<'_>]| {
        trace.event(at_us, node, Weight::Story, verb, fields);
        verb
    };
    match event {
        Event::MemberUp(id) => emit("member_up", &[who(id)]),
        Event::MemberSuspect(id) => emit("member_suspect", &[who(id)]),
        Event::MemberDown(id) => emit("member_down", &[who(id)]),
        Event::MemberLeft(id) => emit("member_left", &[who(id)]),
        Event::MemberEvicted {
            node,
            acks,
            members,
            ..
        } => emit(
            "member_evicted",
            &[
                who(node),
                Field::Num("acks", *acks as u64),
                Field::Num("members", *members as u64),
            ],
        ),
        Event::Evicted { by } => emit("evicted", &[who(by)]),
        Event::EvictionOutranked { by } => emit("eviction_outranked", &[who(by)]),
        Event::Resumed { without } => {
            emit("resumed", &[Field::Num("without", without.len() as u64)])
        }
        Event::DuplicateName { later, .. } => emit("duplicate_name", &[who(later)]),
        Event::Joined { through } => emit("joined", &[who(through)]),
        Event::Reunited {
            with,
            dropped,
            proposed,
        } => emit(
            "reunited",
            &[
                who(with),
                Field::Num("dropped", *dropped),
                Field::Num("proposed", *proposed),
            ],
        ),
        Event::Refused { node, .. } => emit("refused_peer", &[who(node)]),
        Event::Denied { by, .. } => emit("denied_by", &[who(by)]),
        Event::Protocol { node, why } => emit("protocol", &[who(node), Field::Word("why", why)]),
        Event::ClockDrift { ahead_ms } => emit("clock_drift", &[Field::Num("ahead_ms", *ahead_ms)]),
        Event::Repaired { with, rows } => emit("repaired", &[who(with), Field::Num("rows", *rows)]),
        Event::Synced { with, rows } => emit("caught_up", &[who(with), Field::Num("rows", *rows)]),
        Event::Unreadable { key, .. } => emit("unreadable", &[Field::Bytes("key", key)]),
        Event::SettingChanged { name, value } => emit(
            "setting_changed",
            &[
                Field::Word("name", name),
                Field::Bytes("value", value.as_bytes()),
            ],
        ),
        Event::SettingIgnored { name, .. } => emit("setting_ignored", &[Field::Word("name", name)]),
        Event::StoreStalled(_) => emit("store_stalled", &[]),
        Event::Damaged { records } => emit("damaged", &[Field::Num("records", *records)]),
        Event::StoreRecovered => emit("store_recovered", &[]),
        _ => emit("event", &[]),
    }
}
