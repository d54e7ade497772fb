//! The rows of `sys.members` and `sys.departed`: the present members, and the generations that have ended.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::{Actor, NodeId};
use crate::store::bytes::{Reader, Writer};
use crate::table::{Context, RowClass, Runs};

const VERSION: u8 = 1;

/// A member's own row. It alone writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemberRecord {
    pub(crate) actor: Actor,
    pub(crate) generation: u64,
    pub(crate) name: String,
    pub(crate) addr: String,
    pub(crate) zone: String,
    /// Protocol and endpoint, in order of the protocols.
    pub(crate) protocols: Vec<(String, String)>,
    /// Whether it keeps anything on disk; without, all it has are memory classes.
    pub(crate) stores: bool,
}

pub(crate) fn member_key(node: NodeId) -> Vec<u8> {
    node.to_string().into_bytes()
}

impl MemberRecord {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Writer::default();
        out.u8(VERSION)
            .u64(self.actor.node.0)
            .u64(self.actor.boot)
            .u64(self.generation);
        out.text(&self.name)
            .text(&self.addr)
            .text(&self.zone)
            .u8(u8::from(self.stores))
            .u64(self.protocols.len() as u64);
        for (protocol, endpoint) in &self.protocols {
            out.text(protocol).text(endpoint);
        }
        out.finish()
    }

    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let mut value = Reader::new(value);
        if value.u8()? != VERSION {
            return None;
        }
        let actor = Actor {
            node: NodeId(value.u64()?),
            boot: value.u64()?,
        };
        let generation = value.u64()?;
        let (name, addr, zone) = (value.text()?, value.text()?, value.text()?);
        let stores = value.u8()? != 0;
        let mut protocols = Vec::new();
        for _ in 0..value.u64()? {
            protocols.push((value.text()?, value.text()?));
        }
        protocols.shrink_to_fit();
        value.end()?;
        (member_key(actor.node) == key).then_some(MemberRecord {
            actor,
            generation,
            name,
            addr,
            zone,
            protocols,
            stores,
        })
    }
}

/// The end of one generation of a member. Grow-only: a departure always wins over the member's row of that generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Departure {
    /// The contexts that it had seen when it left: until these are covered the leaver still counts.
    pub(crate) contexts: Vec<(RowClass, Context)>,
    /// The members that were active then; in an eviction all that its author counted, the author included.
    pub(crate) active: Vec<NodeId>,
    /// Set when others ended that generation.
    pub(crate) evicted: Option<Eviction>,
}

/// The author of the end of another's generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Eviction {
    pub(crate) by: NodeId,
    /// The author's own generation then.
    pub(crate) generation: u64,
    /// Without the consent of a majority: those that were evicted may have done the same to the author.
    pub(crate) forced: bool,
}

pub(crate) fn departure_key(node: NodeId, generation: u64) -> Vec<u8> {
    let mut key = member_key(node);
    key.push(b'/');
    key.extend_from_slice(alloc::format!("{generation:016x}").as_bytes());
    key
}

/// Each author has a record of its own: the members it counted are told by that record alone.
pub(crate) fn eviction_key(node: NodeId, generation: u64, by: NodeId) -> Vec<u8> {
    let mut key = departure_key(node, generation);
    key.push(b'/');
    key.extend(member_key(by));
    key
}

/// The key of the row that declares a node lost. It has no value to speak of: its clock tells which deletes it is about.
pub(crate) fn lost_key(node: NodeId) -> Vec<u8> {
    let mut key = member_key(node);
    key.extend_from_slice(b"/lost");
    key
}

/// Reads a key that [`lost_key`] made.
pub(crate) fn lost_of(key: &[u8]) -> Option<NodeId> {
    let (node, rest) = core::str::from_utf8(key).ok()?.split_once('/')?;
    (rest == "lost").then(|| node.parse().ok()).flatten()
}

pub(crate) fn departure_of(key: &[u8]) -> Option<(NodeId, u64)> {
    let (node, rest) = core::str::from_utf8(key).ok()?.split_once('/')?;
    let generation = rest
        .split_once('/')
        .map_or(rest, |(generation, _)| generation);
    Some((
        node.parse().ok()?,
        u64::from_str_radix(generation, 16).ok()?,
    ))
}

impl Departure {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Writer::default();
        out.u8(VERSION).u64(self.active.len() as u64);
        for node in &self.active {
            out.u64(node.0);
        }
        out.u8(u8::from(self.evicted.is_some()));
        if let Some(eviction) = self.evicted {
            out.u64(eviction.by.0)
                .u64(eviction.generation)
                .u8(u8::from(eviction.forced));
        }
        for (class, context) in &self.contexts {
            for (actor, runs) in context.iter() {
                out.u8(*class as u8)
                    .u64(actor.node.0)
                    .u64(actor.boot)
                    .u64(runs.as_slice().len() as u64);
                for (low, high) in runs.as_slice() {
                    out.u64(*low).u64(*high);
                }
            }
        }
        out.finish()
    }

    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let mut value = Reader::new(value);
        if value.u8()? != VERSION {
            return None;
        }
        let mut active = Vec::new();
        for _ in 0..value.u64()? {
            active.push(NodeId(value.u64()?));
        }
        let evicted = match value.u8()? {
            0 => None,
            _ => Some(Eviction {
                by: NodeId(value.u64()?),
                generation: value.u64()?,
                forced: value.u8()? != 0,
            }),
        };
        let mut contexts: Vec<(RowClass, Context)> = RowClass::ALL
            .into_iter()
            .map(|class| (class, Context::new()))
            .collect();
        while value.end().is_none() {
            let class = RowClass::from_u8(value.u8()?)?;
            let actor = Actor {
                node: NodeId(value.u64()?),
                boot: value.u64()?,
            };
            let mut runs = Vec::new();
            for _ in 0..value.u64()? {
                runs.push((value.u64()?, value.u64()?));
            }
            contexts
                .get_mut(class.index())?
                .1
                .set(actor, Runs::from_wire(&runs)?);
        }
        Some(Departure {
            contexts,
            active,
            evicted,
        })
    }
}
