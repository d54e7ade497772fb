//! Messages of the failure detector.

use alloc::vec::Vec;

use super::Status;
use crate::id::NodeId;

wire! {
    /// A message of the failure detector. Each carries rumors; probes and acks also carry the sender's status, which the detector does not read.
    pub enum DetectorMessage {
        /// Asks whether the receiver answers.
        Probe {
            /// Echoed in the answer.
            nonce: u64,
            /// The sender's state in short.
            status: Status,
            /// Fresh news about members.
            rumors: Vec<Rumor>,
        },
        /// The answer to a [`DetectorMessage::Probe`].
        Ack {
            /// The probe's number.
            nonce: u64,
            /// The sender's state in short.
            status: Status,
            /// Fresh news about members.
            rumors: Vec<Rumor>,
        },
        /// Asks the receiver to probe `target` for the sender.
        IndirectProbe {
            /// Echoed in the answer.
            nonce: u64,
            /// The member to probe.
            target: NodeId,
            /// Fresh news about members.
            rumors: Vec<Rumor>,
        },
        /// The target of a [`DetectorMessage::IndirectProbe`] answered (`alive`), or did not within the prober's patience.
        IndirectAck {
            /// The request's number.
            nonce: u64,
            /// Whether the target answered.
            alive: bool,
            /// Fresh news about members.
            rumors: Vec<Rumor>,
        },
    }
}

impl DetectorMessage {
    /// Its name, as traces print it.
    pub fn kind(&self) -> &'static str {
        match self {
            DetectorMessage::Probe { .. } => "probe",
            DetectorMessage::Ack { .. } => "ack",
            DetectorMessage::IndirectProbe { .. } => "indirect_probe",
            DetectorMessage::IndirectAck { .. } => "indirect_ack",
        }
    }

    /// The sender's state, of a message that is direct contact.
    pub fn status(&self) -> Option<&Status> {
        match self {
            DetectorMessage::Probe { status, .. } | DetectorMessage::Ack { status, .. } => {
                Some(status)
            }
            DetectorMessage::IndirectProbe { .. } | DetectorMessage::IndirectAck { .. } => None,
        }
    }

    /// The rumors that it carries.
    pub fn rumors(&self) -> &[Rumor] {
        match self {
            DetectorMessage::Probe { rumors, .. }
            | DetectorMessage::Ack { rumors, .. }
            | DetectorMessage::IndirectProbe { rumors, .. }
            | DetectorMessage::IndirectAck { rumors, .. } => rumors,
        }
    }
}

wire! {
    /// News about a member's generation.
    pub struct Rumor {
        /// The member.
        pub node: NodeId,
        /// Grows with each start, eviction and rejoin.
        pub generation: u64,
        /// How often it has refuted a suspicion in this generation.
        pub incarnation: u64,
        /// The state that the rumor gives it.
        pub state: RumorState,
        /// The member that says so first; confirmations count distinct ones.
        pub from: NodeId,
    }
}

/// The state in a rumor. The order is the order of precedence within one incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize))]
pub enum RumorState {
    /// It answered.
    Alive,
    /// It did not answer.
    Suspect,
    /// It is taken for dead.
    Down,
}
