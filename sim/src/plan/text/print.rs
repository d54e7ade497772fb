//! From a plan to its text.

use std::fmt;

use super::value::{Drift, Millis, Nodes, Offset, Rate, Time};
use crate::plan::{Action, Fault, FaultWhat, Op, OpVerb, Plan};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        writeln!(f, "codec {}", if self.codec { "on" } else { "off" })?;
        if let Some(bytes) = self.resident_value {
            writeln!(f, "resident_value {bytes}")?;
        }
        for (name, cap) in self.caps.iter() {
            writeln!(f, "{name} {cap}")?;
        }
        for (node, machine) in self.machines.iter().enumerate() {
            let disk = if machine.disk { "" } else { " disk=no" };
            writeln!(f, "node n{node} start={}{disk}", Time(machine.start_us))?;
        }
        writeln!(f, "stop {}\n", Time(self.stop_us))?;
        for entry in &self.entries {
            writeln!(f, "{} {}", Time(entry.at_us), entry.action)?;
        }
        Ok(())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Op(op) => op.fmt(f),
            Action::Move { client, node } => write!(f, "move client=c{client} node=n{node}"),
            Action::Set(change) => change.fmt(f),
            Action::Define { node, table } => {
                write!(f, "define node=n{node} table={}", table.name())
            }
            Action::Fault(Fault { for_us, what }) => write!(f, "{what} for={}", Time(*for_us)),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = format_args!("client=c{} table={}", self.client, self.table.name());
        match self.verb {
            OpVerb::Put { key } => write!(f, "put {place} key=k{key}"),
            OpVerb::PutFor { key, ttl_ms } => {
                write!(f, "put {place} key=k{key} ttl={}", Millis(ttl_ms))
            }
            OpVerb::Delete { key } => write!(f, "delete {place} key=k{key}"),
            OpVerb::Get { key } => write!(f, "get {place} key=k{key}"),
            OpVerb::Flush => write!(f, "flush {place}"),
        }
    }
}

impl fmt::Display for FaultWhat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().name())?;
        match self {
            FaultWhat::Loss { ppm } | FaultWhat::Dup { ppm } | FaultWhat::Corrupt { ppm } => {
                write!(f, " rate={}", Rate(*ppm))
            }
            FaultWhat::Reorder { ppm, by_us } => {
                write!(f, " rate={} by={}", Rate(*ppm), Time(*by_us))
            }
            FaultWhat::Delay { node, by_us }
            | FaultWhat::Slow { node, by_us }
            | FaultWhat::SlowDisk { node, by_us } => {
                write!(f, " node=n{node} by={}", Time(*by_us))
            }
            FaultWhat::Congest { node }
            | FaultWhat::Wipe { node }
            | FaultWhat::Older { node }
            | FaultWhat::Restart { node }
            | FaultWhat::ShortDisk { node }
            | FaultWhat::Pause { node }
            | FaultWhat::Leave { node }
            | FaultWhat::FailDisk { node }
            | FaultWhat::FullDisk { node } => write!(f, " node=n{node}"),
            FaultWhat::Rot { node, bits } => write!(f, " node=n{node} bits={bits}"),
            FaultWhat::Vanish { node, rows } => write!(f, " node=n{node} rows={rows}"),
            FaultWhat::Evict { node, force } => {
                write!(f, " node=n{node} force={}", yes_no(*force))
            }
            FaultWhat::Flap {
                left,
                right,
                every_us,
            } => {
                let (left, right) = (Nodes(left), Nodes(right));
                write!(f, " left={left} right={right} every={}", Time(*every_us))
            }
            FaultWhat::Partition { left, right }
            | FaultWhat::Partial { left, right }
            | FaultWhat::Bridge { left, right } => {
                write!(f, " left={} right={}", Nodes(left), Nodes(right))
            }
            FaultWhat::OneWay { from, to } => {
                write!(f, " from={} to={}", Nodes(from), Nodes(to))
            }
            FaultWhat::Crash { node, clean } => {
                write!(f, " node=n{node} clean={}", yes_no(*clean))
            }
            FaultWhat::Skew { node, by_ms, ppm } => {
                write!(
                    f,
                    " node=n{node} by={} drift={}",
                    Offset(*by_ms),
                    Drift(*ppm)
                )
            }
        }
    }
}

fn yes_no(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}
