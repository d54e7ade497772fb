//! Inputs, outputs and messages as one line of stable text: what traces are made of.
//!
//! `Debug` output may change with a compiler or a field; a trace that is hashed and reviewed may not. Fields are integers and
//! names, never floats or addresses, and values are told by their length.

use core::fmt::{self, Display, Formatter};

use crate::error::ReadError;
use crate::io::{Event, HaltReason, HangupReason, Input, Lane, LinkError, Output, StoreOp};
use crate::wire::{
    ClassContext, ClusterMessage, Denial, DetectorMessage, GossipMessage, Phase, PullBasis,
    RowBatch, RumorState,
};

/// Something shown as it appears in a trace.
///
/// ```
/// use rumormill_core::{Seq, Trace, io::Input};
///
/// assert_eq!(Trace(&Input::Stored { upto: Seq(3) }).to_string(), "stored upto=3");
/// ```
#[derive(Clone, Copy)]
pub struct Trace<'a, T>(pub &'a T);

impl Display for Trace<'_, Input> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Input::Tick => f.write_str("tick"),
            Input::LinkUp { link, dial, hello } => {
                let by = if dial.is_some() {
                    "dialled"
                } else {
                    "accepted"
                };
                write!(f, "link-up link={link} {by} peer={}", hello.name)
            }
            Input::LinkDown { link, why } => write!(f, "link-down link={link} why={}", error(why)),
            Input::DialFailed { dial, why } => {
                write!(f, "dial-failed dial={dial} why={}", error(why))
            }
            Input::Message { link, msg } => write!(f, "receive link={link} {}", Trace(msg)),
            Input::Congested { link } => write!(f, "congested link={link}"),
            Input::Drained { link } => write!(f, "drained link={link}"),
            Input::Request { token, .. } => write!(f, "request token={token}"),
            Input::Cancel { token } => write!(f, "cancel token={token}"),
            Input::Stored { upto } => write!(f, "stored upto={upto}"),
            Input::StoreStalled { .. } => f.write_str("store-stalled"),
            Input::StoreShort { why: Some(_) } => f.write_str("store-short"),
            Input::StoreShort { why: None } => f.write_str("store-not-short"),
            Input::StoreFailed { .. } => f.write_str("store-failed"),
            Input::Loaded { load, result } => match result {
                Ok(Some(value)) => write!(f, "loaded load={load} bytes={}", value.len()),
                Ok(None) => write!(f, "loaded load={load} none"),
                Err(_) => write!(f, "loaded load={load} error"),
            },
        }
    }
}

impl Display for Trace<'_, Output> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Output::Send { to, lane, msg } => {
                write!(
                    f,
                    "send links={} lane={} {}",
                    to.as_slice().len(),
                    lane_name(*lane),
                    Trace(&**msg)
                )
            }
            Output::Dial { dial, addr } => write!(f, "dial dial={dial} addr={addr}"),
            Output::Hangup { link, why } => write!(f, "hangup link={link} why={}", hangup(*why)),
            Output::Store { seq, batch, sync } => {
                let (mut puts, mut deletes, mut ranges) = (0, 0, 0);
                for op in batch {
                    match op {
                        StoreOp::Put(_) => puts += 1,
                        StoreOp::Delete(_) => deletes += 1,
                        StoreOp::DeleteRange { .. } => ranges += 1,
                    }
                }
                write!(f, "store seq={seq} puts={puts} deletes={deletes}")?;
                if ranges > 0 {
                    write!(f, " ranges={ranges}")?;
                }
                write!(f, " sync={sync}")
            }
            Output::Load { load, query } => write!(f, "load load={load} key={}", query.len()),
            Output::Reply { token, result } => {
                write!(
                    f,
                    "reply token={token} {}",
                    if result.is_ok() { "ok" } else { "error" }
                )
            }
            Output::Changed { table } => write!(f, "changed table={}", table.0),
            Output::Event(event) => write!(f, "event {}", Trace(event)),
            Output::Halt(HaltReason::Left(_)) => f.write_str("halt left"),
            Output::Halt(HaltReason::Stopped(seq)) => write!(f, "halt stopped seq={seq}"),
            Output::Halt(HaltReason::StoreFailed(_)) => f.write_str("halt store-failed"),
        }
    }
}

