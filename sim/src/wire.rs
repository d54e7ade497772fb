//! The real bytes of messages: the handshake, frames and codec that a driver would use, between the nodes of a plan with
//! `codec on`.

use std::collections::BTreeMap;

use rumormill_core::link::{Connection, Hello, LinkEvent, LinkLimits, encode};
use rumormill_core::wire::Message;
use rumormill_core::{Lane, LinkError, LinkId};

/// The reading end of every link that is up.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    ends: BTreeMap<LinkId, Connection>,
    events: Vec<LinkEvent>,
}

impl Wire {
    /// The end `link` of a node that says `ours` of itself comes up; returns what its peer's opening says.
    ///
    /// # Errors
    /// Those of the handshake. The end does not come up.
    pub(crate) fn open(
        &mut self,
        link: LinkId,
        ours: Hello,
        theirs: Hello,
    ) -> Result<Hello, LinkError> {
        let opening = Connection::new(theirs, LinkLimits::default()).opening();
        let mut end = Connection::new(ours, LinkLimits::default());
        end.receive(&opening, &mut self.events)?;
        self.ends.insert(link, end);
        match self.events.pop() {
            Some(LinkEvent::Up(hello)) => Ok(hello),
            Some(LinkEvent::Message(_)) | None => Err(LinkError::Malformed),
        }
    }

    /// The bytes of a message arrive at the end `link`; `harm` may change them on their way. `None` when they complete no
    /// message.
    ///
    /// # Errors
    /// [`LinkError::Malformed`] when they cannot be read: the link is of no more use.
    pub(crate) fn carry(
        &mut self,
        link: LinkId,
        msg: &Message,
        lane: Lane,
        harm: impl FnOnce(&mut [u8]),
    ) -> Result<Option<Message>, LinkError> {
        let end = self.ends.get_mut(&link).ok_or(LinkError::Closed)?;
        let frames = encode(msg, lane).map_err(|_| LinkError::Malformed)?;
        let mut bytes = frames.as_bytes().to_vec();
        harm(&mut bytes);
        self.events.clear();
        end.receive(&bytes, &mut self.events)?;
        match self.events.pop() {
            Some(LinkEvent::Message(msg)) => Ok(Some(msg)),
            Some(LinkEvent::Up(_)) | None => Ok(None),
        }
    }

    /// The end is no more.
    pub(crate) fn close(&mut self, link: LinkId) {
        self.ends.remove(&link);
    }
}
