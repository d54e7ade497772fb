//! A recording of a link is worth nothing on another.

use rumormill_core::io::LinkError;
use rumormill_core::link::{LinkEvent, Refusal};

use super::Violation;

/// The name in reports.
pub const NAME: &str = "replays";

/// Judges what a node made of a recording that was played back to it: it may answer the hello, and has to refuse the rest.
pub fn believed(
    (at_us, node, peer): (u64, usize, usize),
    events: &[LinkEvent],
    end: &Result<(), LinkError>,
) -> Option<Violation> {
    let is_told = events
        .iter()
        .any(|event| !matches!(event, LinkEvent::Write(_)));
    let is_refused = *end == Err(LinkError::Refused(Refusal::Proof));
    (is_told || !is_refused).then(|| Violation {
        checker: NAME,
        at_us,
        text: format!(
            "n{node} believed a recording of what n{peer} had sent it on an earlier link: {end:?}"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rumormill_core::wire::{ClusterMessage, Message};

    #[test]
    fn only_an_answer_and_a_refusal_are_sound() {
        let answer = LinkEvent::Write(Default::default());
        let refused = Err(LinkError::Refused(Refusal::Proof));
        let sound = [answer.clone()];
        assert_eq!(believed((5, 0, 1), &sound, &refused), None);
        let told = [
            answer,
            LinkEvent::Message(Message::Cluster(ClusterMessage::Leave)),
        ];
        for (events, end) in [
            (&told[..], &refused),
            (&sound, &Ok(())),
            (&sound, &Err(LinkError::Malformed)),
        ] {
            let found = believed((5, 0, 1), events, end).unwrap();
            assert_eq!((found.checker, found.at_us), (NAME, 5));
        }
    }
}