impl Display for Trace<'_, ClusterMessage> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            ClusterMessage::Greeting(greeting) => {
                let (phase, fellows) = (phase(&greeting.phase), greeting.has_fellows);
                write!(f, "greeting phase={phase} fellows={fellows} ")?;
                rows(f, &greeting.rows)
            }
            ClusterMessage::EvictionDigest(evictions) => {
                write!(f, "eviction-digest evictions={}", evictions.len())
            }
            ClusterMessage::Denial(why) => write!(f, "denial why={}", denial(*why)),
            ClusterMessage::Leave => f.write_str("leave"),
            ClusterMessage::Stop => f.write_str("stop"),
            ClusterMessage::Evict { node, force, .. } => {
                write!(f, "evict node={node} force={force}")
            }
            ClusterMessage::EvictVote { agrees, .. } => write!(f, "evict-vote agrees={agrees}"),
            ClusterMessage::EvictCancel { node, .. } => write!(f, "evict-cancel node={node}"),
            ClusterMessage::Handover { round, insists, .. } => {
                write!(f, "handover round={round} insists={insists}")
            }
            ClusterMessage::Holds(claims) => write!(f, "holds claims={}", claims.len()),
            ClusterMessage::Takeover { round } => write!(f, "takeover round={round}"),
        }
    }
}

impl Display for Trace<'_, DetectorMessage> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            DetectorMessage::Probe { nonce, rumors, .. } => {
                write!(f, "probe nonce={nonce} rumors={}", rumors.len())
            }
            DetectorMessage::Ack { nonce, rumors, .. } => {
                write!(f, "ack nonce={nonce} rumors={}", rumors.len())
            }
            DetectorMessage::IndirectProbe { nonce, rumors, .. } => {
                write!(f, "indirect-probe nonce={nonce} rumors={}", rumors.len())
            }
            DetectorMessage::IndirectAck { nonce, alive, .. } => {
                write!(f, "indirect-ack nonce={nonce} alive={alive}")
            }
        }
    }
}

impl Display for Trace<'_, GossipMessage> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            GossipMessage::Push(batch) => {
                f.write_str("push ")?;
                rows(f, batch)
            }
            GossipMessage::Forward { cuts, rows: batch } => {
                write!(f, "forward parts={} ", cuts.len().saturating_sub(1))?;
                rows(f, batch)
            }
            GossipMessage::IHave(dots) => write!(f, "ihave runs={}", runs(dots)),
            GossipMessage::Graft(dots) => write!(f, "graft runs={}", runs(dots)),
            GossipMessage::Pull(pull) => {
                let basis = match pull.basis {
                    PullBasis::Whole(_) => "whole",
                    PullBasis::Digest(_) => "digest",
                    PullBasis::Compare(_) => "compare",
                    PullBasis::Within { .. } => "within",
                };
                write!(f, "pull basis={basis} claim={}", pull.durable.is_some())
            }
            GossipMessage::Page(page) => {
                write!(f, "page number={} last={} ", page.page, page.last.is_some())?;
                if !page.kept.is_empty() {
                    write!(f, "kept={} ", runs(&page.kept))?;
                }
                rows(f, &page.rows)
            }
            GossipMessage::PageAck { page, .. } => write!(f, "page-ack page={page}"),
            GossipMessage::DigestDiff { .. } => f.write_str("digest-diff"),
            GossipMessage::Refused { .. } => f.write_str("refused"),
            GossipMessage::RangeSum(sums) => write!(f, "range-sum ranges={}", sums.ranges.len()),
            GossipMessage::RangeDots(dots) => {
                let actors = dots.shown.iter().map(|class| class.actors.len());
                write!(f, "range-dots actors={}", actors.sum::<usize>())
            }
            GossipMessage::AskClaims(asks) => write!(f, "ask-claims count={}", asks.len()),
            GossipMessage::Claims(claims) => write!(f, "claims count={}", claims.len()),
        }
    }
}

impl Display for Trace<'_, Event> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Event::MemberUp(node) => write!(f, "member-up node={node}"),
            Event::MemberSuspect(node) => write!(f, "member-suspect node={node}"),
            Event::MemberDown(node) => write!(f, "member-down node={node}"),
            Event::MemberLeft(node) => write!(f, "member-left node={node}"),
            Event::MemberEvicted {
                node,
                acks,
                members,
                policy,
            } => write!(
                f,
                "member-evicted node={node} acks={acks} members={members} policy={policy}"
            ),
            Event::OlderCopy { by } => write!(f, "older-copy by={by}"),
            Event::Evicted { by } => write!(f, "evicted by={by}"),
            Event::EvictionOutranked { by } => write!(f, "eviction-outranked by={by}"),
            Event::DeclaredLost(node) => write!(f, "declared-lost node={node}"),
            Event::Resumed { without } => write!(f, "resumed without={}", without.len()),
            Event::DuplicateName { name, later } => {
                write!(f, "duplicate-name name={name} later={later}")
            }
            Event::Waits { phase, secs, .. } => {
                write!(f, "waits phase={phase} secs={secs}")
            }
            Event::Founded => f.write_str("founded"),
            Event::Joined { through } => write!(f, "joined through={through}"),
            Event::Rejoined {
                with,
                dropped,
                proposed,
            } => {
                write!(
                    f,
                    "rejoined through={with} dropped={dropped} proposed={proposed}"
                )
            }
            Event::Refused { node, why } => write!(f, "refused node={node} why={}", hangup(*why)),
            Event::Denied { by, why } => write!(f, "denied by={by} why={}", denial(*why)),
            Event::Protocol { node, why } => write!(f, "protocol node={node} why={why}"),
            Event::WallStepped { by_ms } => write!(f, "wall-stepped by_ms={by_ms}"),
            Event::ClockDrift { ahead_ms } => write!(f, "clock-drift ahead_ms={ahead_ms}"),
            Event::ClockWrong(clock) => {
                write!(f, "clock-wrong node={} by_ms={}", clock.node, clock.by_ms)
            }
            Event::ClockRight { node, .. } => write!(f, "clock-right node={node}"),
            Event::Repaired { with, rows } => write!(f, "repaired with={with} rows={rows}"),
            Event::CaughtUp { with, rows } => write!(f, "caught-up with={with} rows={rows}"),
            Event::Unreadable { table, key, why } => {
                let why = unreadable(why);
                write!(
                    f,
                    "unreadable table={} key={} why={why}",
                    table.0,
                    key.len()
                )
            }
            Event::SettingChanged { name, value } => {
                write!(f, "setting-changed name={name} value={value}")
            }
            Event::SettingIgnored { name, .. } => write!(f, "setting-ignored name={name}"),
            Event::StoreStalled(_) => f.write_str("store-stalled"),
            Event::Damaged { records } => write!(f, "damaged records={records}"),
            Event::StoreRecovered => f.write_str("store-recovered"),
        }
    }
}

impl Display for Trace<'_, RumorState> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            RumorState::Alive => "alive",
            RumorState::Suspect => "suspect",
            RumorState::Down => "down",
        })
    }
}

fn rows(f: &mut Formatter<'_>, batch: &RowBatch) -> fmt::Result {
    let dead = batch.rows.iter().filter(|row| row.value.is_none()).count();
    write!(f, "rows={} deletes={dead}", batch.rows.len())
}

fn runs(contexts: &[ClassContext]) -> usize {
    let actors = contexts.iter().flat_map(|context| &context.actors);
    actors.map(|(_, runs)| runs.len()).sum()
}

fn lane_name(lane: Lane) -> &'static str {
    match lane {
        Lane::Control => "control",
        Lane::Sys => "sys",
        Lane::Bulk => "bulk",
    }
}

fn error(why: &LinkError) -> &'static str {
    match why {
        LinkError::Closed => "closed",
        LinkError::Unreachable => "unreachable",
        LinkError::Broken => "broken",
        LinkError::Malformed => "malformed",
        LinkError::Refused(_) => "refused",
        LinkError::TimedOut => "timed-out",
    }
}

fn unreadable(why: &ReadError) -> &'static str {
    match why {
        ReadError::Damaged { .. } => "damaged",
        ReadError::Missing => "missing",
        ReadError::Store(_) => "store",
        ReadError::Busy { .. } => "busy",
    }
}

fn denial(why: Denial) -> &'static str {
    match why {
        Denial::IdInUse => "id-in-use",
        Denial::Sealed => "sealed",
        Denial::TooMany => "too-many",
        Denial::Leaving => "leaving",
    }
}

fn hangup(why: HangupReason) -> &'static str {
    match why {
        HangupReason::Duplicate => "duplicate",
        HangupReason::Myself => "myself",
        HangupReason::Sealed => "sealed",
        HangupReason::IdInUse => "id-in-use",
        HangupReason::OtherCluster => "other-cluster",
        HangupReason::Retry => "retry",
        HangupReason::Left => "left",
        HangupReason::TooMany => "too-many",
        HangupReason::Protocol => "protocol",
        HangupReason::Dead => "dead",
        HangupReason::Evicted => "evicted",
        HangupReason::Stopped => "stopped",
    }
}

fn phase(phase: &Phase) -> &'static str {
    match phase {
        Phase::Member => "member",
        Phase::Joining => "joining",
        Phase::Rejoining { .. } => "rejoining",
    }
}
